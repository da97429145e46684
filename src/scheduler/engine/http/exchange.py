"""One request and its answer on one connection: aiohttp's client protocol and parser, with stricter rules.

The only module that uses private parts of aiohttp's client: the attribute ``_factory`` of ``TCPConnector``, the order
in which ``ResponseHandler`` calls ``data_received`` and ``feed_data``, the arguments of ``HttpResponseParser``, and the
method ``_read_nowait`` of ``StreamReader``. ``tests/test_private_hooks.py`` fails when an upgrade changes one of them.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from contextlib import suppress
from typing import cast

from aiohttp import ClientConnectionResetError, ClientPayloadError, StreamReader, TCPConnector
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import SocketFactoryType
from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage

from scheduler.engine.http.egress import note_connected

MOST_INTERIM = 8
"""1xx answers before the final one at most; more are a protocol error: endless ones would keep a core busy."""

Answer = tuple[RawResponseMessage, StreamReader]
"""The header block of an answer, and the reader of its body."""

_LINE_LIMIT = 8190
_HEADERS_LIMIT = 128
_READ_BUFFER = 65_536
_SLICE = 16_384
_PARSER_BUFFER = 1 << 30
"""The buffer of a body, larger than what one connection has received: parsing it again never pauses the connection."""


class Exchange(ResponseHandler):
    """A connection that carries one request at a time, and closes when it cannot be used for another.

    Beyond the base class: interim answers are counted and dropped; of several final answers the first is taken and the
    connection is not used again; bytes that arrive while no request is in flight close it; and a complete answer counts
    even if the bytes right after it are no HTTP (a 204 with a body, say).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._expecting = False
        self._answered = False
        self._idle = False
        self._interim = 0
        self._received: list[bytes] = []

    async def send(self, wire: bytes) -> Answer:
        """Write ``wire``, a whole HTTP/1.1 request, once; returns the answer when its header block is complete.

        Raises ``HttpProcessingError`` for what is no HTTP answer, and aiohttp's ``ClientConnectionError`` family or
        ``OSError`` for a connection that ends.
        """
        if self.transport is None:
            raise ClientConnectionResetError("the connection ended before the request was written")
        self._expecting, self._answered, self._idle, self._interim = True, False, False, 0
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            max_headers=_HEADERS_LIMIT,
        )
        self.transport.write(wire)
        try:
            return await self.read()
        except HttpProcessingError:
            answer = self._complete_answer()
            if answer is None:
                raise
            return answer
        finally:
            self._expecting = False
            self._received.clear()

    def finish(self) -> bool:
        """The body of the answer has been read; returns whether the connection can carry another request."""
        self._idle = True
        transport = self.transport
        return transport is not None and not self.should_close and transport.get_write_buffer_size() == 0

    def data_received(self, data: bytes) -> None:
        if not self._expecting:
            if self._idle and data:
                self.abort()  # no request is in flight: these bytes must not be read as the answer to the next one
            else:
                super().data_received(data)
            return
        self._received.append(data)
        if len(data) <= _SLICE:
            super().data_received(data)
            return
        # in slices, so that the parser stops soon after the first of many answers
        for start in range(0, len(data), _SLICE):
            super().data_received(data[start : start + _SLICE])
            if self.exception() is not None:
                break

    def feed_data(self, data: Answer, size: int = 0) -> None:
        status = data[0].code
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._fail(f"more than {MOST_INTERIM} interim answers")
        elif self._answered or self.exception() is not None:
            self.force_close()
        else:
            self._answered = True
            if status == 101:
                self.force_close()  # what follows a switch of protocols is no HTTP
            super().feed_data(data, size)

    def _fail(self, reason: str) -> None:
        self._received.clear()
        self.set_exception(HttpProcessingError(message=reason))
        if self.transport is not None:
            self.transport.abort()

    def _complete_answer(self) -> Answer | None:
        """The answer at the beginning of what was received, if it is complete and only the bytes after it are invalid.

        The parser rejects all bytes of a read together, so a second parser gets header block and rest one by one.
        """
        parser = HttpResponseParser(
            self,
            asyncio.get_running_loop(),
            _PARSER_BUFFER,
            payload_exception=ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            max_headers=_HEADERS_LIMIT,
        )
        rest = b"".join(self._received)
        for _ in range(MOST_INTERIM + 1):
            head, end, rest = rest.partition(b"\r\n\r\n")
            try:
                messages = parser.feed_data(head + end)[0] if end else ()
            except HttpProcessingError:
                return None
            if not messages:
                return None
            message, payload = messages[0]
            if not 100 <= message.code < 200:
                with suppress(HttpProcessingError):
                    parser.feed_data(rest)
                return (message, payload) if payload.is_eof() else None
        return None


class ExchangeConnector(TCPConnector):
    """aiohttp's connector (pool, name cache, happy eyeballs, TLS), whose connections are exchanges."""

    def __init__(
        self,
        *,
        limit: int,
        keepalive_timeout: float,
        resolver: AbstractResolver,
        socket_factory: SocketFactoryType,
        tls: ssl.SSLContext | None,
    ) -> None:
        """``limit`` is the number of connections at most; ``tls`` replaces the trust in the system's authorities."""
        super().__init__(
            limit=limit,
            keepalive_timeout=keepalive_timeout,
            resolver=resolver,
            socket_factory=socket_factory,
            ssl=tls or True,
        )
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(_begin))


def _begin() -> Exchange:
    """The exchange of a socket that is connected; the connector then adds TLS where the URL asks for it."""
    note_connected()
    return Exchange(asyncio.get_running_loop())


def received_bytes(body: StreamReader, most: int) -> bytes:
    """What has arrived of a body and was not read, also after an error, which ``read_nowait`` would raise again."""
    return body._read_nowait(most) if most else b""
