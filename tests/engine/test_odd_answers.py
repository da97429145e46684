"""Answers whose header block is odd: what is dropped and named, and what stays an error because it is ambiguous."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop
from aiohttp.http import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from scheduler.engine.http.header_block import without_odd_fields
from scheduler.engine.http.sender import Sender
from scheduler.service import Service
from tests.conftest import SetClock, both_databases
from tests.engine.receivers import (
    Caller,
    Script,
    answering,
    assert_storable,
    flooding,
    keeping,
    make_sender,
    receiving,
    to,
)
from tests.factories import add_job, deliver_ready, rows_of

HEAD = b"HTTP/1.1 200 OK\r\n"
END = b"Content-Length: 2\r\n\r\nok"
MANY = b"".join(b"X-%d: y\r\n" % number for number in range(1, 201))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def byte_by_byte(answer: bytes) -> Script:
    async def script(caller: Caller) -> None:
        await caller.request()
        for start in range(0, len(answer), 7):
            await caller.send(answer[start : start + 7])
            await asyncio.sleep(0)
        await caller.gone()

    return script


ODD = {
    "over 8 KiB": (b"X-Long: " + b"x" * 8193 + b"\r\n", 'of more than 8 KiB were dropped: "X-Long".'),
    "64 KiB": (b"X-Long: " + b"x" * 65_536 + b"\r\n", 'of more than 8 KiB were dropped: "X-Long".'),
    "a long name": (b"x" * 9000 + b": 1\r\n", 'of more than 8 KiB were dropped: "' + "x" * 60 + '".'),
    "a long folded one": (
        b"X-Fold: a\r\n " + b"b" * 9000 + b"\r\n c\r\n",
        'of more than 8 KiB were dropped: "X-Fold".',
    ),
    "NUL": (b"X-Nul: a\0b\r\n", 'malformed were dropped: "X-Nul".'),
    "a bare CR": (b"X-Cr: a\rb\r\n", 'malformed were dropped: "X-Cr".'),
    "no colon": (b"no colon here\r\n", 'malformed were dropped: "no colon here".'),
    "a space in the name": (b"X Name: 1\r\n", 'malformed were dropped: "X Name".'),
    "a space before the colon": (b"X-Name : 1\r\n", 'malformed were dropped: "X-Name ".'),
    "no name": (b": 1\r\n", 'malformed were dropped: "".'),
    "a name that is not ASCII": (b"X-\xfc\x1b: 1\r\n", 'malformed were dropped: "X-\\xfc\\x1b".'),
    "an old websocket": (b"Sec-WebSocket-Key1: 1\r\n", 'malformed were dropped: "Sec-WebSocket-Key1".'),
}


@pytest.mark.parametrize("send", [answering, byte_by_byte], ids=["in one piece", "in many"])
@pytest.mark.parametrize(("field", "told"), ODD.values(), ids=ODD)
def test_an_odd_field_is_dropped_and_named(
    field: bytes, told: str, send: Callable[[bytes], Script], runner: asyncio.Runner, clock: SetClock
) -> None:
    async def check() -> None:
        answer = HEAD + b"X-A: 1\r\n" + field + b"X-B: 2\r\n" + END
        async with receiving(send(answer)) as receiver, make_sender(clock) as sender:
            outcome = await sender.send(to(receiver))
            assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "ok", False)
            assert outcome.response_headers == {"X-A": "1", "X-B": "2", "Content-Length": "2"}
            assert list(outcome.warnings) == [f"Header fields {told}"]
            assert_storable(outcome)

    runner.run(check())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", END),
        (END.removesuffix(b"\r\nok"), b"\r\nok"),
        (b"Transfer-Encoding: chunked\r\n", b"\r\n2\r\nok\r\n0\r\n\r\n"),
    ],
    ids=["length last", "length first", "chunked"],
)
async def test_fields_beyond_the_first_128_are_dropped_wherever_the_framing_stands(
    before: bytes, after: bytes, sender: Sender
) -> None:
    async with receiving(answering(HEAD + before + MANY + after)) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body) == (None, "ok")
        kept = [name for name in outcome.response_headers if name.startswith("X-")]
        assert kept == [f"X-{number}" for number in range(1, len(kept) + 1)]
        assert 127 <= len(kept) <= 128
        (warning,) = outcome.warnings
        assert warning.startswith(f'Header fields beyond the first 128 were dropped: "X-{len(kept) + 1}", ')
        assert warning.endswith(f'"X-{len(kept) + 20}", {180 - len(kept)} more.')


async def test_thousands_of_fields_cost_little(sender: Sender) -> None:
    block = HEAD + b"Content-Length: 2\r\n" + b"a: b\r\n" * 43_000 + b"\r\nok"
    async with receiving(answering(block)) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body) == (None, "ok")
        assert outcome.warnings[0].endswith("42852 more.")


async def test_an_ordinary_answer_has_no_warnings(sender: Sender) -> None:
    block = HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(127)) + END
    async with receiving(keeping(block)) as receiver:
        for _ in range(2):
            outcome = await sender.send(to(receiver))
            assert (outcome.error, list(outcome.warnings)) == (None, [])
        assert receiver.connections == 1


async def test_a_connection_that_gave_an_odd_answer_is_not_used_again(sender: Sender) -> None:
    async with receiving(keeping(HEAD + b"no colon\r\n" + END)) as receiver:
        for _ in range(2):
            assert (await sender.send(to(receiver))).response_body == "ok"
        assert receiver.connections == 2


@pytest.mark.parametrize("status", [b"404 No", b"503 Later", b"204 Done", b"302 Found"])
async def test_the_status_of_an_odd_answer_decides(status: bytes, sender: Sender) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nX: \0\r\nRetry-After: 7\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answering(answer)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.response_code == int(status[:3])
        assert (outcome.error is None) is (status[:1] == b"2")
        assert outcome.warnings


async def test_interim_answers_before_an_odd_one_are_dropped_and_counted(sender: Sender) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: \0\r\n\r\n"
    async with receiving(answering(hint * 8 + HEAD + b"bad\r\n" + END)) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body) == (None, "ok")
        receiver.script = answering(hint * 9 + HEAD + END)
        assert (await sender.send(to(receiver))).error_code == "protocol_error"


async def test_a_long_body_after_an_odd_block_arrives_whole(clock: SetClock) -> None:
    body = b"0123456789abcdef" * 50_000
    answer = HEAD + b"bad line\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with receiving(answering(answer)) as receiver, make_sender(clock, body_limit=2_000_000) as sender:
        outcome = await sender.send(to(receiver))
        assert (outcome.response_body, outcome.body_truncated) == (body.decode(), False)


@pytest.mark.parametrize(
    ("odd", "warnings"), [(b"", 0), (b"no colon\r\n", 1)], ids=["ordinary otherwise", "odd otherwise"]
)
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: 2\r\nX: y\r\ncontent-length:02 , 2\r\n",
    ],
)
async def test_lengths_that_are_equal_are_one(framing: bytes, odd: bytes, warnings: int, sender: Sender) -> None:
    async with receiving(answering(HEAD + odd + framing + b"\r\nok")) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "ok", False)
        assert outcome.response_headers["Content-Length"] == "2"
        assert len(outcome.warnings) == warnings


@pytest.mark.parametrize(
    "odd", [b"", b"no colon\r\n", b"X: " + b"x" * 9000 + b"\r\n", MANY], ids=["", "malformed", "long", "many"]
)
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: -2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 2 2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 2,\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Content-Length: " + b"0" * 9000 + b"2\r\n",
        b"Content-Length\0: 2\r\n",
        b"X\0: 1\rContent-Length: 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: " + b"x," * 5000 + b"chunked\r\n",
        b"Transfer\tEncoding: chunked\r\nContent-Length: 2\r\n",
    ],
    ids=lambda value: value[:40].decode(),
)
async def test_what_could_end_in_two_places_is_an_error(framing: bytes, odd: bytes, sender: Sender) -> None:
    async with receiving(answering(HEAD + odd + framing + b"\r\n2\r\nok\r\n0\r\n\r\n")) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error_code, outcome.response_code) == ("protocol_error", None)
        assert_storable(outcome)


@pytest.mark.parametrize(
    "block",
    [
        HEAD + b"".join(b"X-%d: " % number + b"x" * 8000 + b"\r\n" for number in range(33)),
        HEAD + b"X: " + b"x" * 262_144 + b"\r\n",
        HEAD + b"a: b\r\n" * 43_700,
        b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 8000 + b"\r\n\r\n" + HEAD + b"X: " + b"x" * 258_000 + b"\r\n",
    ],
    ids=["long fields", "one field", "many fields", "with an interim answer"],
)
async def test_a_header_block_over_256_kib_is_an_error(block: bytes, sender: Sender) -> None:
    async with receiving(answering(block + END)) as receiver:
        outcome = await sender.send(to(receiver))
        assert outcome.error_code == "protocol_error"
        assert "256 KiB" in (outcome.error or "")
        receiver.script = answering(HEAD + b"X: " + b"x" * 262_000 + b"\r\n" + END)
        assert (await sender.send(to(receiver))).error is None


@pytest.mark.parametrize(
    "endless",
    [b"a: b\r\n" * 1000, b"x" * 10_000, b"X: " + b"y" * 10_000 + b"\r\n", b"\0\r\n" * 1000],
    ids=["short", "one line", "long", "malformed"],
)
async def test_an_endless_header_block_is_an_error_soon(endless: bytes, sender: Sender) -> None:
    async with receiving(flooding(HEAD, endless)) as receiver:
        outcome = await sender.send(to(receiver, timeout_s=30))
        assert outcome.error_code == "protocol_error"
        await receiver.ended.wait()


@pytest.mark.parametrize(
    "begin",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 20\r\n",
        b"HTTP/2 200\r\n",
        b"<html>",
        b"\0",
        b"HTTP/1.1 200 " + b"x" * 9000,
    ],
    ids=lambda value: ascii(value[:20]),
)
async def test_what_is_no_answer_from_its_first_line_on_is_not_waited_for(begin: bytes, sender: Sender) -> None:
    async with receiving(answering(begin)) as receiver:
        assert (await sender.send(to(receiver, timeout_s=60))).error_code == "protocol_error"


async def test_an_odd_block_that_stays_incomplete_is_a_timeout_or_an_end(sender: Sender) -> None:
    async with receiving(answering(HEAD + b"no colon\r\n")) as receiver:
        assert (await sender.send(to(receiver, timeout_s=0.2))).error_code == "timeout"

        async def end(caller: Caller) -> None:
            await caller.request()
            await caller.send(HEAD + b"no colon\r\n")

        receiver.script = end
        assert (await sender.send(to(receiver))).error_code == "disconnected"


NAMES = st.sampled_from(
    [b"X-A", b"Content-Length", b"Transfer-Encoding", b"content-length ", b"", b"X B", b"\xff", b"Link"]
)
VALUES = st.sampled_from(
    [b"1", b"2", b"2,2", b"chunked", b"", b" ", b"\0", b"a\rb", b"\r\n folded", b"x" * 8200, b"\n\tx"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.sampled_from([b"\r\n", b"\n"]))
def test_of_any_fields_one_length_or_one_coding_is_left(fields: list[tuple[bytes, bytes]], line_end: bytes) -> None:
    block = HEAD + b"".join(name + b":" + value + line_end for name, value in fields) + line_end
    try:
        cleaned, warnings = without_odd_fields(block)
    except HttpProcessingError:
        return
    lines = cleaned.lower().split(b"\r\n")
    assert sum(line.startswith(b"content-length:") for line in lines) <= 1
    assert len(warnings) <= 3
    assert without_odd_fields(cleaned) == (cleaned, ())


@both_databases
async def test_warnings_are_stored_without_credentials(service: Service, clock: SetClock) -> None:
    answer = HEAD + b"Bearer abcdefgh-secret-token no colon\r\n" + END
    async with receiving(answering(answer)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        headers = {"Authorization": "Bearer abcdefgh-secret-token"}
        job = await add_job(service.stores, clock.now(), urls=[url], webhook={"headers": headers})
        await service.engine.firer.start_run(job.id, clock.now())
        await deliver_ready(service)
    (row,) = await rows_of(service.stores, job)
    assert row.warnings == ['Header fields malformed were dropped: "*** no colon".']
