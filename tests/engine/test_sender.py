"""What one outgoing request does against receivers that behave, misbehave and lie, on real sockets and both loops."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from scheduler.domain.clock import parse_instant
from scheduler.domain.execution import Outcome
from scheduler.domain.request import Request
from scheduler.engine.egress import Egress
from scheduler.engine.resolver import Resolver
from scheduler.engine.sender import BODY_GRACE_S, Sender
from tests.conftest import SetClock
from tests.engine.receivers import (
    OK,
    Authority,
    Caller,
    RawReceiver,
    Script,
    answering,
    closing,
    dripping,
    flooding,
    keeping,
    receiving,
    silence,
)

SHORT_S = 0.3
LIMIT = 1000


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture
async def sender(clock: SetClock) -> AsyncIterator[Sender]:
    async with make_sender(clock) as sender:
        yield sender


def make_sender(clock: SetClock, **changed: Any) -> Sender:
    chosen = {"egress": Egress(allow=["127.0.0.0/8"]), "concurrency": 8, "body_limit": LIMIT, **changed}
    return Sender(clock=clock, **chosen)


def to(receiver: RawReceiver | str, **changed: Any) -> Request:
    url = receiver if isinstance(receiver, str) else f"http://127.0.0.1:{receiver.port}/hook"
    chosen = {"method": "POST", "headers": {"X-Test": "1"}, "body": b"{}", "timeout_s": 5.0, **changed}
    return Request(url=url, **chosen)


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
        body="x" * LIMIT,
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_receiver(case: Case, runner: asyncio.Runner, clock: SetClock) -> None:
    async def check() -> None:
        async with receiving(case.script) as receiver, make_sender(clock) as sender:
            outcome = await sender.send(to(receiver, timeout_s=case.timeout_s))
            assert outcome.error_code == (case.error or ""), outcome
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


def assert_storable(outcome: Outcome) -> None:
    """One line of error, text without NUL and surrogates: what any database and any JSON reader takes."""
    error = outcome.error or ""
    assert len(error) <= 300
    assert error.isprintable()
    for text in (error, outcome.response_body or "", *outcome.response_headers, *outcome.response_headers.values()):
        assert "\0" not in text
        text.encode()


async def test_what_is_on_the_wire(sender: Sender) -> None:
    async with receiving(keeping()) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/a%20b?x=%C3%BC#part"
        await sender.send(to(url, method="PUT", headers={"A": "1", "B": "\xe9"}, body=b"body"))
        assert receiver.requests == [
            b"PUT /a%%20b?x=%%C3%%BC HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nA: 1\r\nB: \xe9\r\nContent-Length: 4\r\n\r\nbody"
            % receiver.port
        ]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("POST", None, b"0"),
        ("PUT", None, b"0"),
        ("PATCH", b"", b"0"),
        ("GET", None, None),
        ("DELETE", None, None),
        ("GET", b"abc", b"3"),
        ("DELETE", b"abc", b"3"),
    ],
)
async def test_content_length(method: str, body: bytes | None, length: bytes | None, sender: Sender) -> None:
    async with receiving(keeping()) as receiver:
        await sender.send(to(receiver, method=method, body=body))
        head, _, sent = receiver.requests[0].partition(b"\r\n\r\n")
        assert sent == (body or b"")
        assert dict(line.split(b": ") for line in head.split(b"\r\n")[1:]).get(b"Content-Length") == length


@pytest.mark.parametrize(
    "headers", [{"X": "a\r\nEvil: 1"}, {"X": "a\nb"}, {"X\r\n": "a"}, {"X": "a\0"}, {"X": "\u20ac"}], ids=ascii
)
async def test_a_header_that_would_be_read_as_more_is_not_sent(headers: dict[str, str], sender: Sender) -> None:
    async with receiving(keeping()) as receiver:
        outcome = await sender.send(to(receiver, headers=headers))
        assert outcome.error is not None
        assert receiver.connections == 0


async def test_connections_are_reused(sender: Sender) -> None:
    async with receiving(keeping()) as receiver:
        for _ in range(3):
            assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 1


async def test_a_receiver_that_says_close_gets_a_new_connection(sender: Sender) -> None:
    async with receiving(keeping(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")) as receiver:
        for _ in range(2):
            assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_nothing_is_sent_twice_on_a_connection_that_dies(method: str, end: str, sender: Sender) -> None:
    """A client session would repeat GET, PUT and DELETE here, behind the back of the attempt."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await caller.request()
        if end == "reset":
            caller.reset()

    async with receiving(script) as receiver:
        await sender.send(to(receiver, method=method))
        outcome = await sender.send(to(receiver, method=method))
        assert outcome.error_code == ("connection_reset" if end == "reset" else "disconnected")
        assert outcome.response_code is None
        assert (receiver.connections, len(receiver.requests)) == (1, 2)


