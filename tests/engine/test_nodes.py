"""Several nodes over one Postgres database: leases, taking over, fencing, and notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from scheduler.config import Config, DatabaseConfig, EngineConfig
from scheduler.domain.clock import SECOND, SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import LookedForDueJobs
from scheduler.domain.runs.execution import Outcome, Status, settle
from scheduler.service import Service
from scheduler.store.database import Transaction
from scheduler.store.stores import Stores
from tests.checks import present
from tests.conftest import OpenService, Received, Receiver
from tests.event_log import EventLog
from tests.factories import add_job, deliver_ready, rows_of, start_run

Nodes = tuple[Service, Service]
LEASE_S = 3600
"""Longer than any of these tests takes."""


@pytest.fixture
def config(config: Config, postgres_url: str) -> Config:
    engine = EngineConfig(drain_s=1, lease_s=LEASE_S)
    return replace(config, database=DatabaseConfig(url=postgres_url, pool_size=4), engine=engine)


@pytest.fixture
async def nodes(open_test_service: OpenService) -> AsyncIterator[Nodes]:
    """Two nodes, not started."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_test_service(clock=SystemClock()))
        other = await stack.enter_async_context(open_test_service(clock=SystemClock()))
        yield one, other


@pytest.fixture
def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the steady clock, by which a node counts its lease, forward by so many seconds."""
    read = time.clock_gettime

    def put_forward(by_s: float) -> None:
        monkeypatch.setattr(time, "clock_gettime", lambda clock: read(clock) + by_s)

    return put_forward


async def expire(stores: Stores, node_id: str) -> None:
    """As if the node had not renewed for long."""

    async def work(tx: Transaction) -> None:
        await tx.execute("UPDATE nodes SET expires_at = 1 WHERE id = :id", {"id": node_id})

    await stores.db.transaction(work)


async def test_two_nodes_never_claim_the_same_execution(nodes: Nodes) -> None:
    one, other = nodes
    now = one.clock.now()
    job = await add_job(one.stores, now, enabled=False)
    for number in range(60):
        await start_run(one.stores, job, now + number)
    later = now + SECOND
    claims = await asyncio.gather(*(node.stores.queue.claim(later, 20) for node in (one, other, one, other)))
    found = [claim.execution.id for batch in claims for claim in batch]
    assert len(found) == len(set(found)) == 60
    workers = {row.worker_id for row in await rows_of(one.stores, job)}
    assert workers == {one.stores.queue.worker_id, other.stores.queue.worker_id}


async def test_two_nodes_fire_each_time_once(nodes: Nodes) -> None:
    one, other = nodes
    now = one.clock.now()
    jobs = [await add_job(one.stores, now, next_run_at=now - number) for number in range(30)]
    await asyncio.gather(*(node.engine.firer.fire_due(now) for node in (one, other, one, other)))
    for job in jobs:
        assert len(await rows_of(one.stores, job)) == 1


async def test_what_an_expired_node_held_is_repeated_at_once(nodes: Nodes, receiver: Receiver) -> None:
    one, other = nodes
    job = await add_job(one.stores, one.clock.now(), urls=[receiver.url], schedule="@yearly")
    await start_run(one.stores, job, one.clock.now())
    (claim,) = await one.stores.queue.claim(one.clock.now() + SECOND, 1)
    await other.engine.membership.step()
    assert [row.status for row in await rows_of(other.stores, job)] == [Status.RUNNING]
    await expire(one.stores, one.stores.queue.worker_id)
    await other.engine.membership.step()
    await deliver_ready(other)
    closed, repeated = await rows_of(other.stores, job)
    assert (closed.status, repeated.status, repeated.attempt) == (Status.FAILURE, Status.SUCCESS, 2)
    assert present(closed.error).startswith("interrupted")
    assert [one.headers["webhook-id"] for one in receiver.requests] == [claim.execution.run_id]


async def test_a_stale_result_is_not_written(nodes: Nodes) -> None:
    one, other = nodes
    now = one.clock.now()
    job = await add_job(one.stores, now, enabled=False)
    await start_run(one.stores, job, now)
    (claim,) = await one.stores.queue.claim(now + SECOND, 1)
    await expire(one.stores, one.stores.queue.worker_id)
    await other.engine.membership.step()
    late = settle(claim.execution, Outcome(response_code=200), now + 2 * SECOND, policy=claim.policy)
    assert await one.stores.queue.settle([late], now + 2 * SECOND) == []
    assert [row.status for row in await rows_of(one.stores, job)] == [Status.FAILURE, Status.QUEUED]


async def test_a_node_that_lost_its_lease_claims_nothing_and_goes_on_as_a_new_one(
    nodes: Nodes, let_time_pass: Callable[[float], None]
) -> None:
    one, other = nodes
    now = one.clock.now()
    job = await add_job(one.stores, now, enabled=False)
    await start_run(one.stores, job, now)
    before = one.stores.queue.worker_id
    await expire(one.stores, before)
    await other.engine.membership.step()
    with pytest.raises(SchedulerError, match="lost its lease"):
        await one.stores.queue.claim(now + SECOND, 1)
    let_time_pass(LEASE_S / 2)  # a renewal is due
    await one.engine.membership.step()
    assert one.stores.queue.worker_id != before
    assert len(await one.stores.queue.claim(now + SECOND, 1)) == 1
    assert {node.id for node in await one.stores.nodes.alive()} == {
        one.stores.queue.worker_id,
        other.stores.queue.worker_id,
    }


async def test_a_node_that_could_not_renew_in_time_begins_nothing(
    open_test_service: OpenService, config: Config, receiver: Receiver, let_time_pass: Callable[[float], None]
) -> None:
    small = replace(config, engine=replace(config.engine, concurrency=1))
    async with open_test_service(config=small, clock=SystemClock()) as one:
        job = await add_job(one.stores, one.clock.now(), urls=[receiver.url], enabled=False)
        await start_run(one.stores, job, one.clock.now())
        await one.engine.pool.fill_slots()
        let_time_pass(LEASE_S + 1)  # a standstill between the claim and the delivery
        assert not one.engine.membership.has_lease()
        await one.engine.pool.idle()
        assert not (await one.health.now()).ready
        await one.engine.recorder.flush()
        await one.engine.pool.fill_slots()
        assert receiver.requests == []
        closed, repeated = await rows_of(one.stores, job)
        assert (closed.status, repeated.status) == (Status.FAILURE, Status.QUEUED)


async def test_a_job_of_one_node_is_on_time_on_another(nodes: Nodes, receiver: Receiver) -> None:
    """The node that stores the job only announces it: the other fires it before its next look is due."""
    one, other = nodes
    one.engine.peers.start()
    looked = EventLog(other.events, LookedForDueJobs)
    await other.engine.start()
    await looked.wait_for()
    job = await add_job(one.stores, one.clock.now(), urls=[receiver.url], next_run_at=one.clock.now())
    await receiver.wait_for(1)
    (row,) = (await rows_of(one.stores, job))[:1]
    assert row.worker_id == other.stores.queue.worker_id
    await other.engine.stop()


async def test_what_one_node_cancels_another_aborts(nodes: Nodes, receiver: Receiver) -> None:
    one, other = nodes

    async def never(_: Received) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = never
    for node in nodes:
        node.engine.peers.start()
    job = await add_job(one.stores, one.clock.now(), urls=[receiver.url], enabled=False)
    (started,) = await start_run(one.stores, job, one.clock.now())
    await other.engine.pool.fill_slots()
    await receiver.wait_for(1)
    assert await one.stores.executions.cancel(started.id, one.clock.now(), reason="by hand") is not None
    await other.engine.pool.idle(20)
    assert other.engine.pool.in_use == 0
    await other.engine.recorder.flush()
    assert [row.status for row in await rows_of(one.stores, job)] == [Status.CANCELLED]


async def test_a_node_that_stops_leaves_no_lease_behind(nodes: Nodes) -> None:
    one, other = nodes
    await one.engine.start()
    await one.engine.stop()
    assert [node.id for node in await other.stores.nodes.alive()] == [other.stores.queue.worker_id]


async def test_health_tells_how_many_nodes_there_are(nodes: Nodes) -> None:
    one, _ = nodes
    details = (await one.health.now()).details
    assert (details["nodes"], details["lease"]["held"]) == (2, True)
    assert abs(details["lease"]["clock_skew_s"]) < 60
    assert details["queue"]["ready"] == 0
