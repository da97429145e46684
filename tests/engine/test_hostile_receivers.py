"""Receivers that break the rules of HTTP, on real sockets and both event loops: each has one outcome, in time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvloop

from scheduler.engine.http.sender import Sender
from tests.conftest import SetClock
from tests.engine.receivers import (
    BODY_LIMIT,
    OK,
    SHORT_S,
    Caller,
    Script,
    answering,
    assert_storable,
    closing,
    dripping,
    flooding,
    make_sender,
    open_descriptors,
    receiving,
    silence,
    to,
    until,
)


@dataclass(frozen=True)
class BeginsWith:
    """Equal to each text that begins so."""

    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(self.text)

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A receiver's behaviour and what must come of it."""

    id: str
    script: Script
    error: str | None = None
    code: int | None = None
    body: str | BeginsWith | None = None
    truncated: bool = False
    timeout_s: float = 5.0
    clean: bool = False
    """Is the connection as good as new when the answer is read, or is that a matter of time?"""


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED = gzip.compress(bytes(20_000_000))


async def reset_at_once(caller: Caller) -> None:
    caller.reset()


async def early_answer_then_reset(caller: Caller) -> None:
    await caller.send(HEAD + b"Content-Length: 0\r\n\r\n")
    await caller.request()
    caller.reset()


async def answer_after_the_deadline(caller: Caller) -> None:
    await caller.request()
    await caller.gone()
    await caller.send(OK)


async def half_closed_then_answer(caller: Caller) -> None:
    await caller.request()
    caller.stop_reading()
    await caller.send(OK)


