"""One request and its answer on one connection: aiohttp's client protocol and parser, held to stricter rules."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import ClientConnectionResetError, ClientPayloadError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage

MOST_INTERIM = 8
"""More 1xx answers than these before the final one are a protocol error: parsing them for ever takes a whole core."""

Answer = tuple[RawResponseMessage, StreamReader]

_LINE_LIMIT = 8190
_HEADERS_LIMIT = 128
_READ_BUFFER = 65_536
_SLICE = 16_384
_UNLIMITED = 1 << 30


class Exchange(ResponseHandler):
    """A connection that carries one request at a time and stays trustworthy, or closes.

    Beyond the base class: interim answers are counted and dropped; of several final answers the first is taken and the
    connection is not used again; bytes that arrive while it rests close it; and an answer that is complete counts even
    if the bytes right behind it are no HTTP (a 204 with a body, say).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._expecting = False
        self._answered = False
        self._resting = False
        self._interim = 0
        self._received: list[bytes] = []

    async def ask(self, wire: bytes) -> Answer:
        """Write ``wire``, a whole HTTP/1.1 request, and return the header block of its answer with the body to read.

        Nothing is ever written twice. Raises ``HttpProcessingError`` for what is no HTTP answer, aiohttp's
        ``ClientConnectionError`` family and ``OSError`` for a connection that ends.
        """
        if self.transport is None:
            raise ClientConnectionResetError("the connection ended before the request was written")
        self._expecting, self._answered, self._resting, self._interim = True, False, False, 0
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

    def rest(self) -> bool:
        """Say that the answer is read; returns whether the connection could carry another request."""
        self._resting = True
        transport = self.transport
        return transport is not None and not self.should_close and transport.get_write_buffer_size() == 0

    def data_received(self, data: bytes) -> None:
        if not self._expecting:
            if self._resting and data:
                self.abort()  # nobody asked: whatever this is must not meet the next request
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
            if self._exception is not None:
                break

    def feed_data(self, data: Answer, size: int = 0) -> None:
        status = data[0].code
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._give_up(f"more than {MOST_INTERIM} interim answers")
        elif self._answered or self._exception is not None:
            self.force_close()
        else:
            self._answered = True
            if status == 101:
                self.force_close()  # what follows is no HTTP
            super().feed_data(data, size)

    def _give_up(self, reason: str) -> None:
        self._received.clear()
        self.set_exception(HttpProcessingError(message=reason))
        if self.transport is not None:
            self.transport.abort()

    def _complete_answer(self) -> Answer | None:
        """The answer at the beginning of what was received, if it is complete and only what follows it is at fault.

        The parser rejects all bytes of a read together; a second one is given header block and rest one by one.
        """
        parser = HttpResponseParser(
            self,
            self._loop,
            _UNLIMITED,
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
