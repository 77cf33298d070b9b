"""Who this build is, for servers that ask: a token from the environment, or a netrc's login. No message has them."""

from __future__ import annotations

import base64
import netrc
import re
from collections.abc import Mapping
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

TOKEN = "ONNX_WASM_REMOTE_TOKEN"
"""The variable that a bearer token comes from."""

_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def authorization(host: str, environ: Mapping[str, str]) -> str | None:
    """What the header ``Authorization`` says to a server.

    Args:
        host: The server's name, without a port.
        environ: The environment. ``ONNX_WASM_REMOTE_TOKEN`` is a bearer token (RFC 6750); without it, ``$NETRC`` or
            ``~/.netrc`` is asked for a login (RFC 7617).

    Returns:
        None if nobody has credentials for it.

    Raises:
        BuildError: They cannot be read or sent; the message does not have them.
    """
    token = environ.get(TOKEN, "").strip()
    if token:
        if not _PRINTABLE.fullmatch(token):
            raise BuildError(Problem(f"${TOKEN}", "a token is a word of printable ASCII characters"))
        return f"Bearer {token}"
    login = _login(host, environ)
    return f"Basic {base64.b64encode(login.encode()).decode()}" if login else None


def _login(host: str, environ: Mapping[str, str]) -> str:
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except FileNotFoundError:
        return ""
    except netrc.NetrcParseError as error:  # its own message has words of the file
        raise BuildError(Problem(f"{path}:{error.lineno}", "it cannot be read as a netrc", "see man 5 netrc")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(Problem(str(path), f"it cannot be read: {getattr(error, 'strerror', 'no text')}")) from None
    return f"{entry[0]}:{entry[2]}" if entry else ""