CASES = [
    Case(id="no reply", script=silence, error="timeout", timeout_s=SHORT_S),
    Case(id="reset at once", script=reset_at_once, error="connection_reset"),
    Case(id="closes without a byte", script=closing(), error="disconnected"),
    Case(id="closes within the head", script=closing(HEAD + b"Content-Le"), error="disconnected"),
    Case(id="answers early, then resets", script=early_answer_then_reset, code=200, body="", clean=True),
    Case(id="answers after shutting its read side", script=half_closed_then_answer, code=200, body="ok", clean=True),
    Case(id="drips its status line", script=dripping(b"", b"H"), error="protocol_error"),
    Case(id="drips a header", script=dripping(HEAD + b"X: ", b"x"), error="timeout", timeout_s=SHORT_S),
    Case(
        id="drips its body",
        script=dripping(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        code=200,
        body=BeginsWith("x"),
        truncated=True,
        timeout_s=SHORT_S,
    ),
    Case(id="answers too late", script=answer_after_the_deadline, error="timeout", timeout_s=SHORT_S),
    Case(id="endless headers", script=flooding(HEAD, b"a: b\r\n" * 1000), error="protocol_error"),
    Case(
        id="one long header",
        script=answering(HEAD + b"X: " + b"x" * 65_536 + b"\r\nContent-Length: 2\r\n\r\nok"),
        code=200,
        body="ok",
    ),
    Case(
        id="more headers than are kept",
        script=answering(HEAD + b"a: b\r\n" * 200 + b"Content-Length: 2\r\n\r\nok"),
        code=200,
        body="ok",
    ),
    Case(
        id="equal lengths",
        script=answering(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        code=200,
        body="ok",
    ),
    Case(
        id="a length beside chunks",
        script=answering(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        error="protocol_error",
    ),
    Case(id="long reason", script=answering(b"HTTP/1.1 200 " + b"x" * 2**20 + b"\r\n\r\n"), error="protocol_error"),
    Case(
        id="header not UTF-8",
        script=answering(HEAD + b"X: \xff\xfe\r\nContent-Length: 0\r\n\r\n"),
        code=200,
        body="",
        clean=True,
    ),
    Case(
        id="folded header",
        script=answering(HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(
        id="bare LF",
        script=answering(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(id="length no number", script=answering(HEAD + b"Content-Length: abc\r\n\r\n"), error="protocol_error"),
    Case(
        id="length of 5000 digits",
        script=answering(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        error="protocol_error",
    ),
    Case(
        id="two lengths",
        script=answering(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        error="protocol_error",
    ),
    Case(
        id="unknown transfer coding",
        script=closing(HEAD + b"Transfer-Encoding: xchunked\r\n\r\nok"),
        code=200,
        body="ok",
    ),
    Case(id="negative chunk size", script=answering(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), error="protocol_error"),
    Case(
        id="chunk extension of 1 MiB",
        script=answering(CHUNKED + b"2;x=" + b"x" * 2**20 + b"\r\nok\r\n0\r\n\r\n"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(
        id="body short",
        script=closing(HEAD + b"Content-Length: 1000\r\n\r\nabc"),
        code=200,
        body="abc",
        truncated=True,
    ),
    Case(id="chunk short", script=closing(CHUNKED + b"9\r\nabc"), code=200, body="abc", truncated=True),
    Case(id="204 with a body", script=answering(b"HTTP/1.1 204 No Content\r\n\r\nhello"), code=204, body=""),
    Case(
        id="204 with a length and a body",
        script=answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        code=204,
        body="",
    ),
    Case(
        id="204, then a body",
        script=answering(b"HTTP/1.1 204 No Content\r\n\r\n", b"hello"),
        code=204,
        body="",
        clean=True,
    ),
    Case(
        id="100, then 204 with a body",
        script=answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nhello"),
        code=204,
        body="",
    ),
    Case(id="bytes behind the body", script=answering(OK + b"surplus"), code=200, body="ok"),
    Case(id="bytes behind the last chunk", script=answering(CHUNKED + b"2\r\nok\r\n0\r\n\r\n?"), code=200, body="ok"),
    Case(
        id="a second answer behind the first",
        script=answering(OK + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        code=200,
        body="ok",
    ),
    Case(
        id="endless chunks",
        script=flooding(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        code=200,
        body="x" * BODY_LIMIT,
        truncated=True,
    ),
    Case(
        id="gzip bomb",
        script=answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED),
        code=200,
        body=BeginsWith("\x1f\\x8b"),
        truncated=True,
        clean=True,
    ),
    Case(
        id="invalid gzip",
        script=answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
        code=200,
        body="hello",
        clean=True,
    ),
    Case(id="100, then 200", script=answering(b"HTTP/1.1 100 Continue\r\n\r\n", OK), code=200, body="ok", clean=True),
    Case(
        id="eight hints",
        script=answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(id="nine hints", script=answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK), error="protocol_error"),
    Case(id="endless hints", script=flooding(b"", b"HTTP/1.1 103 Hi\r\n\r\n" * 20_000), error="protocol_error"),
    Case(
        id="switches protocols",
        script=answering(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x02hi"),
        error="http_101",
        code=101,
        body="",
    ),
    Case(
        id="101 without an upgrade",
        script=answering(b"HTTP/1.1 101 Switching\r\n\r\n"),
        error="http_101",
        code=101,
        body="",
    ),
    Case(id="HTTP/1.0", script=closing(b"HTTP/1.0 200 OK\r\n\r\nok"), code=200, body="ok"),
    Case(id="HTTP/2", script=answering(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\x10\0\0\0\6"), error="protocol_error"),
    Case(
        id="status 000",
        script=answering(b"HTTP/1.1 000 Nil\r\nContent-Length: 0\r\n\r\n"),
        error="http_0",
        code=0,
        body="",
        clean=True,
    ),
    Case(
        id="status 2000",
        script=answering(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        error="protocol_error",
    ),
    Case(
        id="410",
        script=answering(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"),
        error="http_410",
        code=410,
        body="",
        clean=True,
    ),
    Case(
        id="401 with a challenge",
        script=answering(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="x"\r\nContent-Length: 0\r\n\r\n'),
        error="http_401",
        code=401,
        body="",
        clean=True,
    ),
    Case(
        id="407",
        script=answering(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
        error="http_407",
        code=407,
        body="",
        clean=True,
    ),
    Case(id="no HTTP at all", script=answering(b"SSH-2.0-OpenSSH_9.2\r\n"), error="protocol_error"),
    Case(
        id="304",
        script=answering(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        error="http_304",
        code=304,
        body="",
        clean=True,
    ),
]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_hostile_receiver_has_the_outcome_that_is_listed(case: Case, runner: asyncio.Runner, clock: SetClock) -> None:
    async def check() -> None:
        async with receiving(case.script) as receiver, make_sender(clock) as sender:
            outcome = await sender.send(to(receiver, timeout_s=case.timeout_s))
            assert (outcome.error or "").partition(" ")[0] == (case.error or ""), outcome
            assert outcome.response_code == case.code, outcome
            assert outcome.body_truncated is case.truncated, outcome
            assert case.body == outcome.response_body, outcome
            assert receiver.connections == 1
            assert_storable(outcome)

    runner.run(check())


@pytest.mark.parametrize("case", [case for case in CASES if not case.clean], ids=lambda case: case.id)
async def test_a_connection_with_a_past_is_not_used_again(case: Case, sender: Sender) -> None:
    async with receiving(case.script) as receiver:
        await sender.send(to(receiver, timeout_s=SHORT_S))
        receiver.script = closing(b"HTTP/1.1 201 Mine\r\nContent-Length: 4\r\n\r\nmine")
        outcome = await sender.send(to(receiver))
        assert (outcome.response_code, outcome.response_body) == (201, "mine")
        assert receiver.connections == 2


async def test_no_connection_and_no_task_is_left_behind(clock: SetClock) -> None:
    before = open_descriptors(), len(asyncio.all_tasks())
    async with make_sender(clock) as sender:
        for case in CASES:
            async with receiving(case.script) as receiver:
                await sender.send(to(receiver, timeout_s=0.05))
    await until(lambda: (open_descriptors(), len(asyncio.all_tasks())) <= before)
    assert (open_descriptors(), len(asyncio.all_tasks())) == before
