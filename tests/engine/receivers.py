"""Receivers on raw sockets, for answers that no HTTP server would give."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scheduler.domain.clock import Clock
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.request import Request
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.sender import Sender
from scheduler.engine.http.tls import TlsContexts

SHORT_S = 0.2
BODY_LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Caller:
    """One accepted connection, as a script sees it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: Callable[[bytes], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._keep = keep

    async def request(self) -> bytes:
        """The next request, head and body; kept in the receiver's ``requests``."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self._reader.readexactly(int(lengths[0])) if lengths else b""
        self._keep(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def gone(self) -> None:
        """Until the other side has closed."""
        while await self._reader.read(65_536):
            pass

    def finish(self) -> None:
        """Send FIN; still reading."""
        self._writer.write_eof()

    def stop_reading(self) -> None:
        """Shut the reading side of the socket."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_RD)

    def reset(self) -> None:
        """Send RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Caller], Awaitable[None]]


class RawReceiver:
    """A listener that runs its script for each connection, and counts."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self.ended = asyncio.Event()
        """Set whenever a connection has ended."""
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait_for(self, count: int, *, within_s: float = 20) -> None:
        """Until ``count`` requests have arrived; fails loudly instead of hanging."""
        async with asyncio.timeout(within_s):
            while len(self.requests) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def keep(self, request: bytes) -> None:
        self.requests.append(request)
        self._arrived.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.script(Caller(reader, writer, self.keep))
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()
            self.ended.set()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def receiving(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawReceiver]:
    """A receiver on a free port while the context is open."""
    receiver = RawReceiver(script)
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls, limit=2**22)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
        await server.wait_closed()


def answering(*answers: bytes) -> Script:
    """Reads a request and sends these bytes, one write each; then waits until the other side closes."""

    async def script(caller: Caller) -> None:
        await caller.request()
        for answer in answers:
            await caller.send(answer)
        await caller.gone()

    return script


def closing(*answers: bytes) -> Script:
    """Reads a request, sends these bytes and closes."""

    async def script(caller: Caller) -> None:
        await caller.request()
        for answer in answers:
            await caller.send(answer)

    return script


def keeping(answer: bytes = OK) -> Script:
    """An ordinary server: the same answer to every request on a connection."""

    async def script(caller: Caller) -> None:
        while True:
            await caller.request()
            await caller.send(answer)

    return script


def flooding(first: bytes, again: bytes) -> Script:
    """Reads a request, sends ``first``, then ``again`` as fast as it is taken."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(first)
        while True:
            await caller.send(again)

    return script


def dripping(first: bytes, again: bytes, pause_s: float = 0.02) -> Script:
    """Reads a request, sends ``first``, then ``again`` now and then for ever."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(first)
        while True:
            await caller.send(again)
            await asyncio.sleep(pause_s)

    return script


async def silence(caller: Caller) -> None:
    """Reads the request and never answers."""
    await caller.request()
    await caller.gone()


def make_sender(clock: Clock, **changed: Any) -> Sender:
    """A sender that may go to loopback."""
    chosen = {"egress": Egress(allow=["127.0.0.0/8"]), "concurrency": 8, "body_limit": BODY_LIMIT, **changed}
    return Sender(clock=clock, **chosen)


def to(receiver: RawReceiver | str, **changed: Any) -> Request:
    """A small POST to this receiver or URL."""
    url = receiver if isinstance(receiver, str) else f"http://127.0.0.1:{receiver.port}/hook"
    chosen = {"method": "POST", "headers": {"X-Test": "1"}, "body": b"{}", "timeout_s": 5.0, **changed}
    return Request(url=url, **chosen)


def assert_storable(outcome: Outcome) -> None:
    """One line of error, text without NUL and surrogates: what any database and any JSON reader takes."""
    error = outcome.error or ""
    assert len(error) <= 300
    assert error.isprintable()
    for text in (error, outcome.response_body or "", *outcome.response_headers, *outcome.response_headers.values()):
        assert "\0" not in text
        text.encode()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def reached(when: float) -> None:
    """Until the clock of the loop shows ``when``."""
    loop = asyncio.get_running_loop()
    has_come = asyncio.Event()
    loop.call_at(when, has_come.set)
    await has_come.wait()


async def until(true: Callable[[], bool]) -> None:
    """Let the loop run until it is so, where no event tells of it: of descriptors that the kernel closes, say."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        self._certificate = self._sign(self._name, self._key, [], authority=True)
        self.path = directory / "authority.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def trusting(self) -> TlsContexts:
        """Trust in this authority beside the system's."""
        return TlsContexts(ca_file=self.path)

    def identity(self, name: str) -> tuple[str, str]:
        """A certificate for a client, and its key, both in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, [name])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()

    def serving(self, *names: str, self_signed: bool = False) -> ssl.SSLContext:
        """A server context with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._sign(name, key, list(names), signer=key if self_signed else None)
        path = self._directory / f"{names[0]}-{self_signed}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def demanding(self, *names: str) -> ssl.SSLContext:
        """A server context that insists on a certificate of the client."""
        context = self.serving(*names)
        context.load_verify_locations(cafile=str(self.path))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[str],
        *,
        authority: bool = False,
        signer: ec.EllipticCurvePrivateKey | None = None,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if signer is not None else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_alternative, names))), critical=False)
        return builder.sign(signer or self._key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
