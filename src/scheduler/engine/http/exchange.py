"""One request and its answer on one connection: aiohttp's client protocol and parser, with rules of our own.

The only module that uses these private parts of aiohttp: the attributes ``_parser``, ``_payload``, ``_upgraded`` and
``_reading_paused`` of ``ResponseHandler``; what ``feed_data`` of its parser returns; and the method ``_read_nowait`` of
``StreamReader``. ``tests/test_private_hooks.py`` fails when an upgrade changes one of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from enum import Enum
from typing import cast

from aiohttp import ClientConnectionResetError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.hdrs import KEEP_ALIVE
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import EMPTY_PAYLOAD

from scheduler.engine.http.header_block import LONGEST_FIELD, MOST_FIELDS, may_begin_answer, without_odd_fields

MOST_INTERIM = 8
"""1xx answers before the final one at most; more are a protocol error, so that endless ones do not occupy the loop."""

LONGEST_BLOCK = 262_144
"""Bytes of header blocks before the body at most, those of interim answers included."""

LONGEST_LIFE_S = 60.0
"""How long a connection can be used, and so how long after a change of its address a receiver is still reached."""

LONGEST_IDLE_S = 1.5
"""How long an idle connection is kept. Less than the idle timeouts of servers (2 s and more), because a request on a
connection that the receiver is just closing fails, and nothing is sent twice. Bursts reuse connections all the same."""

Answer = tuple[RawResponseMessage, StreamReader]
"""The header block of an answer, and the reader of its body."""

IDLE_MARGIN_S = 0.5
"""An idle connection is used for this much less than the receiver keeps it, whose timer starts earlier."""
_LONGEST_REASON = 8190
_READ_BUFFER = 65_536
_SLICE = 16_384
_NO_BODY = (204, 304, 101)
_END_OF_BLOCK = re.compile(rb"\r?\n\r?\n")
_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE | re.ASCII)


class _Phase(Enum):
    """What the next bytes belong to."""

    NEW = "no request yet"
    HEAD = "the header block"
    BODY = "the body"
    IDLE = "no request any more"


_NEW, _HEAD, _BODY, _IDLE = _Phase


class Exchange(ResponseHandler):
    """A connection that carries one request at a time, and closes when it cannot be used for another.

    Beyond the base class: interim answers are counted and dropped; of several final answers the first is taken and the
    connection is not used again; bytes that arrive while no request is in flight close it; a complete answer counts
    even if the bytes right after it are no HTTP (a 204 with a body, say); and odd header fields are dropped.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._phase = _NEW
        self._interim = 0
        self._received: list[bytes] = []
        self._size = 0
        self._refused: HttpProcessingError | None = None
        self._block = bytearray()
        self._searched = 0
        self._usable_until = 0.0
        self._ends_at = loop.time() + LONGEST_LIFE_S
        self.is_reused = False
        """Has the connection carried another request before this one?"""
        self.warnings: tuple[str, ...] = ()
        """What was dropped of the header block, in sentences."""

    @property
    def is_idle(self) -> bool:
        """Has it carried a request, and is it free for another one?"""
        return self._phase is _IDLE

    @property
    def is_stale(self) -> bool:
        """Was a request written to a connection that had been idle, without a byte of an answer so far?"""
        return self.is_reused and not self._size

    def is_connected(self) -> bool:
        """May the connector use it: is it open, and neither idle for too long nor too old?"""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        return self._phase is not _IDLE or self._loop.time() < self._usable_until

    async def send(self, wire: bytes) -> Answer:
        """Write ``wire``, a whole HTTP/1.1 request, once; returns the answer when its header block is complete.

        Raises ``HttpProcessingError`` for what is no HTTP answer, and aiohttp's ``ClientConnectionError`` family or
        ``OSError`` for a connection that ends.
        """
        self.is_reused = self._phase is _IDLE
        self._phase, self._interim, self._size, self._refused, self.warnings = _HEAD, 0, 0, None, ()
        if self.transport is None or self.transport.is_closing():
            raise ClientConnectionResetError("the connection ended before the request was written")
        self._start_parser()
        self.transport.write(wire)
        if self._received:
            early, self._received = b"".join(self._received), []
            self.data_received(early)
        try:
            return await self.read()
        finally:
            self._received.clear()

    def finish(self, message: RawResponseMessage) -> bool:
        """The body of the answer has been read; returns whether the connection can carry another request."""
        transport = self.transport
        if transport is None or self.should_close or transport.get_write_buffer_size():
            return False
        self._phase = _IDLE
        now = self._loop.time()
        self._usable_until = min(now + _idle_s(message), self._ends_at)
        return now < self._usable_until

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused:  # the base class has the parser called for every chunk that is read
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        if self._phase is _HEAD:
            self._receive_head(data)
        elif self._phase is _BODY:
            self._receive_body(data)
        elif self._phase is _NEW and self._size <= LONGEST_BLOCK:
            self._received.append(data)  # the receiver answers before it has the request
            self._size += len(data)
        elif data:
            self.abort()  # no request is in flight: these bytes must not be read as the answer to the next one

    def _receive_head(self, data: bytes) -> None:
        """Parse what arrives in slices, so that the parser stops soon after the first of many answers."""
        start = 0
        while start < len(data) and self._phase is _HEAD:
            part = data[start : start + min(_SLICE, LONGEST_BLOCK - self._size)]
            if not part:
                self._fail(HttpProcessingError(message=f"a header block of more than {LONGEST_BLOCK // 1024} KiB"))
                return
            start += len(part)
            self._size += len(part)
            if self._refused is None:
                self._parse_head(part)
            else:
                self._block += part
                self._parse_odd_head()
        if start < len(data):
            self._receive_body(data[start:])

    def _parse_head(self, part: bytes) -> None:
        self._received.append(part)
        try:
            answers = self._parse(part)
        except HttpProcessingError as error:
            # All bytes of a read are refused together, also those of answers that are complete.
            self._refused, self._interim, self._searched = error, 0, 0
            self._block = bytearray(b"".join(self._received))
            self._parse_odd_head()
            return
        for answer in answers:
            self._take(answer)

    def _parse_odd_head(self) -> None:
        """Parse the header block that was refused without its odd fields, once it is complete; then what follows it."""
        assert self._refused is not None  # noqa: S101 - or this is not called
        while self._phase is _HEAD and (end := _END_OF_BLOCK.search(self._block, self._searched)):
            try:
                block, self.warnings = without_odd_fields(bytes(self._block[: end.end()]))
                self._start_parser(longest_field=LONGEST_BLOCK, most_fields=2 * MOST_FIELDS)
                answers = self._parse(block)
            except HttpProcessingError as error:
                self._fail(error)
                return
            if not answers:
                self._fail(self._refused)
                return
            self._take(answers[0])
            del self._block[: end.end()]
            self._searched = 0
        if self._phase is _HEAD:
            self._searched = max(0, len(self._block) - 3)
            if not may_begin_answer(self._block):
                self._fail(self._refused)
            return
        self.force_close()
        self._receive_body(bytes(self._block))
        self._block.clear()

    def _receive_body(self, data: bytes) -> None:
        payload = self._payload
        if payload is None or payload.is_eof():
            if data:
                self.force_close()  # it is no part of the answer
            return
        try:
            if self._parse(data):
                self.force_close()
        except HttpProcessingError as error:
            self.force_close()
            self._parser = self._payload = None
            if not payload.is_eof():
                payload.set_exception(error)

    def _parse(self, data: bytes) -> Sequence[Answer]:
        if self._parser is None:
            return ()
        answers, self._upgraded, _ = self._parser.feed_data(data)
        return cast("Sequence[Answer]", answers)

    def _take(self, answer: Answer) -> None:
        message, payload = answer
        status = message.code
        if self._phase is not _HEAD:
            self.force_close()
        elif 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._fail(HttpProcessingError(message=f"more than {MOST_INTERIM} interim answers"))
        else:
            self._phase = _BODY
            self._payload = payload
            if message.should_close or status == 101:  # what follows a switch of protocols is no HTTP
                self.force_close()
            self.feed_data((message, EMPTY_PAYLOAD if status in _NO_BODY else payload))

    def _start_parser(self, *, longest_field: int = LONGEST_FIELD, most_fields: int = MOST_FIELDS) -> None:
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_LONGEST_REASON,
            max_field_size=longest_field,
            max_headers=most_fields,
        )

    def _fail(self, error: HttpProcessingError) -> None:
        self._phase, self._payload = _BODY, None
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


def _idle_s(message: RawResponseMessage) -> float:
    """How long the connection may be idle after this answer; less than its ``Keep-Alive`` says, where it has one."""
    text = message.headers.get(KEEP_ALIVE)
    timeout = _TIMEOUT.search(text) if text is not None else None
    return LONGEST_IDLE_S if timeout is None else min(LONGEST_IDLE_S, int(timeout[1]) - IDLE_MARGIN_S)


def received_bytes(body: StreamReader, most: int) -> bytes:
    """What has arrived of a body and was not read, also after an error, which ``read_nowait`` would raise again."""
    return body._read_nowait(most) if most else b""
