"""Retention: what is old, or one too many, goes in slices; what is not over, and what failed for good, stays longer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.config import Config
from scheduler.config.retention import RetentionConfig
from scheduler.domain.clock import Instant, seconds
from scheduler.domain.execution import Execution, Status, Trigger, run_id_of
from scheduler.domain.explanation import Verdict, explain
from scheduler.domain.job import Job
from scheduler.engine import pruner
from scheduler.store import ids
from scheduler.store.dead_letters import Selection
from scheduler.store.ids import new_id
from scheduler.store.stores import Stores
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.factories import USER, add_job, deliver_ready, rows_of, webhooks_of

pytestmark = both_databases

DAY_S = 86_400


@pytest.fixture
def config(config: Config) -> Config:
    kept = RetentionConfig(executions_days=30, executions_per_job=5, dead_letter_days=90)
    return replace(config, retention=kept)


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "_last_tick", 0)


async def add_run(
    stores: Stores, job: Job, at: Instant, *statuses: Status, scheduled_at: Instant | None = None, last_at: Instant = 0
) -> str:
    """A run of ``at`` with one attempt for each status, the last one made at ``last_at``; returns its id."""
    (webhook,) = await webhooks_of(stores, job)
    run_id = run_id_of(webhook.id, scheduled_at or at)
    attempts = [
        Execution(
            id=new_id(last_at if last_at and number == len(statuses) else at),
            run_id=run_id,
            job_id=job.id,
            account_id=job.account_id,
            webhook_id=webhook.id,
            status=status,
            attempt=number,
            trigger=Trigger.SCHEDULE,
            scheduled_at=scheduled_at or at,
            available_at=at,
            created_at=at,
            budget_at=at,
        )
        for number, status in enumerate(statuses, start=1)
    ]
    await stores.db.transaction(lambda tx: stores.queue.enqueue(tx, attempts))
    return run_id


async def sweep(service: Any) -> int:
    """One sweep from start to end; returns how many slices it had."""
    slices = 0
    while await service.pruner.step() < pruner._BETWEEN_SWEEPS_S:
        slices += 1
    return slices


async def runs_of(stores: Stores, job: Job) -> set[str]:
    return {row.run_id for row in await rows_of(stores, job)}


async def test_what_is_old_goes_and_what_is_not_stays(service: Any, clock: SetClock) -> None:
    stores, now = service.stores, clock.now()
    clock.advance(-40 * DAY_S)
    job = await add_job(stores, clock.now(), enabled=False)
    old = clock.now() + seconds(60)
    for status in (Status.SUCCESS, Status.SKIPPED, Status.CANCELLED):
        old += seconds(60)
        await add_run(stores, job, old, status)
    await add_run(stores, job, old + seconds(60), Status.FAILURE, Status.FAILURE, Status.SUCCESS)
    dead = await add_run(stores, job, old + seconds(120), Status.FAILURE, Status.DEAD_LETTER)
    active = await add_run(stores, job, old + seconds(180), Status.FAILURE, Status.QUEUED)
    straddling = await add_run(stores, job, old + seconds(240), Status.FAILURE, Status.SUCCESS, last_at=now)
    clock.set("2026-06-01T00:00:00Z")
    await sweep(service)
    assert await runs_of(stores, job) == {dead, active, straddling}
    assert [row.attempt for row in await rows_of(stores, job) if row.run_id == straddling] == [1, 2]
    clock.advance(60 * DAY_S)
    await sweep(service)
    assert await runs_of(stores, job) == {active}


async def test_the_newest_of_each_job_stay(service: Any, clock: SetClock) -> None:
    stores = service.stores
    clock.advance(-DAY_S)
    many = await add_job(stores, clock.now(), enabled=False, name="many")
    few = await add_job(stores, clock.now(), enabled=False, name="few")
    dead = await add_run(stores, many, clock.now() + 1, Status.DEAD_LETTER)
    runs = [await add_run(stores, many, clock.now() + seconds(60 * n), Status.SUCCESS) for n in range(1, 9)]
    kept = [await add_run(stores, few, clock.now() + seconds(60 * n), Status.SUCCESS) for n in range(1, 4)]
    clock.advance(DAY_S)
    await sweep(service)
    assert await runs_of(stores, many) == {dead, *runs[-5:]}
    assert await runs_of(stores, few) == set(kept)


async def test_what_is_redriven_meanwhile_stays(service: Any, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = service.stores
    clock.advance(-100 * DAY_S)
    job = await add_job(stores, clock.now(), enabled=False)
    run_id = await add_run(stores, job, clock.now() + 1, Status.FAILURE, Status.DEAD_LETTER)
    clock.advance(100 * DAY_S)
    found = await stores.pruning.oldest(after_id="", until_id=new_id(clock.now()), limit=10)
    dead = (await rows_of(stores, job))[-1]
    assert await stores.dead_letters.redrive(USER, Selection(ids=(dead.id,)), clock.now(), dry_run=False) == 1
    until = new_id(clock.now() - seconds(95 * DAY_S))
    assert await stores.pruning.prune(found, pruner.Edge(until_id=until, dead_until_id=until)) == 0
    assert [row.attempt for row in await rows_of(stores, job) if row.run_id == run_id] == [1, 2, 3]


async def test_nothing_goes_where_everything_is_kept(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    kept = RetentionConfig(executions_days=0, executions_per_job=0, dead_letter_days=0)
    async with open_test_service(replace(config, retention=kept)) as service:
        clock.advance(-4000 * DAY_S)
        job = await add_job(service.stores, clock.now(), enabled=False)
        for number in range(1, 10):
            await add_run(service.stores, job, clock.now() + number, Status.SUCCESS)
            await add_run(service.stores, job, clock.now() + 100 + number, Status.DEAD_LETTER)
        clock.advance(4000 * DAY_S)
        await sweep(service)
        assert len(await rows_of(service.stores, job)) == 18


async def test_a_pruned_time_is_explained_and_not_run_again(service: Any, clock: SetClock) -> None:
    stores = service.stores
    clock.advance(-40 * DAY_S)
    job = await add_job(stores, clock.now(), schedule="0 * * * *")
    due_at = job.next_run_at
    await service.trigger_loop.fire_due(due_at)
    (claim,) = await stores.queue.claim(due_at, 1)
    await stores.executions.cancel(claim.execution.id, due_at, reason="over")
    clock.advance(40 * DAY_S)
    await sweep(service)
    assert await rows_of(stores, job) == []
    mark = await stores.jobs.pruned_until_at(job.id)
    assert mark == due_at
    await stores.jobs.change(job.id, lambda job: replace(job, name="another"))
    assert await stores.jobs.pruned_until_at(job.id) == mark
    versions = await stores.jobs.history(job.id)
    told = explain(await stores.jobs.get(job.id), versions, [], due_at, clock.now(), pruned_until_at=mark)
    assert told.verdict is Verdict.UNRECORDED and "retention" in told.detail


async def test_a_big_table_is_pruned_between_deliveries(service: Any, receiver: Receiver, clock: SetClock) -> None:
    stores = service.stores
    clock.advance(-40 * DAY_S)
    job = await add_job(stores, clock.now(), enabled=False, urls=[receiver.url])
    begun = clock.now()
    await add_run(stores, job, begun, Status.SUCCESS)
    (row,) = await rows_of(stores, job)
    copies = [
        replace(row, id=new_id(begun + number), run_id=run_id_of(job.id, begun + number)) for number in range(1, 1000)
    ]
    await stores.db.transaction(lambda tx: stores.queue.enqueue(tx, copies))
    clock.advance(40 * DAY_S)
    delivered = 0
    while await service.pruner.step() < pruner._BETWEEN_SWEEPS_S:
        await service.trigger_loop.start_run(job.id, clock.now())
        await deliver_ready(service)
        delivered += 1
    assert delivered >= 1000 // pruner._SLICE
    assert len(receiver.requests) == delivered
    assert await runs_of(stores, job) == {request.headers["webhook-id"] for request in receiver.requests}
