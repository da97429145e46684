"""The receiver of the crash tests: a server that outlives the service, logs every request and fails a fifth of them.

How a request is answered follows from its run id and attempt alone, so a campaign's receiver needs no state.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from tests.crash.evidence import Request


class Answer(NamedTuple):
    """``status`` ``None`` drops the connection without an answer."""

    status: int | None
    delay_s: float = 0.0


def answer_to(run_id: str, attempt: int) -> Answer:
    """A fifth fails (errors at once, slow errors, dropped connections), a quarter succeeds slowly, the rest at once.

    One run in a hundred never succeeds, so that dead letters are among the rows.
    """
    if hashlib.sha256(run_id.encode()).digest()[0] < 3:
        return Answer(500)
    digest = hashlib.sha256(f"{run_id} {attempt}".encode()).digest()
    lot = int.from_bytes(digest[:4], "big") % 100
    slow_s = 0.05 + 0.25 * digest[4] / 255
    if lot < 8:
        return Answer(500)
    if lot < 12:
        return Answer(404)
    if lot < 16:
        return Answer(503, slow_s)
    if lot < 20:
        return Answer(None, slow_s / 3)
    return Answer(200, slow_s) if lot < 45 else Answer(200)


class CrashReceiver:
    """Listens on loopback as an async context manager; ``requests`` is its log.

    ``look`` tells the status of an attempt's row on disk; it is asked when the request arrives, before any answer.
    ``on_arrival`` is called then, too.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.life = 0
        self.look: Callable[[str, int], str | None] = lambda _run_id, _attempt: None
        self.on_arrival: Callable[[], None] = lambda: None
        self.url = ""
        self._connections: set[_Connection] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self.abandoned()
        await self._server.wait_closed()

    async def arrivals(self, count: int) -> None:
        """Wait until the log has ``count`` entries."""
        while len(self.requests) < count:
            await self._change()

    async def abandoned(self) -> None:
        """Wait until no connection is left: everything that a dead client had sent has been read."""
        while self._connections:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def connected(self, connection: _Connection) -> None:
        self._connections.add(connection)

    def disconnected(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def received(self, headers: dict[str, str]) -> Request:
        """Log a request that is complete."""
        run_id, attempt = headers["webhook-id"], int(headers["x-scheduler-attempt"])
        request = Request(
            run_id=run_id,
            attempt=attempt,
            execution_id=headers["x-scheduler-execution-id"],
            life=self.life,
            arrived_at=now(),
            row_status=self.look(run_id, attempt),
        )
        self.requests.append(request)
        self._changed.set()
        self.on_arrival()
        return request


class _Connection(asyncio.Protocol):
    """Reads just enough HTTP/1.1: a head, a body of Content-Length, one request after another."""

    def __init__(self, receiver: CrashReceiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._current: Request | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            self._current.ended_at = now()
        self._receiver.disconnected(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._current = self._receiver.received(headers)
        status, delay_s = answer_to(self._current.run_id, self._current.attempt)
        if delay_s:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._answer, status)
        else:
            self._answer(status)

    def abort(self) -> None:
        self._transport.abort()

    def _answer(self, status: int | None) -> None:
        request, self._current = self._current, None
        if request is None or self._transport.is_closing():
            return
        if status is None:
            self._transport.abort()
        else:
            self._transport.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok".encode())
            request.status = status
        request.ended_at = now()


def now() -> int:
    """The wall clock, in epoch microseconds."""
    return time.time_ns() // 1000
