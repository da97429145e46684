"""How long an attempt lasts for the body of its answer, what of it is stored, and that the status decides."""

from __future__ import annotations

import asyncio
import time

import pytest

from scheduler.domain.clock import SECOND
from scheduler.domain.runs.execution import Status
from scheduler.engine.http.sender import LONGEST_BODY, MOST_CHUNKS, Sender
from scheduler.service import Service
from tests.conftest import SetClock, both_databases
from tests.engine.receivers import (
    BODY_LIMIT,
    SHORT_S,
    Caller,
    closing,
    dripping,
    flooding,
    keeping,
    make_sender,
    receiving,
    to,
)
from tests.factories import add_job, deliver_ready, rows_of

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class InParts:
    """Answers every request: ``first``, then ``rest`` once the gate is open."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        self._first, self._rest = first, rest
        self.at_gate, self.gate = asyncio.Event(), asyncio.Event()

    async def __call__(self, caller: Caller) -> None:
        while True:
            await caller.request()
            await caller.send(self._first)
            for _ in range(5):
                await asyncio.sleep(0.01)  # a turn of the loop for the sender, which reads what was sent
            self.at_gate.set()
            await self.gate.wait()
            await caller.send(self._rest)


async def test_an_attempt_lasts_until_the_body_has_ended(sender: Sender) -> None:
    script = InParts(HEAD + b"Content-Length: 4\r\n\r\nab", b"cd")
    async with receiving(script) as receiver:
        sending = asyncio.create_task(sender.send(to(receiver)))
        await script.at_gate.wait()
        assert not sending.done()
        script.gate.set()
        outcome = await sending
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "abcd", False)
        assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 100000\r\n\r\n", b"\r\n"], ids=["length", "until the end"])
@pytest.mark.parametrize(("status", "code"), [(b"200 OK", None), (b"503 No", "http")])
async def test_a_body_that_never_ends_lasts_for_the_timeout_and_the_status_decides(
    status: bytes, code: str | None, framing: bytes, sender: Sender
) -> None:
    loop = asyncio.get_running_loop()
    async with receiving(dripping(b"HTTP/1.1 " + status + b"\r\n" + framing, b"x")) as receiver:
        began = loop.time()
        outcome = await sender.send(to(receiver, timeout_s=SHORT_S))
        assert SHORT_S - 0.01 <= loop.time() - began < 20 * SHORT_S
        assert (outcome.error_code, outcome.body_truncated) == (code, True)
        assert set(outcome.response_body or "") == {"x"}
        await receiver.ended.wait()


@pytest.mark.parametrize("length", [BODY_LIMIT, BODY_LIMIT + 1, 300_000, LONGEST_BODY])
async def test_a_body_beyond_what_is_stored_is_read_to_its_end_and_dropped(length: int, sender: Sender) -> None:
    async with receiving(keeping(HEAD + b"Content-Length: %d\r\n\r\n" % length + b"x" * length)) as receiver:
        for _ in range(2):
            outcome = await sender.send(to(receiver))
            assert (outcome.error, outcome.response_body) == (None, "x" * BODY_LIMIT)
            assert outcome.body_truncated is (length > BODY_LIMIT)
        assert receiver.connections == 1


async def test_no_more_than_four_mebibytes_are_read(sender: Sender) -> None:
    sent = 0

    async def script(caller: Caller) -> None:
        nonlocal sent
        await caller.request()
        await caller.send(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            await caller.send(b"x" * 65_536)
            sent += 65_536

    async with receiving(script) as receiver:
        outcome = await sender.send(to(receiver, timeout_s=60))
        assert (outcome.error, outcome.body_truncated) == (None, True)
        await receiver.ended.wait()
        assert LONGEST_BODY <= sent < 5 * LONGEST_BODY  # what the kernel's buffers hold is on top


async def test_what_an_operator_stores_is_read_though_it_is_more(clock: SetClock) -> None:
    body = b"x" * (LONGEST_BODY + 100_000)
    async with (
        receiving(keeping(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)) as receiver,
        make_sender(clock, body_limit=2 * LONGEST_BODY) as sender,
    ):
        outcome = await sender.send(to(receiver))
        assert (len(outcome.response_body or ""), outcome.body_truncated) == (len(body), False)


async def test_no_more_than_twenty_thousand_chunks_are_read_and_others_have_their_turn(sender: Sender) -> None:
    longest, last = 0.0, time.thread_time()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()

    async with receiving(flooding(CHUNKED, b"1\r\nx\r\n" * 1000)) as receiver:
        watching = asyncio.create_task(watch())
        outcome = await sender.send(to(receiver, timeout_s=60))
        watching.cancel()
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "x" * BODY_LIMIT, True)
    assert longest < 0.1


async def test_exactly_as_many_chunks_end_properly(sender: Sender) -> None:
    chunks = b"1\r\nx\r\n" * (MOST_CHUNKS - 1) + b"0\r\n\r\n"
    async with receiving(keeping(CHUNKED + chunks)) as receiver:
        for _ in range(2):
            assert (await sender.send(to(receiver, timeout_s=60))).error is None
        assert receiver.connections == 1


no_chunks = pytest.mark.parametrize(
    ("first", "rest", "code", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n", b"-5\r\nhello\r\n0\r\n\r\n", None, "abc"),
        (CHUNKED, b"-5\r\nhello\r\n0\r\n\r\n", "protocol_error", None),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"bad trailer\0\r\n\r\n", None, "abc"),
    ],
    ids=["a later chunk", "the first chunk", "the trailer"],
)


@no_chunks
async def test_chunks_that_are_none_end_the_body(
    first: bytes, rest: bytes, code: str | None, body: str | None, sender: Sender
) -> None:
    async with receiving(InParts(first + rest, b"")) as receiver:
        outcome = await sender.send(to(receiver, timeout_s=20))
        assert (outcome.error_code, outcome.response_body) == (code, body)
        assert outcome.body_truncated is (code is None)


@no_chunks
async def test_chunks_that_are_none_end_the_body_when_they_come_later(
    first: bytes, rest: bytes, code: str | None, body: str | None, sender: Sender
) -> None:
    script = InParts(first, rest)
    async with receiving(script) as receiver:
        sending = asyncio.create_task(sender.send(to(receiver, timeout_s=20)))
        await script.at_gate.wait()
        script.gate.set()
        outcome = await sending
        assert (outcome.error_code, outcome.response_body) == (code, body)
        assert outcome.body_truncated is (code is None)


async def test_a_body_that_is_cut_off_keeps_what_came(sender: Sender) -> None:
    async with receiving(closing(HEAD + b"Content-Length: 100\r\n\r\nabc")) as receiver:
        outcome = await sender.send(to(receiver))
        assert (outcome.error, outcome.response_body, outcome.body_truncated) == (None, "abc", True)


@both_databases
async def test_a_run_is_active_for_its_overlap_until_the_body_has_ended(service: Service, clock: SetClock) -> None:
    script = InParts(HEAD + b"Content-Length: 4\r\n\r\nab", b"cd")
    async with receiving(script) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        job = await add_job(service.stores, clock.now(), urls=[url], overlap="skip")
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
        await service.engine.pool.fill_slots()
        await script.at_gate.wait()
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
        assert [row.status for row in await rows_of(service.stores, job)] == [Status.RUNNING, Status.SKIPPED]
        script.gate.set()
        await service.engine.pool.idle()
        await service.engine.recorder.flush()
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
        await deliver_ready(service)
        rows = await rows_of(service.stores, job)
        assert [row.status for row in rows] == [Status.SUCCESS, Status.SKIPPED, Status.SUCCESS]
        assert rows[0].duration_ms == 60 * SECOND // 1000


@both_databases
async def test_an_attempt_that_is_stopped_while_the_body_arrives_has_its_answer(
    service: Service, clock: SetClock
) -> None:
    """At the end of the drain time, say: the receiver has said that it took the work."""
    script = InParts(HEAD + b"Content-Length: 4\r\n\r\nab", b"cd")
    async with receiving(script) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        job = await add_job(service.stores, clock.now(), urls=[url])
        (started,) = await service.engine.firer.start_run(job.id, clock.now())
        await service.engine.pool.fill_slots()
        await script.at_gate.wait()
        service.engine.pool.cancel(started.id)
        await service.engine.pool.idle()
        await service.engine.recorder.flush()
        (row,) = await rows_of(service.stores, job)
    assert (row.status, row.response_code, row.body_truncated) == (Status.SUCCESS, 200, True)
