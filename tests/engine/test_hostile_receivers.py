"""Receivers that misbehave and lie, on real sockets and both loops: each has one outcome, and none a hold on us."""

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


@dataclass(frozen=True, kw_only=True)
class Case:
    """A receiver's behaviour and what must come of it. Ids are those of the list of hostile receivers."""

    id: str
    script: Script
    error: str | None = None
    code: int | None = None
    body: str | None = None
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
    await asyncio.sleep(SHORT_S + 0.05)
    await caller.send(OK)


async def half_closed_then_answer(caller: Caller) -> None:
    await caller.request()
    caller.stop_reading()
    await asyncio.sleep(0.1)
    await caller.send(OK)


CASES = [
    Case(id="HR03 no reply", script=silence, error="timeout", timeout_s=SHORT_S),
    Case(id="HR05 reset at once", script=reset_at_once, error="connection_reset"),
    Case(id="HR07 closes without a byte", script=closing(), error="disconnected"),
    Case(id="HR07 closes within the head", script=closing(HEAD + b"Content-Le"), error="disconnected"),
    Case(id="HR09 answers early, then resets", script=early_answer_then_reset, code=200, body="", clean=True),
    Case(
        id="HR11 answers after shutting its read side", script=half_closed_then_answer, code=200, body="ok", clean=True
    ),
    Case(id="HR13 drips its status line", script=dripping(b"", b"H"), error="protocol_error"),
    Case(id="HR13 drips a header", script=dripping(HEAD + b"X: ", b"x"), error="timeout", timeout_s=SHORT_S),
    Case(
        id="HR15 drips its body",
        script=dripping(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        code=200,
        truncated=True,
        timeout_s=SHORT_S,
    ),
    Case(id="HR17 answers too late", script=answer_after_the_deadline, error="timeout", timeout_s=SHORT_S),
    Case(id="HR19 endless headers", script=flooding(HEAD, b"a: b\r\n" * 1000), error="protocol_error"),
    Case(
        id="HR21 one long header", script=answering(HEAD + b"X: " + b"x" * 65_536 + b"\r\n\r\n"), error="protocol_error"
    ),
    Case(
        id="HR23 long reason", script=answering(b"HTTP/1.1 200 " + b"x" * 2**20 + b"\r\n\r\n"), error="protocol_error"
    ),
    Case(
        id="HR25 header not UTF-8",
        script=answering(HEAD + b"X: \xff\xfe\r\nContent-Length: 0\r\n\r\n"),
        code=200,
        clean=True,
    ),
    Case(
        id="HR27 folded header",
        script=answering(HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(
        id="HR29 bare LF",
        script=answering(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(id="HR31 length no number", script=answering(HEAD + b"Content-Length: abc\r\n\r\n"), error="protocol_error"),
    Case(
        id="HR33 length of 5000 digits",
        script=answering(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        error="protocol_error",
    ),
    Case(
        id="HR35 two lengths",
        script=answering(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        error="protocol_error",
    ),
    Case(
        id="HR37 unknown transfer coding",
        script=closing(HEAD + b"Transfer-Encoding: xchunked\r\n\r\nok"),
        code=200,
        body="ok",
    ),
    Case(
        id="HR39 negative chunk size", script=answering(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), error="protocol_error"
    ),
    Case(
        id="HR41 chunk extension of 1 MiB",
        script=answering(CHUNKED + b"2;x=" + b"x" * 2**20 + b"\r\nok\r\n0\r\n\r\n"),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(
        id="HR43 body short",
        script=closing(HEAD + b"Content-Length: 1000\r\n\r\nabc"),
        code=200,
        body="abc",
        truncated=True,
    ),
    Case(id="HR43 chunk short", script=closing(CHUNKED + b"9\r\nabc"), code=200, body="abc", truncated=True),
    Case(id="HR45 204 with a body", script=answering(b"HTTP/1.1 204 No Content\r\n\r\nhello"), code=204, body=""),
    Case(
        id="HR45 204 with a length and a body",
        script=answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        code=204,
        body="",
    ),
    Case(
        id="HR45 204, then a body",
        script=answering(b"HTTP/1.1 204 No Content\r\n\r\n", b"hello"),
        code=204,
        body="",
        clean=True,
    ),
    Case(
        id="HR45 100, then 204 with a body",
        script=answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nhello"),
        code=204,
        body="",
    ),
    Case(id="bytes behind the body", script=answering(OK + b"surplus"), code=200, body="ok"),
    Case(id="bytes behind the last chunk", script=answering(CHUNKED + b"2\r\nok\r\n0\r\n\r\n?"), code=200, body="ok"),
    Case(
        id="HR47 a second answer behind the first",
        script=answering(OK + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        code=200,
        body="ok",
    ),
    Case(
        id="HR49 endless chunks",
        script=flooding(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        code=200,
        body="x" * BODY_LIMIT,
        truncated=True,
    ),
    Case(
        id="HR51 gzip bomb",
        script=answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED),
        code=200,
        truncated=True,
    ),
    Case(
        id="HR53 invalid gzip",
        script=answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
        code=200,
        body="hello",
        clean=True,
    ),
    Case(
        id="HR55 100, then 200", script=answering(b"HTTP/1.1 100 Continue\r\n\r\n", OK), code=200, body="ok", clean=True
    ),
    Case(
        id="HR55 eight hints",
        script=answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK),
        code=200,
        body="ok",
        clean=True,
    ),
    Case(id="nine hints", script=answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK), error="protocol_error"),
    Case(id="HR57 endless hints", script=flooding(b"", b"HTTP/1.1 103 Hi\r\n\r\n" * 20_000), error="protocol_error"),
    Case(
        id="HR59 switches protocols",
        script=answering(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x02hi"),
        error="http_101",
        code=101,
    ),
    Case(id="101 without an upgrade", script=answering(b"HTTP/1.1 101 Switching\r\n\r\n"), error="http_101", code=101),
    Case(id="HR61 HTTP/1.0", script=closing(b"HTTP/1.0 200 OK\r\n\r\nok"), code=200, body="ok"),
    Case(
        id="HR63 HTTP/2", script=answering(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\x10\0\0\0\6"), error="protocol_error"
    ),
    Case(
        id="HR65 status 000",
        script=answering(b"HTTP/1.1 000 Nil\r\nContent-Length: 0\r\n\r\n"),
        error="http_0",
        code=0,
        clean=True,
    ),
    Case(
        id="HR67 status 2000",
        script=answering(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        error="protocol_error",
    ),
    Case(
        id="HR69 410",
        script=answering(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"),
        error="http_410",
        code=410,
        clean=True,
    ),
    Case(
        id="HR73 401 with a challenge",
        script=answering(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="x"\r\nContent-Length: 0\r\n\r\n'),
        error="http_401",
        code=401,
        clean=True,
    ),
    Case(
        id="HR73 407",
        script=answering(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
        error="http_407",
        code=407,
        clean=True,
    ),
    Case(id="no HTTP at all", script=answering(b"SSH-2.0-OpenSSH_9.2\r\n"), error="protocol_error"),
    Case(id="304", script=answering(b"HTTP/1.1 304 Not Modified\r\n\r\n"), error="http_304", code=304, clean=True),
]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_receiver(case: Case, runner: asyncio.Runner, clock: SetClock) -> None:
    async def check() -> None:
        async with receiving(case.script) as receiver, make_sender(clock) as sender:
            outcome = await sender.send(to(receiver, timeout_s=case.timeout_s))
            assert (outcome.error or "").partition(" ")[0] == (case.error or ""), outcome
            assert outcome.response_code == case.code, outcome
            assert outcome.body_truncated is case.truncated, outcome
            if case.body is not None:
                assert outcome.response_body == case.body
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


async def test_nothing_leaks(clock: SetClock) -> None:
    before = open_descriptors(), len(asyncio.all_tasks())
    async with make_sender(clock) as sender:
        for case in CASES:
            async with receiving(case.script) as receiver:
                await sender.send(to(receiver, timeout_s=0.05))
    await until(lambda: (open_descriptors(), len(asyncio.all_tasks())) == before)
