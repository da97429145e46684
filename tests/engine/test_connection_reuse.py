"""Connections that are used again: for how long, and what a request on one that the receiver closes ends as."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.sender import Sender
from scheduler.service import Service
from tests.conftest import SetClock, both_databases
from tests.engine.receivers import (
    OK,
    SHORT_S,
    Authority,
    Caller,
    RawReceiver,
    keeping,
    make_sender,
    reached,
    receiving,
    to,
)
from tests.factories import add_job, deliver_ready, rows_of

ONCE = RetryPolicy(max_attempts=1)


def keeping_alive(value: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\nContent-Length: 2\r\n\r\nok".encode()


def closing_at(receiver: RawReceiver, number: int) -> None:
    """Answers every request but that one, after which it closes the connection."""

    async def script(caller: Caller) -> None:
        while True:
            await caller.request()
            if len(receiver.requests) == number:
                return
            await caller.send(OK)

    receiver.script = script


@pytest.mark.parametrize(
    ("value", "connections"),
    [
        ("timeout=0", 2),
        ("TIMEOUT = 0, max=100", 2),
        ("max=5, timeout=0", 2),
        ("timeout=2", 1),
        ('timeout="5"', 1),
        ("timeout=5, max=1000", 1),
        ("300", 1),
        ("timeout=soon", 1),
        ("not-a-timeout=0", 1),
    ],
)
async def test_a_connection_is_idle_for_less_than_keep_alive_says(value: str, connections: int, sender: Sender) -> None:
    async with receiving(keeping(keeping_alive(value))) as receiver:
        for _ in range(2):
            assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == connections


async def test_a_connection_that_was_idle_for_as_long_is_not_used_again(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.engine.http.exchange.IDLE_MARGIN_S", 1 - SHORT_S / 2)
    loop = asyncio.get_running_loop()
    async with receiving(keeping(keeping_alive("timeout=1"))) as receiver:
        await sender.send(to(receiver))
        await reached(loop.time() + SHORT_S)
        assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 2


async def test_a_connection_in_steady_use_has_a_longest_life(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a job of every second follows the address of its receiver."""
    monkeypatch.setattr("scheduler.engine.http.exchange.LONGEST_LIFE_S", SHORT_S)
    loop = asyncio.get_running_loop()
    async with receiving(keeping()) as receiver:
        began = loop.time()
        while receiver.connections < 2:
            assert (await sender.send(to(receiver))).error is None
        assert loop.time() - began > SHORT_S


def test_a_connection_is_probed_while_it_waits_for_an_answer() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    with Egress(allow=["127.0.0.1"]).socket_factory(info) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert 0 < opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


