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
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.redirect import REDIRECTS, redirected
from scheduler.domain.webhooks.request import Request
from scheduler.domain.webhooks.url import Target, parse_target
from scheduler.domain.webhooks.webhook import TlsOptions
from scheduler.engine.http.answer import Body, CodeAndText, failed, not_followed, outcome_of, text_of
from scheduler.engine.http.connector import ExchangeConnector
from scheduler.engine.http.egress import Dial, Egress, dialling
from scheduler.engine.http.exchange import Exchange, received_bytes
from scheduler.engine.http.failure import failure_of, is_own_congestion
from scheduler.engine.http.resolver import Resolver
from scheduler.engine.http.tls import TlsContexts
from scheduler.engine.http.tunnel import NoResolver, Tunnel
from scheduler.engine.http.wire import split_origin, wire_of

CONNECT_LIMIT_S = 5.0
"""How long connecting may take, look-up and TLS included, within the timeout of the attempt."""

LONGEST_BODY = 4_194_304
"""Bytes of a body that are read at most, unless more are stored."""

MOST_CHUNKS = 20_000
"""Pieces of a body that are read at most: chunks of its transfer coding, or what arrives at a time."""

REUSE_SUSPENDED_S = 60.0
"""For how long each request to an endpoint gets a new connection, once a used one was closed without an answer."""

_MOST_SUSPENDED = 1000
_CHUNKS_AT_A_TIME = 500
"""After this many the other tasks of the loop may run."""


class _Route(NamedTuple):
    """What is computed once for an origin."""

    host: str
    endpoint: str
    """``host:port``."""
    start: str
    """The end of the request line, and the ``Host`` header."""
    connection_key: ClientRequest
    """The argument by which the connector finds a connection; it is never sent."""