async def test_bytes_on_a_resting_connection_close_it(sender: Sender) -> None:
    """They could be an answer to a request that is yet to come."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await asyncio.sleep(0.05)
        await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        await caller.gone()

    async with receiving(script) as receiver:
        assert (await sender.send(to(receiver))).response_body == "ok"
        await receiver.ended.wait()
        receiver.script = keeping()
        assert (await sender.send(to(receiver))).response_body == "ok"
        assert receiver.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int, sender: Sender) -> None:
    async with receiving(keeping()) as canary:
        location = f"http://127.0.0.1:{canary.port}/secret"
        async with receiving(keeping(redirect(status, location))) as receiver:
            outcome = await sender.send(to(receiver))
            assert outcome.error == f"http_{status} redirect to {location} not followed"
            assert outcome.response_code == status
        assert canary.connections == 0


@pytest.mark.parametrize("location", ["file:///etc/passwd", "/\t\x1b[31mred", "http://" + "x" * 5000])
async def test_a_strange_location_is_shown_in_one_line(location: str, sender: Sender) -> None:
    async with receiving(keeping(redirect(302, location))) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.error is not None
        assert outcome.error.startswith("http_302 redirect to ")
        assert_storable(outcome)


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (503, "120", 120.0),
        (429, "0", 0.0),
        (503, "Mon, 01 Jun 2026 00:01:00 GMT", 60.0),
        (503, "Monday, 01-Jun-26 00:01:00 GMT", 60.0),
        (503, "Sun, 31 May 2026 23:00:00 GMT", 0.0),
        (503, "9" * 5000, 86_400.0),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        (503, "-5", None),
        (503, "1.5", None),
        (503, "soon", None),
        (503, "Mon, 99 Jun 2026 00:01:00 GMT", None),
        (503, "\u0665", None),
        (503, "", None),
        (500, "120", None),
        (200, "120", None),
    ],
)
async def test_retry_after(status: int, value: str, expected: float | None, sender: Sender, clock: SetClock) -> None:
    assert clock.now() == parse_instant("2026-06-01T00:00:00Z")
    answer = f"HTTP/1.1 {status} X\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    async with receiving(keeping(answer)) as receiver:
        assert (await sender.send(to(receiver))).retry_after_s == expected


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (b"gr\xc3\xbc\xc3\x9fe", "grüße"),
        (b"a\xff\xfeb", "a\\xff\\xfeb"),
        (b"a\0b", "a\\x00b"),
        ("ü".encode() * 500, "ü" * 500),
        (b"x" + "ü".encode() * 500, "x" + "ü" * 499),
        (b"", ""),
    ],
    ids=["utf-8", "not utf-8", "nul", "at the limit", "cut in a character", "empty"],
)
async def test_stored_body(body: bytes, stored: str, sender: Sender) -> None:
    answer = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with receiving(keeping(answer)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.response_body == stored
        assert outcome.body_truncated is (len(body) > LIMIT)
        assert outcome.error == "http_500 No"


async def test_no_body_is_kept_when_the_limit_is_zero(clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock, body_limit=0) as sender:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "", True)


async def test_stored_headers(sender: Sender) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-A: \xff\x1b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    async with receiving(keeping(answer)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.response_headers == {"X-A": "\\xff\\x1b", "Set-Cookie": "a=1, b=2", "Content-Length": "0"}
        assert all(type(name) is str for name in outcome.response_headers)


async def test_stored_headers_have_a_limit(sender: Sender) -> None:
    lines = b"".join(b"X-%d: " % number + b"x" * 2000 + b"\r\n" for number in range(50))
    async with receiving(keeping(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")) as receiver:
        outcome = await sender.send(to(receiver))
        assert sum(len(name) + len(value) for name, value in outcome.response_headers.items()) <= 16_384
        assert len(outcome.response_headers) == 8


async def test_cookies_are_not_kept(sender: Sender) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/; Domain=localhost\r\nContent-Length: 0\r\n\r\n"
    async with receiving(keeping(answer)) as receiver:
        url = f"http://localhost:{receiver.port}/"
        for _ in range(2):
            assert (await sender.send(to(url))).error is None
        assert b"cookie" not in receiver.requests[1].lower()


async def test_proxies_of_the_environment_are_ignored(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(keeping()) as proxy, receiving(keeping()) as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        assert (await sender.send(to(receiver))).error is None
        assert proxy.connections == 0


async def test_refused(sender: Sender) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = taken.getsockname()[1]
        outcome = await sender.send(to(f"http://127.0.0.1:{port}/"))
    assert outcome.error == f"connect_refused nothing accepts connections at 127.0.0.1:{port}"


@pytest.fixture
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full: the kernel drops whoever else comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


async def test_connecting_has_the_time_of_the_attempt(full_listener: int, sender: Sender) -> None:
    outcome = await sender.send(to(f"http://127.0.0.1:{full_listener}/", timeout_s=SHORT_S))
    assert outcome.error == (
        f"connect_timeout no connection to 127.0.0.1:{full_listener} (127.0.0.1) within {SHORT_S:g} s"
    )


async def test_connecting_has_a_limit_of_its_own(
    full_listener: int, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.engine.sender.CONNECT_LIMIT_S", SHORT_S)
    async with make_sender(clock) as sender:
        outcome = await sender.send(to(f"http://127.0.0.1:{full_listener}/", timeout_s=300))
    assert outcome.error_code == "connect_timeout"


async def test_the_body_has_a_grace_of_its_own(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.engine.sender.BODY_GRACE_S", SHORT_S)
    async with receiving(dripping(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x")) as receiver:
        outcome = await sender.send(to(receiver, timeout_s=300))
        assert (outcome.error, outcome.body_truncated) == (None, True)
        assert set(outcome.response_body or "") == {"x"}
        await receiver.ended.wait()


async def test_a_cancelled_request_leaves_nothing_behind(sender: Sender) -> None:
    arrived = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.request()
        arrived.set()
        await caller.gone()

    async with receiving(script) as receiver:
        task = asyncio.create_task(sender.send(to(receiver)))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await receiver.ended.wait()


@pytest.mark.parametrize("answer", [b"", HEAD + b"Content-Length: 0\r\n\r\n"], ids=["no answer", "answer"])
async def test_a_receiver_that_reads_nothing_keeps_no_socket(answer: bytes, sender: Sender) -> None:
    """Megabytes wait to be written; a polite close would wait with them."""
    before = open_descriptors()

    async def script(caller: Caller) -> None:
        await caller.send(answer)
        await asyncio.Event().wait()

    async with receiving(script) as receiver:
        during = open_descriptors()
        outcome = await sender.send(to(receiver, body=bytes(8_000_000), timeout_s=SHORT_S))
        assert outcome.error_code == ("" if answer else "timeout")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert open_descriptors() == during + 1  # the receiver's end
    assert before < during


async def test_a_large_body_is_answered_before_it_is_read(sender: Sender) -> None:
    async def script(caller: Caller) -> None:
        await caller.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await asyncio.sleep(0.05)
        caller.reset()

    async with receiving(script) as receiver:
        assert (await sender.send(to(receiver, body=bytes(8_000_000)))).response_code == 200


async def test_nothing_leaks(clock: SetClock) -> None:
    async with make_sender(clock) as sender:
        await sender.send(to("http://127.0.0.1:1/"))
        before = open_descriptors(), len(asyncio.all_tasks())
        for case in CASES:
            async with receiving(case.script) as receiver:
                await sender.send(to(receiver, timeout_s=0.05))
        await asyncio.sleep(0.01)
        sender.close_resting()
        assert (open_descriptors(), len(asyncio.all_tasks())) == before


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
