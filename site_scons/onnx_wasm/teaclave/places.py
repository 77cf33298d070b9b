"""The addresses that inputs come from and outputs go to: what is safe of those that Teaclave knows.

Teaclave fetches from wherever its clients say. A stand-in that did so would hand out the user's own files and reach
into the user's networks; it keeps to one folder, and to this machine.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_INLINE = "text/plain;base64"
_FUSION = "/TEACLAVE_FUSION_BASE/"
_PATIENCE = 30.0


class PlaceError(Exception):
    """An address is refused, or nothing can be had from it or put there; its text says why."""


def name_of(url: str) -> str:
    """The last part of an address's path: the file's name."""
    return PurePosixPath(urllib.parse.urlsplit(url).path).name


@dataclass(frozen=True)
class Places:
    """What ``file:``, ``http:``, ``data:`` and ``fusion:`` addresses lead to.

    Args:
        folder: Where files may be read and written; None for nowhere.
        largest: Bytes of the largest file that is read.
    """

    folder: Path | None
    largest: int
    _fusion: dict[str, bytes] = field(default_factory=dict, repr=False)

    def new_fusion(self) -> str:
        """An address for data of several owners, which stay inside."""
        return f"fusion://{_FUSION}{uuid4()}.fusion"

    def check(self, url: str, *, writing: bool) -> None:
        """Refuses an address that is not safe.

        Args:
            url: The address, as a client gives it.
            writing: Whether an output goes there.

        Raises:
            PlaceError: It is refused.
        """
        with _told(url):
            match urllib.parse.urlsplit(url):
                case urllib.parse.SplitResult(scheme="file"):
                    self._path(url)
                case urllib.parse.SplitResult(scheme="http") as parts:
                    _check_loopback(parts)
                case urllib.parse.SplitResult(scheme="data") if not writing:
                    _inline(url)
                case urllib.parse.SplitResult(scheme="fusion", path=path) if path.startswith(_FUSION):
                    pass
                case parts:
                    raise PlaceError(f"addresses of the scheme {parts.scheme!r} are not served here")

    def read(self, url: str) -> bytes:
        """Gives what an address leads to.

        Raises:
            PlaceError: It is refused, or there is nothing, or more than ``largest``.
        """
        self.check(url, writing=False)
        with _told(url):
            match urllib.parse.urlsplit(url).scheme:
                case "file":
                    with self._path(url).open("rb") as file:
                        return self._all(file)
                case "http":
                    with _opener().open(url, timeout=_PATIENCE) as answer:
                        return self._all(answer)
                case "data":
                    return _inline(url)
                case _:
                    return self._fusion[urllib.parse.urlsplit(url).path]

    def write(self, url: str, data: bytes) -> None:
        """Puts a file where an address leads to, where none may be yet.

        Raises:
            PlaceError: It is refused, or there is a file already, or it cannot be written.
        """
        self.check(url, writing=True)
        with _told(url):
            match urllib.parse.urlsplit(url).scheme:
                case "file":
                    _write_new(self._path(url), data)
                case "http":
                    request = urllib.request.Request(url, data, {"Content-Type": "application/x-binary"}, method="PUT")
                    with _opener().open(request, timeout=_PATIENCE) as answer:
                        if answer.status != http.HTTPStatus.OK:
                            raise PlaceError(f"the server answers {answer.status} {answer.reason}")
                case _:
                    self._fusion[urllib.parse.urlsplit(url).path] = data

    def _path(self, url: str) -> Path:
        """The file of a ``file:`` address, links followed."""
        parts = urllib.parse.urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise PlaceError("it names a file of another machine")
        if self.folder is None:
            raise PlaceError("files are not served: start teaclave-local with --folder")
        top, path = self.folder.resolve(), Path(urllib.parse.unquote(parts.path)).resolve()
        if not path.is_relative_to(top):
            raise PlaceError(f"it leads out of {top}, the folder that teaclave-local was started with")
        if path.exists() and not path.is_file():
            raise PlaceError("it is not a regular file")
        return path

    def _all(self, file: IO[bytes] | http.client.HTTPResponse) -> bytes:
        data = file.read(self.largest + 1)
        if len(data) > self.largest:
            raise PlaceError(f"it is larger than {self.largest:,} bytes")
        return data


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Puts the address before what is wrong, whatever that is."""
    shown = url if len(url) < 200 else f"{url[:200]}…"
    try:
        yield
    except PlaceError as error:
        raise PlaceError(f"{shown}: {error}") from error
    except KeyError:
        raise PlaceError(f"{shown}: there is no such data") from None
    except FileExistsError:
        raise PlaceError(f"{shown}: there is a file already") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PlaceError(f"{shown}: {getattr(error, 'strerror', None) or error}") from error


def _check_loopback(parts: urllib.parse.SplitResult) -> None:
    if parts.hostname not in _LOOPBACK:
        raise PlaceError("it is not on this machine: http is served from localhost, 127.0.0.1 and ::1")


def _inline(url: str) -> bytes:
    """The content of a ``data:`` address, of the one form that Teaclave reads."""
    kind, _, text = url.removeprefix("data:").partition(",")
    if kind != _INLINE:
        raise PlaceError(f"data is read as {_INLINE} only")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise PlaceError(f"it is not base64: {error}") from error


def _write_new(path: Path, data: bytes) -> None:
    """Writes a file that is not there yet, whole or not at all."""
    if path.exists():
        raise FileExistsError(path)
    partial = path.with_name(f".{path.name[:200]}.{uuid4()}.partial")
    try:
        partial.write_bytes(data)
        os.link(partial, path)  # a rename would replace what has come to be there
    finally:
        partial.unlink(missing_ok=True)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Where a server leads elsewhere, the checks of the address would be worth nothing."""

    def redirect_request(
        self, _req: urllib.request.Request, _fp: IO[bytes], code: int, _msg: str, _headers: Message, newurl: str
    ) -> None:
        raise PlaceError(f"the server answers {code} and leads to {newurl}")


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
