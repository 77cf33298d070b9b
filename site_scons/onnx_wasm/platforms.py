"""The platforms a module can be built for, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Platform:
    """Where a module runs, and what that place asks of it.

    Args:
        name: As in the manifest's ``platforms`` and in ``build/<platform>/``.
        rust_target: The target triple that rustc compiles the wrapper for.
        cpu: LLVM's ``mcpu``: the WebAssembly feature set that code generation starts from.
        features: WebAssembly features added to ``cpu``, by LLVM's names.
        optional_features: Those that not every place of this kind has; a module uses them if its manifest asks for
            them.
        detects_features: Whether what loads a module there can choose between one with optional features and one
            without, so that there are both.
        resident: Whether an instance of a module stays and runs again: what depends on weights alone is then computed
            by its first run, and kept.
        images: The wrapper's feature for inputs of format ``image``: ``image`` decodes, ``pixels`` gets them decoded.
        app_heap: Bytes that the host puts behind the module's own memory.
        host: Whether this package can run the module, as the tests of a manifest ask it to.
        exports: What the module must export, and the type of each, as the WebAssembly text format writes it.
        imports: The only functions that it may import, as ``module.name``, and the type of each.
        params_exports: What it must export too if its weights are in a file.
    """

    name: str
    rust_target: str
    cpu: str
    features: tuple[str, ...] = ()
    optional_features: tuple[str, ...] = ()
    detects_features: bool = False
    resident: bool = False
    images: str = "image"
    app_heap: int = 0
    host: bool = True
    exports: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    params_exports: dict[str, str] = field(default_factory=dict)

    def with_features(self, features: Iterable[str]) -> Platform:
        """The same for a module that uses some of the platform's optional features; it has no others."""
        return replace(self, features=(*self.features, *(it for it in self.optional_features if it in features)))

    def with_optional_features(self) -> Platform:
        """The same as the best of its places: with all features that it may have."""
        return self.with_features(self.optional_features)

    def with_params_in_file(self) -> Platform:
        """The same for a module whose weights are in a file."""
        return replace(self, exports=self.exports | self.params_exports)


TEACLAVE = Platform(
    name="teaclave",
    # Teaclave's executor is WAMR's classic interpreter of January 2022, without SIMD or reference types.
    rust_target="wasm32-unknown-unknown",
    cpu="mvp",
    app_heap=20 << 20,
    exports={"memory": "memory", "entrypoint": "(i32, i32) -> i32"},
    imports={
        "env.teaclave_open_input": "(i32) -> i32",
        "env.teaclave_create_output": "(i32) -> i32",
        "env.teaclave_read_file": "(i32, i32, i32) -> i32",
        "env.teaclave_write_file": "(i32, i32, i32) -> i32",
        "env.teaclave_close_file": "(i32) -> i32",
    },
)

_EVERYWHERE_TODAY = ("bulk-memory", "mutable-globals", "nontrapping-fptoint", "sign-ext", "simd128")
"""What every current browser, Node.js since 18 and every WASI runtime have, in LLVM's names. They are added to
``mvp``: what ``generic`` means differs from version to version of LLVM, and rustc's is not TVM's."""

_RELAXED = ("relaxed-simd",)
"""Multiplies and adds in one instruction. Whether that rounds once or twice is up to each machine."""

WASI = Platform(
    name="wasi",
    rust_target="wasm32-unknown-unknown",  # the wrapper calls WASI itself, without a libc
    cpu="mvp",
    features=_EVERYWHERE_TODAY,
    optional_features=_RELAXED,
    exports={"memory": "memory", "_start": "() -> ()"},
    imports={
        "wasi_snapshot_preview1.args_sizes_get": "(i32, i32) -> i32",
        "wasi_snapshot_preview1.args_get": "(i32, i32) -> i32",
        "wasi_snapshot_preview1.fd_prestat_get": "(i32, i32) -> i32",
        "wasi_snapshot_preview1.fd_prestat_dir_name": "(i32, i32, i32) -> i32",
        "wasi_snapshot_preview1.path_open": "(i32, i32, i32, i32, i32, i64, i64, i32, i32) -> i32",
        "wasi_snapshot_preview1.fd_read": "(i32, i32, i32, i32) -> i32",
        "wasi_snapshot_preview1.fd_write": "(i32, i32, i32, i32) -> i32",
        "wasi_snapshot_preview1.fd_close": "(i32) -> i32",
        "wasi_snapshot_preview1.proc_exit": "(i32) -> ()",
    },
)

WEB = Platform(
    name="web",
    rust_target="wasm32-unknown-unknown",
    cpu="mvp",
    features=_EVERYWHERE_TODAY,
    optional_features=_RELAXED,
    detects_features=True,
    resident=True,
    images="pixels",  # browsers decode
    host=False,
    exports={
        "memory": "memory",
        "inputs": "() -> i32",
        "outputs": "() -> i32",
        "run": "() -> i32",
        "allocate": "(i32) -> i32",
        "release": "(i32, i32) -> i32",
        "picture": "(i32, i32, i32, i32) -> i32",
    },
    params_exports={"params": "() -> i32", "check_params": "() -> i32"},
)

PLATFORMS = {platform.name: platform for platform in (TEACLAVE, WASI, WEB)}
