"""Actions as children of one process that has imported TVM."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from onnx_wasm.strategies.action import Action
from onnx_wasm.strategies.local import Local

if TYPE_CHECKING:
    from onnx_wasm.strategies.zygote import Zygote


class Workers:
    """Runs actions that import TVM as children of a zygote, and others in processes of their own, as ``Local`` does.

    The zygote is started when the first action asks for it, and ends with this process. Should it be killed, the
    actions that were its children are started again without it.
    """

    def __init__(self) -> None:
        self._local = Local()
        self._lock = threading.Lock()
        self._zygote: Zygote | None = None

    def run(self, action: Action) -> int:
        """Runs an action: see ``Strategy``."""
        if not action.imports_tvm:
            return self._local.run(action)
        with self._lock:
            if self._zygote is None:
                from onnx_wasm.strategies.zygote import Zygote  # here, because most builds have nothing to do

                self._zygote = Zygote(action.environment)
        status = self._zygote.run(action)
        return self._local.run(action) if status is None else status

    def close(self) -> None:
        """Ends the zygote."""
        if self._zygote:
            self._zygote.close()
