"""A job that has ended is disabled, but not paused: its last runs are delivered, retried and redriven all the same."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.service import Service
from tests.conftest import Receiver, SetClock, both_databases
from tests.factories import add_job, change_stored, deliver_ready, fire_and_deliver, read_job, rows_of

pytestmark = both_databases

TWICE = RetryPolicy(max_attempts=2, delays=(10,), jitter=0)


async def test_the_only_run_of_a_job_is_retried_and_redriven(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(status=503)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], max_runs=1, retry=TWICE)
    clock.advance(60)
    await fire_and_deliver(service)
    assert not (await read_job(service.stores, job.id)).enabled
    clock.advance(10)
    await deliver_ready(service)
    dead = (await rows_of(service.stores, job))[-1]
    assert dead.status is Status.DEAD_LETTER
    receiver.answer = lambda _: web.Response()
    assert await service.stores.dead_letters.retry(dead.id, clock.now())
    await deliver_ready(service)
    statuses = [row.status for row in await rows_of(service.stores, job)]
    assert statuses == [Status.FAILURE, Status.DEAD_LETTER, Status.SUCCESS]


async def test_a_new_end_does_not_hold_what_was_due_before(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], spread_s=30)
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    now = clock.now()
    ended = await change_stored(service.stores, job, now, ends_at=now + 1)
    assert (ended.enabled, ended.next_run_at) == (False, None)
    clock.advance(30)
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, job)] == [Status.SUCCESS]


async def test_the_run_that_waits_for_the_last_but_one_is_let_go(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], max_runs=2, overlap="buffer_one")
    for _ in range(2):
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
    assert not (await read_job(service.stores, job.id)).enabled
    await deliver_ready(service)
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, job)] == [Status.SUCCESS, Status.SUCCESS]


async def test_a_paused_job_holds_its_retry(service: Service, receiver: Receiver, clock: SetClock) -> None:
    receiver.answer = lambda _: web.Response(status=503)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], retry=TWICE)
    clock.advance(60)
    await fire_and_deliver(service)
    await service.stores.jobs.change(job.id, lambda job: replace(job, enabled=False, next_run_at=None))
    clock.advance(10)
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, job)] == [Status.FAILURE, Status.QUEUED]