class Sender:
    """Sends requests; one per process, an async context manager.

    ``concurrency`` is the number of requests in flight at most, ``body_limit`` the bytes that are kept of a body.
    ``tls`` has the authorities and certificates of webhooks, ``resolver`` replaces the system's name look-up; with a
    ``tunnel`` all connections go through a proxy.
    """

    def __init__(
        self,
        *,
        egress: Egress,
        concurrency: int,
        body_limit: int,
        clock: Clock,
        tls: TlsContexts | None = None,
        resolver: AbstractResolver | None = None,
        tunnel: Tunnel | None = None,
    ) -> None:
        self._egress = egress
        self._concurrency = concurrency
        self._body_limit = body_limit
        self._clock = clock
        self._tls = tls or TlsContexts()
        self._resolver = resolver or (NoResolver() if tunnel is not None and tunnel.by_name else None)
        self._tunnel = tunnel
        self._connect_timeout = ClientTimeout(connect=CONNECT_LIMIT_S, ceil_threshold=math.inf)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._connector = ExchangeConnector(
            limit=self._concurrency,
            resolver=self._resolver or Resolver(),
            socket_factory=self._egress.socket_factory,
            tls=self._tls.default(),
            tunnel=self._tunnel,
        )
        self._suspended_until: dict[str, float] = {}
        """Until when each request to an endpoint gets a new connection, by the clock of the loop."""
        self._route = functools.lru_cache(maxsize=4096)(self._find_route)
        self._connection_key = functools.lru_cache(maxsize=1024)(self._make_connection_key)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connector.close()

    async def send(self, request: Request) -> Outcome:
        """Send ``request`` once, and what its redirects lead to; returns the outcome of the final answer.

        ``timeout_s`` is for everything up to the complete header block; the body then has the rest of it. A refused or
        failed request has an ``error_code``. Cancelled while the body arrives, it returns what the header block says.
        Raises nothing but ``CancelledError``.
        """
        deadline = self._loop.time() + request.timeout_s
        while not isinstance(found := await self._send(request, deadline), Outcome):
            request = found
        return found

    async def _send(self, request: Request, deadline: float) -> Outcome | Request:
        """One request; returns its outcome, or the request that a redirect leads to."""
        try:
            origin, path = split_origin(request.url)
            route = self._route(origin) if request.tls is None else await self._route_with(origin, request.tls)
            wire = wire_of(request, path, route.start)
        except (SchedulerError, ValueError) as error:
            return failed(ErrorCode.BLOCKED_ADDRESS, f"the request cannot be sent: {error}")
        except ssl.SSLError as error:
            return failed(ErrorCode.TLS_FAILED, f"the tls of the webhook cannot be used: {error.strerror}")
        dial = dialling(route.host, request.user)
        total = asyncio.timeout_at(deadline)
        connection: Connection | None = None
        exchange: Exchange | None = None
        reusable = False
        try:
            async with total:
                found = await self._connector.connect(route.connection_key, [], self._connect_timeout)
                if request.on_new_connection or self._is_reuse_suspended(route.endpoint):
                    found = await self._renewed(found, route)
                connection = found
                exchange = cast("Exchange", connection.protocol)
                message, payload = await exchange.send(wire)
            following = _following(request, message) if request.follow_redirects else None
            if isinstance(following, Request):
                reusable = payload.is_eof() and self._may_reuse(exchange, message, route)
                return following
            body = await self._read(payload, deadline)
            reusable = body.has_ended and self._may_reuse(exchange, message, route)
            return outcome_of(
                message,
                await text_of(message, body),
                is_complete=body.is_complete,
                success=request.success,
                warnings=exchange.warnings,
                now=self._clock.now(),
                failure=following,
            )
        except TimeoutError:
            if dial.awaits_lookup:
                return failed(ErrorCode.DNS_BUSY, f"{route.endpoint}: its name waited for others", put_off=True)
            total_s = request.timeout_s if connection is not None or total.expired() else None
            return failed(*_timed_out(route, dial, total_s, connected=connection is not None))
        except Exception as error:
            if exchange is not None and exchange.is_stale:
                self._suspend_reuse(route.endpoint)
                closed = f"{route.endpoint} closed the connection, which had been used before, without an answer"
                return failed(ErrorCode.STALE_CONNECTION, closed)
            return failed(*failure_of(error, route.endpoint, dial), put_off=is_own_congestion(error))
        finally:
            if connection is not None:
                _release(connection, reusable=reusable)

    async def _renewed(self, connection: Connection, route: _Route) -> Connection:
        """A connection that nothing was sent on; idle ones to the same endpoint are closed."""
        while cast("Exchange", connection.protocol).is_idle:
            _release(connection, reusable=False)
            connection = await self._connector.connect(route.connection_key, [], self._connect_timeout)
        return connection

    def _may_reuse(self, exchange: Exchange, message: RawResponseMessage, route: _Route) -> bool:
        return exchange.finish(message) and not self._is_reuse_suspended(route.endpoint)

    def _is_reuse_suspended(self, endpoint: str) -> bool:
        return bool(self._suspended_until) and self._suspended_until.get(endpoint, 0.0) > self._loop.time()

    def _suspend_reuse(self, endpoint: str) -> None:
        now = self._loop.time()
        self._suspended_until.pop(endpoint, None)  # entries are in the order of their ends
        self._suspended_until[endpoint] = now + REUSE_SUSPENDED_S
        for known, until in list(self._suspended_until.items()):
            if until > now and len(self._suspended_until) <= _MOST_SUSPENDED:
                break
            del self._suspended_until[known]

    async def _read(self, payload: StreamReader, deadline: float) -> Body:
        """Read the body until it ends, ``deadline`` or its bounds are reached; beyond the stored part it is dropped.

        Raises ``HttpProcessingError`` for chunks that are none from the first one on.
        """
        limit = self._body_limit
        if payload.is_eof() and payload.total_bytes <= limit:
            return Body(payload.read_nowait(), is_complete=True, has_ended=True)
        kept: list[bytes] = []
        size, has_ended = 0, False
        try:
            async with asyncio.timeout_at(deadline):
                for number in range(1, MOST_CHUNKS + 1):
                    chunk, ends_chunk = await payload.readchunk()
                    has_ended = not chunk and not ends_chunk
                    if has_ended or size >= max(LONGEST_BODY, limit):
                        break
                    if size < limit:
                        kept.append(chunk[: limit - size])
                    size += len(chunk)
                    if number % _CHUNKS_AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except HttpProcessingError:
            if not payload.total_bytes:
                raise
        except (TimeoutError, ClientError, asyncio.CancelledError):
            pass  # the status decides, and it is known
        if not has_ended:
            kept.append(received_bytes(payload, max(0, limit - size)))
        return Body(b"".join(kept), is_complete=has_ended and size <= limit, has_ended=has_ended)

    async def _route_with(self, origin: str, options: TlsOptions) -> _Route:
        target = parse_target(origin)
        if target.scheme == "http":
            return self._route(origin)
        context = await self._tls.context(options)
        return self._new_route(target, self._connection_key(target, context))

    def _find_route(self, origin: str) -> _Route:
        target = parse_target(origin)
        return self._new_route(target, self._connection_key(target))

    def _new_route(self, target: Target, connection_key: ClientRequest) -> _Route:
        return _Route(
            host=target.host,
            endpoint=target.endpoint,
            start=f" HTTP/1.1\r\nHost: {target.netloc}\r\n",
            connection_key=connection_key,
        )

    def _make_connection_key(self, target: Target, tls: ssl.SSLContext | None = None) -> ClientRequest:
        url = URL(f"{target.scheme}://{target.authority}/", encoded=True)
        return ClientRequest("GET", url, loop=self._loop, ssl=tls or True)


def _following(request: Request, message: RawResponseMessage) -> Request | CodeAndText | None:
    """The request that a redirect leads to, or why it is not followed; ``None`` for an answer that is no redirect."""
    location = message.headers.get("Location")
    if message.code not in REDIRECTS or location is None:
        return None
    if request.hops == request.follow_redirects:
        return ErrorCode.TOO_MANY_REDIRECTS, f"more than {request.hops}; the next would be to {location}"
    try:
        return redirected(request, message.code, location)
    except SchedulerError as error:
        return ErrorCode.HTTP, f"{not_followed(location)}: {error.message}"


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