async def test_no_connection_to_a_receiver_that_closed_a_reused_one_is_used_again(clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, receiving(keeping()) as other, make_sender(clock) as sender:
        closing_at(receiver, 2)
        assert (await sender.send(to(receiver))).error is None
        outcome = await sender.send(to(receiver))
        assert outcome.error == (
            f"stale_connection 127.0.0.1:{receiver.port} closed the connection, which had been used before, "
            "without an answer"
        )
        for _ in range(3):
            assert (await sender.send(to(receiver))).error is None
            assert (await sender.send(to(other))).error is None
        assert (receiver.connections, other.connections) == (4, 1)


async def test_after_a_while_connections_to_it_are_used_again(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.engine.http.sender.REUSE_SUSPENDED_S", SHORT_S)
    loop = asyncio.get_running_loop()
    async with receiving(keeping()) as receiver:
        closing_at(receiver, 2)
        await sender.send(to(receiver))
        assert (await sender.send(to(receiver))).error_code == "stale_connection"
        await reached(loop.time() + SHORT_S)
        for _ in range(3):
            assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 2


async def test_a_first_request_on_a_connection_is_no_stale_one(sender: Sender) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()

    async with receiving(script) as receiver:
        assert (await sender.send(to(receiver))).error_code == "disconnected"


async def test_a_connection_that_dies_after_a_byte_of_the_answer_is_no_stale_one(sender: Sender) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await caller.request()
        await caller.send(b"H")

    async with receiving(script) as receiver:
        await sender.send(to(receiver))
        assert (await sender.send(to(receiver))).error_code == "disconnected"


async def test_silence_on_a_reused_connection_is_a_timeout(sender: Sender) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK)
        await caller.gone()

    async with receiving(script) as receiver:
        await sender.send(to(receiver))
        assert (await sender.send(to(receiver, timeout_s=SHORT_S))).error_code == "timeout"


async def test_a_request_for_a_new_connection_closes_idle_ones(sender: Sender) -> None:
    async with receiving(keeping()) as receiver:
        await asyncio.gather(*(sender.send(to(receiver)) for _ in range(3)))
        assert receiver.connections == 3
        assert (await sender.send(replace(to(receiver), on_new_connection=True))).error is None
        assert receiver.connections == 4
        assert (await sender.send(to(receiver))).error is None
        assert receiver.connections == 4


async def test_a_stale_connection_is_recognised_behind_tls(
    clock: SetClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    async with (
        receiving(keeping(), tls=authority.serving("127.0.0.1")) as receiver,
        make_sender(clock, tls=authority.trusting()) as sender,
    ):
        closing_at(receiver, 2)
        request = to(f"https://127.0.0.1:{receiver.port}/")
        codes = [(await sender.send(request)).error_code for _ in range(3)]
        assert codes == [None, "stale_connection", None]
        assert (receiver.connections, len(receiver.requests)) == (2, 3)


@both_databases
async def test_a_run_that_met_a_stale_connection_goes_out_again_at_once_beyond_its_attempts(
    service: Service, clock: SetClock
) -> None:
    async with receiving(keeping()) as receiver:
        closing_at(receiver, 2)
        url = f"http://127.0.0.1:{receiver.port}/"
        job = await add_job(service.stores, clock.now(), urls=[url], schedule="0 0 1 1 *", retry=ONCE)
        for _ in range(2):
            await service.engine.firer.start_run(job.id, clock.now())
            await deliver_ready(service)
        await deliver_ready(service)  # the clock stands still: no backoff
        first, stale, again = await rows_of(service.stores, job)
    assert [row.status for row in (first, stale, again)] == [Status.SUCCESS, Status.FAILURE, Status.SUCCESS]
    assert (stale.error_code, stale.attempt, again.attempt) == ("stale_connection", 1, 2)
    assert (again.run_id, again.uncounted, again.after_stale) == (stale.run_id, 1, True)
    sent = [line for line in receiver.requests[2].split(b"\r\n") if line.startswith(b"webhook-id: ")]
    assert sent == [b"webhook-id: " + stale.run_id.encode()]
    assert len(receiver.requests) == 3


@both_databases
async def test_the_repetition_uses_a_new_connection_where_others_are_idle(
    service: Service, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another node, which has connections of its own and did not meet the stale one: the row says it."""
    monkeypatch.setattr("scheduler.engine.http.sender.REUSE_SUSPENDED_S", 0.0)
    async with receiving(keeping()) as receiver:
        closing_at(receiver, 3)
        url = f"http://127.0.0.1:{receiver.port}/"
        job = await add_job(service.stores, clock.now(), urls=[url], schedule="0 0 1 1 *", retry=ONCE)
        for _ in range(2):
            await service.engine.firer.start_run(job.id, clock.now())
        await deliver_ready(service)
        assert receiver.connections == 2
        await service.engine.firer.start_run(job.id, clock.now())
        await deliver_ready(service)
        assert receiver.connections == 2
        await deliver_ready(service)
        assert receiver.connections == 3
        assert [row.status for row in await rows_of(service.stores, job)][-2:] == [Status.FAILURE, Status.SUCCESS]


@both_databases
async def test_a_redriven_run_forgets_what_did_not_count(service: Service, clock: SetClock) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.send(OK.replace(b"200 OK", b"500 No"))
        await caller.request()

    async with receiving(script) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        job = await add_job(service.stores, clock.now(), urls=[url], schedule="0 0 1 1 *", retry=ONCE)
        for _ in range(2):
            await service.engine.firer.start_run(job.id, clock.now())
            await deliver_ready(service)
        await deliver_ready(service)
        dead = (await rows_of(service.stores, job))[-1]
        assert (dead.status, dead.attempt, dead.uncounted) == (Status.DEAD_LETTER, 2, 1)
        queued = await service.stores.dead_letters.retry(dead.id, clock.now())
        assert queued is not None
        assert (queued.attempt, queued.uncounted, queued.after_stale) == (3, 0, False)
