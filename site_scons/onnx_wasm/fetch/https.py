"""Download a file over https, going on where an earlier attempt stopped.

Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (range requests).
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from onnx_wasm.fetch.limits import LIMITS, Limits
from onnx_wasm.fetch.progress import Progress

_PIECE = 1 << 16
_ATTEMPTS = 3
_PARTIAL, _RANGE_REFUSED = 206, 416
_TRY_LATER = "run it again: it goes on where it stopped"


class RefusedError(Exception):
    """A download that came to nothing.

    Args:
        message: Why.
        hint: What to do; empty if the message says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


class _BrokenError(Exception):
    """The connection ended before the file did."""


def download(url: str, file: Path, limits: Limits = LIMITS) -> None:
    """Downloads a file.

    Args:
        url: Where from, https. The user's proxies and certificates are used, as ``urllib`` finds them.
        file: Where to. What is there already came from the same address; a file ``….validator`` beside it says which
            version of it that was. Both stay if the download breaks off.
        limits: How large the file may be, and how slow the server.

    Raises:
        RefusedError: The server does not give the file, gives too much of it or leads away from https, or stalls.
        OSError: The file cannot be written.
    """
    name = urlsplit(url).path.rpartition("/")[2]
    for attempt in range(_ATTEMPTS):
        try:
            _attempt(url, file, limits, name)
        except _BrokenError as error:
            if attempt == _ATTEMPTS - 1:
                raise RefusedError(f"the connection broke {_ATTEMPTS} times: {error}", _TRY_LATER) from error
        else:
            return


def _attempt(url: str, file: Path, limits: Limits, name: str) -> None:
    validator = file.with_name(f"{file.name}.validator")
    start = file.stat().st_size if file.exists() and validator.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "onnx-wasm"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator.read_text("ascii")}
    try:
        with _open(urllib.request.Request(url, headers=headers), limits) as response:
            if response.status != _PARTIAL or _first_byte(response) != start:
                start = 0
                _note(validator, response)
            expected = _size(response, start)
            if (expected or 0) > limits.file:
                raise RefusedError(f"the file has {expected:,} bytes; allowed are {limits.file:,}")
            with file.open("r+b" if start else "wb") as target, Progress(name, start, expected) as progress:
                target.truncate(start)
                target.seek(start)
                received = start + _receive(response, target, limits, limits.file - start, progress.add)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_REFUSED and start:
            file.unlink()
            raise _BrokenError("what was here is longer than the file") from error
        raise RefusedError(f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _stalled(limits) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _stalled(limits) from error
        raise RefusedError(f"cannot be reached: {_reason(error.reason)}") from error
    except (http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    if expected is not None and received < expected:
        raise _BrokenError(f"{received:,} of {expected:,} bytes came")


def _open(request: urllib.request.Request, limits: Limits) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(
        _SameScheme(), urllib.request.HTTPSHandler(context=ssl.create_default_context())
    )
    response: http.client.HTTPResponse = opener.open(request, timeout=limits.patience)
    return response


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects as long as they stay with the scheme."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        ours, theirs = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if theirs != ours:
            fp.close()
            raise RefusedError(f"it leads from {ours} to {theirs}: {newurl}", "give the address that is meant")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(
    response: http.client.HTTPResponse, target: IO[bytes], limits: Limits, most: int, count: Callable[[int], None]
) -> int:
    """Writes what comes in, and gives the number of bytes."""
    received = in_period = 0
    period = time.monotonic()
    while piece := response.read1(_PIECE):
        received, in_period = received + len(piece), in_period + len(piece)
        if received > most:
            raise RefusedError(f"the file has more than the {limits.file:,} bytes that are allowed")
        target.write(piece)
        count(len(piece))
        now = time.monotonic()
        if now - period > limits.patience:
            if in_period < limits.slowest * limits.patience:
                raise _stalled(limits)
            period, in_period = now, 0
    return received


def _stalled(limits: Limits) -> RefusedError:
    return RefusedError(f"the server stalls: next to nothing came for {limits.patience:g} seconds", _TRY_LATER)


def _note(validator: Path, response: http.client.HTTPResponse) -> None:
    """Notes which version of the file is about to come, if the server tells in a way that If-Range takes."""
    tag = response.headers.get("ETag", "")
    text = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if text.isascii() and text.isprintable() and text:
        validator.write_text(text, "ascii")
    else:
        validator.unlink(missing_ok=True)


def _first_byte(response: http.client.HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _size(response: http.client.HTTPResponse, start: int) -> int | None:
    headers: Message = response.headers
    length = headers.get("Content-Length", "")
    return start + int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _reason(reason: object) -> str:
    return getattr(reason, "verify_message", "") or getattr(reason, "strerror", None) or str(reason)
