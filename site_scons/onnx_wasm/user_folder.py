"""Where things of ours are kept on this machine, for all of a user's builds. All of it can be deleted at any time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's folder: ``onnx-wasm`` in ``$XDG_CACHE_HOME``, which is ``~/.cache`` if it is not set.

    Source: https://specifications.freedesktop.org/basedir-spec. A path that is not absolute counts as not set.
    """
    configured = Path(environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "onnx-wasm"
