"""Retention: executions beyond an age or number are deleted in slices, but no active runs; dead letters later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.config import Config
from scheduler.config.retention import RetentionConfig
from scheduler.domain.clock import seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Status
from scheduler.domain.runs.explanation import Verdict, explain
from scheduler.engine.upkeep.pruner import BETWEEN_SWEEPS_S, SLICE
from scheduler.service import Service
from scheduler.store import ids
from scheduler.store.stores import Stores
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.factories import add_job, add_run, deliver_ready, read_job, rendered_metrics, rows_of

pytestmark = both_databases

DAY_S = 86_400
HOUR = seconds(3600)
NAMES = (
    "job_id, account_id, webhook_id, status, attempt, trigger_kind, scheduled_at, available_at, held, covers, "
    "budget_from, budget_at, body_truncated, created_at"
)
COPY = f"""
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :more)
INSERT INTO executions (id, run_id, {NAMES})
SELECT SUBSTR(id, 1, 24) || SUBSTR(CAST(1000000000000 + n AS TEXT), 2),
  SUBSTR(run_id, 1, 24) || SUBSTR(CAST(1000000000000 + n AS TEXT), 2), {NAMES}
FROM numbers, executions
"""
"""So many more runs like the only one that there is."""


@pytest.fixture
def config(config: Config) -> Config:
    kept = RetentionConfig(executions_days=30, executions_per_job=5, dead_letter_days=90)
    return replace(config, retention=kept)


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "last_tick", 0)


async def sweep(service: Service) -> int:
    """One sweep from start to end, or the rest of one; returns how many slices it had."""
    slices = 0
    while await prune(service, 1):
        slices += 1
    return slices


async def prune(service: Service, most: int) -> int:
    """Up to ``most`` slices of a sweep; returns how many there were."""
    for slices in range(most):
        if await service.engine.pruner.step() >= BETWEEN_SWEEPS_S:
            return slices
    return most


async def runs_of(stores: Stores, job: Job) -> set[str]:
    return {row.run_id for row in await rows_of(stores, job)}


async def test_what_is_old_goes_and_what_is_not_stays(service: Service, clock: SetClock) -> None:
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


async def test_the_newest_of_each_job_stay(service: Service, clock: SetClock) -> None:
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


async def test_a_pruned_time_is_explained_and_not_run_again(service: Service, clock: SetClock) -> None:
    stores = service.stores
    clock.advance(-40 * DAY_S)
    job = await add_job(stores, clock.now(), schedule="0 * * * *")
    due_at = job.next_run_at
    assert due_at is not None
    await service.engine.firer.fire_due(due_at)
    (claim,) = await stores.queue.claim(due_at, 1)
    await stores.executions.cancel(claim.execution.id, due_at, reason="over")
    clock.advance(40 * DAY_S)
    await sweep(service)
    assert await rows_of(stores, job) == []
    mark = await stores.jobs.pruned_until_at(job.id)
    assert mark == due_at
    await stores.jobs.change(job.id, lambda job: replace(job, name="another"))
    assert await stores.jobs.pruned_until_at(job.id) == mark
    versions, now = await stores.jobs.history(job.id), clock.now()
    told = explain(await read_job(stores, job.id), versions, [], due_at, now, pruned_until_at=mark)
    assert told.verdict is Verdict.UNRECORDED and "retention" in told.detail
    await service.engine.firer.fire_due(now)
    caught_up = await rows_of(stores, job)
    for dry_run in (True, False):
        with pytest.raises(SchedulerError, match=r"from: .* pruned"):
            await service.engine.firer.backfill(job, [due_at, due_at + HOUR], now, dry_run=dry_run)
    assert await rows_of(stores, job) == caught_up
    (row,) = await service.engine.firer.backfill(job, [due_at + HOUR], now)
    assert row.scheduled_at == due_at + HOUR


async def test_what_was_pruned_is_counted(service: Service, clock: SetClock) -> None:
    begun = clock.now()
    job = await add_job(service.stores, begun, enabled=False)
    for number in range(7):
        await add_run(service.stores, job, begun + number, Status.FAILURE, Status.SUCCESS)
    clock.advance(DAY_S)
    await sweep(service)
    rows = await rows_of(service.stores, job)
    metrics, _ = await rendered_metrics(service)
    assert f'scheduler_executions_pruned_total{{cause="number"}} {14 - len(rows)}\n' in metrics.decode()
    assert [row.attempt for row in rows] == [1, 2] * 3  # five would cut a run in two


async def test_a_failed_slice_begins_the_sweep_anew(service: Service, clock: SetClock) -> None:
    stores, begun = service.stores, clock.now()
    job = await add_job(stores, begun, enabled=False)
    for number in range(8):
        await add_run(stores, job, begun + number, Status.SUCCESS)
    clock.advance(40 * DAY_S)
    await stores.db.transaction(lambda tx: tx.execute("ALTER TABLE jobs RENAME COLUMN pruned_until_at TO away"))
    with pytest.raises(SchedulerError):
        await sweep(service)
    assert len(await rows_of(stores, job)) == 8
    await stores.db.transaction(lambda tx: tx.execute("ALTER TABLE jobs RENAME COLUMN away TO pruned_until_at"))
    await sweep(service)
    assert await rows_of(stores, job) == []


async def test_a_big_table_is_pruned_between_deliveries(service: Service, receiver: Receiver, clock: SetClock) -> None:
    stores = service.stores
    clock.advance(-40 * DAY_S)
    job = await add_job(stores, clock.now(), enabled=False, urls=[receiver.url])
    await add_run(stores, job, clock.now(), Status.SUCCESS)
    await stores.db.transaction(lambda tx: tx.execute(COPY, {"more": 50_000}))
    clock.advance(40 * DAY_S)
    slices = delivered = 0
    while (pruned := await prune(service, 10)) == 10:
        slices += pruned
        await service.engine.firer.start_run(job.id, clock.now())
        await deliver_ready(service)
        delivered += 1
        assert len(receiver.requests) == delivered
    assert slices + pruned >= 50_000 // SLICE
    assert await runs_of(stores, job) == {request.headers["webhook-id"] for request in receiver.requests[-5:]}
