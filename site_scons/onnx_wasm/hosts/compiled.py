"""What hosts share that run modules in wasmtime: compiling, the end of a run's time, how errors are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import wasmtime

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts import checks
from onnx_wasm.platforms import Platform

FUEL = 1 << 62
"""What a run is given where instructions are counted: more than it can use."""


@dataclass(frozen=True)
class Compiled:
    """A module that is compiled.

    Args:
        where: Its file, as messages call it.
        engine: The engine that it is compiled for.
        module: It.
        seconds: How long that took.
    """

    where: str
    engine: wasmtime.Engine
    module: wasmtime.Module
    seconds: float

    @contextmanager
    def deadline(self, store: wasmtime.Store, timeout: float | None) -> Iterator[None]:
        """Stops what runs in a store when the time is over.

        Args:
            store: A store of this engine.
            timeout: In seconds; None for no limit.
        """
        store.set_epoch_deadline(1)
        if timeout is None:
            yield
            return
        timer = threading.Timer(timeout, self.engine.increment_epoch)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def not_instantiated(self, error: Exception) -> BuildError:
        """What to raise where wasmtime made no instance."""
        reason = str(error).strip().splitlines()[-1].strip()
        return BuildError(Problem(self.where, f"cannot be instantiated: {reason}"))


def compiled(data: bytes, platform: Platform, where: str, settings: Mapping[str, int | bool] | None = None) -> Compiled:
    """Checks and compiles a module, so that its runs can be ended.

    Args:
        data: The module.
        platform: Where it is to run.
        where: The module's file, as messages call it.
        settings: Of wasmtime's ``Config``, beside what the platform asks for.

    Raises:
        BuildError: The platform cannot load it; every reason is named.
    """
    checks.check(data, platform, where)
    configuration = checks.config(platform)
    configuration.epoch_interruption = True
    for name, value in (settings or {}).items():
        setattr(configuration, name, value)
    engine = wasmtime.Engine(configuration)
    start = time.perf_counter()
    module = wasmtime.Module(engine, data)
    return Compiled(where, engine, module, time.perf_counter() - start)
