"""The rules that the SCons tool registers: one module each, and ``WasmModel``, which composes them."""
