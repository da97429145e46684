"""What one outgoing request does: bytes on the wire, connections, time, and what is stored of the answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from scheduler.domain.clock import parse_instant
from scheduler.engine.http.sender import Sender
from tests.conftest import SetClock
from tests.engine.receivers import (
    BODY_LIMIT,
    OK,
    SHORT_S,
    Caller,
    assert_storable,
    keeping,
    make_sender,
    open_descriptors,
    receiving,
    to,
    until,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


async def test_these_bytes_are_on_the_wire(sender: Sender) -> None:
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
async def test_the_length_of_a_body_is_sent_where_one_is_expected(
    method: str, body: bytes | None, length: bytes | None, sender: Sender
) -> None:
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


async def test_connections_are_used_again(sender: Sender) -> None:
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
@pytest.mark.parametrize("end", [Caller.finish, Caller.reset], ids=["fin", "reset"])
async def test_nothing_is_sent_twice_on_a_connection_that_dies(
    method: str, end: Callable[[Caller], None], sender: Sender
) -> None:
    """A client session would repeat GET, PUT and DELETE here, without an attempt of ours."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await caller.request()
        end(caller)

    async with receiving(script) as receiver:
        await sender.send(to(receiver, method=method))
        outcome = await sender.send(to(receiver, method=method))
        assert outcome.error_code == "stale_connection"
        assert outcome.response_code is None
        assert (receiver.connections, len(receiver.requests)) == (1, 2)


async def test_bytes_on_a_resting_connection_close_it(sender: Sender) -> None:
    """They could be an answer to a request that is yet to come."""
    rests = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await rests.wait()
        await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        await caller.gone()

    async with receiving(script) as receiver:
        assert (await sender.send(to(receiver))).response_body == "ok"
        rests.set()
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
async def test_retry_after_is_read_where_it_counts(
    status: int, value: str, expected: float | None, sender: Sender, clock: SetClock
) -> None:
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
async def test_a_body_is_stored_as_text_up_to_the_limit(body: bytes, stored: str, sender: Sender) -> None:
    answer = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with receiving(keeping(answer)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.response_body == stored
        assert outcome.body_truncated is (len(body) > BODY_LIMIT)
        assert outcome.error == "http_500 No"


@pytest.mark.parametrize(
    ("content_type", "body", "stored"),
    [
        ("text/html; charset=iso-8859-1", b"gr\xfc\xdfe", "grüße"),
        ('text/plain;Charset="Latin1"', b"\xe9t\xe9", "été"),
        ("text/plain; charset=windows-1252", b"5 \x80 \x81", "5 € \\x81"),
        ("text/plain; format=flowed; charset=Shift_JIS", "こんにちは".encode("shift_jis"), "こんにちは"),
        ("text/plain; charset=utf-16", "\ufeffja".encode("utf-16-le"), "ja"),
        ("text/plain; charset=utf-16", b"\x00\xd8ja", "\\x00\\xd8慪"),
        ("text/plain; charset=gbk", "中文".encode("gbk") * 300, "中文" * 250),
        ("application/json; charset=utf-8", "ü".encode(), "ü"),
        ("text/plain; charset=nonsense", "ü".encode(), "ü"),
        ("text/plain; charset=unicode_escape", b"\\u0000", "\\u0000"),
        ("text/plain; charset=rot13", b"abc", "abc"),
        ("text/plain; charset=" + "x" * 5000, b"abc\xff", "abc\\xff"),
    ],
)
async def test_a_body_is_decoded_by_its_charset(content_type: str, body: bytes, stored: str, sender: Sender) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with receiving(keeping(head.encode() + body)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.response_body == stored
        assert_storable(outcome)


async def test_a_compressed_body_is_no_text_of_its_charset(sender: Sender) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=latin1\r\nContent-Encoding: gzip\r\n"
    async with receiving(keeping(head + b"Content-Length: 3\r\n\r\n\x1f\x8b\xff")) as receiver:
        assert (await sender.send(to(receiver))).response_body == "\x1f\\x8b\\xff"


async def test_no_body_is_kept_when_the_limit_is_zero(clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock, body_limit=0) as sender:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "", True)


async def test_headers_are_stored_as_text(sender: Sender) -> None:
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


async def test_a_port_without_a_listener_refuses(sender: Sender) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        port = taken.getsockname()[1]
        outcome = await sender.send(to(f"http://127.0.0.1:{port}/"))
    assert outcome.error == f"connect_refused nothing accepts connections at 127.0.0.1:{port}"


@pytest.fixture
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full: the kernel drops further connections."""
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
    monkeypatch.setattr("scheduler.engine.http.sender.CONNECT_LIMIT_S", SHORT_S)
    async with make_sender(clock) as sender:
        outcome = await sender.send(to(f"http://127.0.0.1:{full_listener}/", timeout_s=300))
    assert outcome.error_code == "connect_timeout"


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


@pytest.mark.parametrize(
    ("answer", "code"), [(b"", "timeout"), (HEAD + b"Content-Length: 0\r\n\r\n", None)], ids=["no answer", "answer"]
)
async def test_a_receiver_that_reads_nothing_keeps_no_socket(answer: bytes, code: str | None, sender: Sender) -> None:
    """Megabytes wait to be written; an orderly close would wait with them."""

    async def script(caller: Caller) -> None:
        await caller.send(answer)
        await asyncio.Event().wait()

    async with receiving(script) as receiver:
        before = open_descriptors()
        outcome = await sender.send(to(receiver, body=bytes(8_000_000), timeout_s=SHORT_S))
        assert outcome.error_code == code
        await until(lambda: open_descriptors() == before + 1)  # the receiver's end


async def test_a_large_body_is_answered_before_it_is_read(sender: Sender) -> None:
    has_answer = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await has_answer.wait()
        caller.reset()

    async with receiving(script) as receiver:
        assert (await sender.send(to(receiver, body=bytes(8_000_000)))).response_code == 200
        has_answer.set()
