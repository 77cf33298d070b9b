"""Where clients come in: TLS on loopback. Who speaks HTTP/2 is led on to gRPC, who does not is answered in JSON.

The SDK of Teaclave 0.6 asks for the protocol ``h2`` when it connects (ALPN); that of 0.5 asks for none.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.teaclave import json_protocol
from onnx_wasm.teaclave.services import Service

HOST = "127.0.0.1"
_CONNECTIONS = 128
_CHUNK = 1 << 16
_FAREWELL = 1.0
"""Seconds that a client has to end its side of the TLS."""

_PATIENCE = 60.0
"""Seconds for a message to come once its length has."""

_DAYS = 30


def context(folder: Path) -> ssl.SSLContext:
    """TLS with a new key and a certificate that it signs itself; no enclave's quote is in it.

    Args:
        folder: Where both are kept for as long as it takes to read them.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "teaclave-local, no enclave")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = folder / "identity.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    made.set_alpn_protocols(["h2"])
    pem.unlink()
    return made


@contextlib.asynccontextmanager
async def opened(service: Service, grpc: Path, port: int, tls: ssl.SSLContext, pool: Executor) -> AsyncIterator[int]:
    """Lets clients of a service in.

    Args:
        service: The service.
        grpc: The socket that it listens on for gRPC.
        port: Where to listen; 0 for any free port.
        tls: How.
        pool: Where requests in JSON are carried out.

    Yields:
        The port.

    Raises:
        BuildError: It cannot be had.
    """
    room = asyncio.Semaphore(_CONNECTIONS)

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who breaks off or sends rubbish ends its own connection. Cancelled is what is open when the stand-in ends.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            async with room, _closing(writer):
                if writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
                    await _lead_on(reader, writer, grpc)
                else:
                    await _answer(reader, writer, service, pool)

    try:
        server = await asyncio.start_server(welcome, HOST, port, ssl=tls, ssl_shutdown_timeout=_FAREWELL, limit=_CHUNK)
    except OSError as error:
        problem = Problem("teaclave-local", f"cannot listen on {HOST}:{port}: {error.strerror}", "choose another port")
        raise BuildError(problem) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _lead_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, grpc: Path) -> None:
    """Passes bytes on in both directions until one side ends."""
    inner_reader, inner_writer = await asyncio.open_unix_connection(str(grpc), limit=_CHUNK)
    async with _closing(inner_writer):
        ways = [asyncio.create_task(_copy(reader, inner_writer)), asyncio.create_task(_copy(inner_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: Service, pool: Executor) -> None:
    """Answers requests in JSON, one after the other, until the client has no more."""
    loop = asyncio.get_running_loop()
    while True:
        (size,) = json_protocol.HEADER.unpack(await reader.readexactly(json_protocol.HEADER.size))
        if size > json_protocol.LARGEST:
            return
        async with asyncio.timeout(_PATIENCE):
            request = await reader.readexactly(size)
        response = await loop.run_in_executor(pool, json_protocol.answer, service, request)
        writer.write(json_protocol.HEADER.pack(len(response)) + response)
        await writer.drain()
