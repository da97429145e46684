"""Sends one request: look-up of the name, connection, TLS, request, header block and body of the answer, outcome.

Built on aiohttp's connector (pool, name cache, happy eyeballs, TLS) and its parser, one level below ``ClientSession``.
A session sends an idempotent request again when a pooled connection turns out to be dead, but a (``webhook-id``,
attempt) must be sent once. It also keeps cookies, follows redirects and reads proxies from the environment, which a
webhook must not. And it costs more than half of the CPU time of a delivery.
"""

from __future__ import annotations

import asyncio
import functools
import math
import ssl
from types import TracebackType
from typing import NamedTuple, Self, cast

from aiohttp import ClientError, ClientRequest, ClientTimeout, StreamReader
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from yarl import URL

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.request import Request
from scheduler.domain.webhooks.target import Target, split_url
from scheduler.engine.http.answer import failed, outcome_of
from scheduler.engine.http.egress import Dial, Egress, dialling
from scheduler.engine.http.exchange import Exchange, ExchangeConnector, received_bytes
from scheduler.engine.http.failure import failure_of
from scheduler.engine.http.resolver import Resolver

CONNECT_LIMIT_S = 5.0
"""How long connecting may take, look-up and TLS included, within the timeout of the attempt."""

BODY_GRACE_S = 2.0
"""How long the body of an answer may take after its header block, within the timeout of the attempt."""

KEEP_ALIVE_S = 1.5
"""How long an idle connection is kept. Less than the idle timeouts of servers (2 s and more), because a request on a
connection that the receiver is just closing fails, and nothing is sent twice. Bursts reuse connections all the same."""

_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})


class _Route(NamedTuple):
    """What is worked out once for a URL."""

    host: str
    endpoint: str
    """``host:port``."""
    start: str
    """The rest of the request line, and the ``Host`` header."""
    connection_key: ClientRequest
    """The argument by which the connector finds a connection; it is never sent."""


class Sender:
    """Sends requests; one per process, an async context manager.

    ``concurrency`` is the number of requests in flight at most, ``body_limit`` the bytes that are kept of a body.
    ``tls`` replaces the trust in the system's certificate authorities, ``resolver`` the system's name look-up.
    """

    def __init__(
        self,
        *,
        egress: Egress,
        concurrency: int,
        body_limit: int,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._egress = egress
        self._concurrency = concurrency
        self._body_limit = body_limit
        self._clock = clock
        self._tls = tls
        self._resolver = resolver
        self._connect_timeout = ClientTimeout(connect=CONNECT_LIMIT_S, ceil_threshold=math.inf)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._connector = ExchangeConnector(
            limit=self._concurrency,
            keepalive_timeout=KEEP_ALIVE_S,
            resolver=self._resolver or Resolver(),
            socket_factory=self._egress.socket_factory,
            tls=self._tls,
        )
        self._route = functools.lru_cache(maxsize=4096)(self._find_route)
        self._connection_key = functools.lru_cache(maxsize=1024)(self._make_connection_key)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connector.close()

    async def send(self, request: Request) -> Outcome:
        """Send ``request`` once; returns its outcome. Raises nothing but ``CancelledError``.

        ``timeout_s`` is for everything up to the complete header block; the body then has the rest of it, two seconds
        at most. A refused or failed request has an ``error_code``.
        """
        try:
            route = self._route(request.url)
            wire = _wire(request, route.start)
        except (SchedulerError, ValueError) as error:
            return failed(ErrorCode.BLOCKED_ADDRESS, f"the request cannot be sent: {error}")
        dial = dialling(route.host)
        deadline = self._loop.time() + request.timeout_s
        total = asyncio.timeout_at(deadline)
        connection: Connection | None = None
        reusable = False
        try:
            async with total:
                connection = await self._connector.connect(route.connection_key, [], self._connect_timeout)
                exchange = cast("Exchange", connection.protocol)
                message, payload = await exchange.send(wire)
            body, complete = await self._read(payload, deadline)
            reusable = complete and exchange.finish()
            return outcome_of(message, body, truncated=not complete, now=self._clock.now())
        except TimeoutError:
            total_s = request.timeout_s if connection is not None or total.expired() else None
            return failed(*_timed_out(route, dial, total_s, connected=connection is not None))
        except Exception as error:
            return failed(*failure_of(error, route.endpoint))
        finally:
            if connection is not None:
                _release(connection, reusable=reusable)

    async def _read(self, payload: StreamReader, deadline: float) -> tuple[bytes, bool]:
        """The body up to the limit, and whether that is the whole body."""
        limit = self._body_limit
        if payload.is_eof() and payload.total_bytes <= limit:
            return payload.read_nowait(), True
        chunks: list[bytes] = []
        room = limit + 1  # one byte more shows that the body is longer
        try:
            async with asyncio.timeout_at(min(deadline, self._loop.time() + BODY_GRACE_S)):
                while room and not payload.at_eof():
                    chunk = await payload.read(room)
                    chunks.append(chunk)
                    room -= len(chunk)
        except (TimeoutError, ClientError):
            chunks.append(received_bytes(payload, room))
            return b"".join(chunks)[:limit], False
        return b"".join(chunks)[:limit], room > 0

    def _find_route(self, url: str) -> _Route:
        target, rest = split_url(url)
        path = rest.partition("#")[0]
        if not path.startswith("/"):
            path = f"/{path}"
        return _Route(
            host=target.host,
            endpoint=target.endpoint,
            start=f" {path} HTTP/1.1\r\nHost: {target.netloc}\r\n",
            connection_key=self._connection_key(target),
        )

    def _make_connection_key(self, target: Target) -> ClientRequest:
        return ClientRequest("GET", URL(f"{target.scheme}://{target.authority}/", encoded=True), loop=self._loop)


def _wire(request: Request, start: str) -> bytes:
    """The whole request as bytes. Raises ``ValueError`` for a header with a line break, which would be read as
    several."""
    headers, body = request.headers, request.body
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}\r\n")
    elif request.method in _WITH_LENGTH:
        lines.append("Content-Length: 0\r\n")
    head = f"{request.method}{start}{''.join(lines)}\r\n"
    breaks = len(lines) + 3
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise ValueError("a header contains a line break or NUL")
    wire = head.encode("latin-1")
    return wire + body if body else wire


def _timed_out(route: _Route, dial: Dial, total_s: float | None, *, connected: bool) -> tuple[ErrorCode, str]:
    """Which step took too long; ``total_s`` is ``None`` for connecting, which has a timeout of its own."""
    limit_s = CONNECT_LIMIT_S if total_s is None else total_s
    if connected:
        return ErrorCode.TIMEOUT, f"no complete answer from {route.endpoint} within {limit_s:g} s"
    if dial.is_connected:
        stalled = f"the TLS handshake with {route.endpoint} ({dial.address}) did not end within {limit_s:g} s"
        return ErrorCode.CONNECT_TIMEOUT, stalled
    if dial.address is not None:
        return ErrorCode.CONNECT_TIMEOUT, f"no connection to {route.endpoint} ({dial.address}) within {limit_s:g} s"
    code = ErrorCode.DNS_FAILED if total_s is None else ErrorCode.TIMEOUT
    return code, f"no address for {route.host} within {limit_s:g} s"


def _release(connection: Connection, *, reusable: bool) -> None:
    if reusable:
        connection.release()
        return
    if connection.protocol is not None:
        connection.protocol.abort()  # an orderly close would wait for a receiver that reads nothing
    connection.close()
