"""Facts about files, remembered from run to run as long as the files stay as they are."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path


class FileFacts:
    """A JSON file of facts, each about a file by its path, size, inode and time of change.

    Args:
        path: The JSON file; None to remember nothing. One that is not what it should be is begun anew.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._old = _read_json(path) if path else {}
        self._new: dict[str, str] = {}

    def recall(self, what: str, file: Path, learn: Callable[[Path], str]) -> str:
        """What ``learn`` says of the file, or said when the file was last as it is now.

        Args:
            what: The question.
            file: The file, by a path that means the same in every run.
            learn: Answers it.

        Raises:
            OSError: There is no such file.
        """
        status = os.stat(file)  # noqa: PTH116 - it is asked of every manifest of a workspace, and pathlib is slow
        key = f"{what}: {file} {status.st_size} {status.st_ino} {status.st_mtime_ns}"
        if key not in self._new:
            self._new[key] = self._old[key] if key in self._old else learn(file)
        return self._new[key]

    def save(self) -> None:
        """Writes what this run used, if it differs. A folder that cannot be written only costs time.

        So does a file of two runs that wrote at once. What a killed run left has a name that the next one takes.
        """
        if not self._path or self._new == self._old:
            return
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._new, indent=1), "utf-8")
            partial.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()


def _read_json(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: answer for key, answer in content.items() if isinstance(answer, str)}
