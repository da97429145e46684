"""One-off jobs: they run once, and are removed with all that they own some time after they have ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.config import Config
from scheduler.config.retention import RetentionConfig
from scheduler.domain.clock import seconds
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import DEFAULT_POLICY
from scheduler.domain.runs.execution import Status
from scheduler.engine.upkeep.pruner import SLICE
from scheduler.service import Service
from scheduler.store import ids
from scheduler.store.stores import Stores
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.engine.test_retention import COPY, prune, sweep
from tests.factories import add_job, add_run, change_stored, fire_and_deliver, read_job, rendered_metrics, start_run

pytestmark = both_databases

DAY_S = 86_400
TABLES = ("jobs", "webhooks", "executions", "job_history")


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "last_tick", 0)


async def left(stores: Stores) -> dict[str, int]:
    """How many rows each table has."""
    return {table: (await stores.db.fetch_all(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"] for table in TABLES}


async def ended_one_off(service: Service, receiver: Receiver, clock: SetClock, **fields: Any) -> Job:
    """A job that has run as ``@in 10m`` says, and has ended."""
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="@in 10m", **fields)
    clock.advance(600)
    await fire_and_deliver(service)
    return await read_job(service.stores, job.id)


async def test_in_runs_once_and_is_through(service: Service, receiver: Receiver, clock: SetClock) -> None:
    made_at = clock.now()
    job = await ended_one_off(service, receiver, clock)
    assert len(receiver.requests) == 1
    assert (job.enabled, job.disabled_by, job.next_run_at) == (False, DisabledBy.THROUGH, None)
    assert job.one_off_ended_at == made_at + seconds(600)
    clock.advance(600)
    await fire_and_deliver(service)
    assert len(receiver.requests) == 1


async def test_a_one_off_goes_with_all_that_it_had_after_30_days(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    await ended_one_off(service, receiver, clock)
    clock.advance(30 * DAY_S - 1)
    await sweep(service)
    assert await left(service.stores) == {"jobs": 1, "webhooks": 1, "executions": 1, "job_history": 2}
    clock.advance(2)
    await sweep(service)
    assert await left(service.stores) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "* * * * *", "max_runs": 1},
        {"schedule": "@every 10m\n@in 5m", "max_runs": 1},
        {"schedule": "@in 5m\n0 0 1 1 *", "max_runs": 1},
    ],
)
async def test_other_jobs_that_ended_stay(
    service: Service, receiver: Receiver, clock: SetClock, fields: dict[str, Any]
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], **fields)
    clock.advance(600)
    await fire_and_deliver(service)
    assert (await read_job(service.stores, job.id)).disabled_by is DisabledBy.THROUGH
    clock.advance(400 * DAY_S)
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 1


async def test_a_one_off_with_several_lines_goes_after_the_last(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="@in 10m\n@in 20d")
    clock.advance(600)
    await fire_and_deliver(service)
    clock.advance(20 * DAY_S)
    await fire_and_deliver(service)
    clock.advance(29 * DAY_S)
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 1
    clock.advance(2 * DAY_S)
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 0


async def test_what_is_paused_or_begins_again_stays(service: Service, receiver: Receiver, clock: SetClock) -> None:
    stores = service.stores
    again = await ended_one_off(service, receiver, clock)
    paused = await add_job(stores, clock.now(), schedule="@in 1h", name="paused")
    await change_stored(stores, paused, clock.now(), enabled=False)
    await change_stored(stores, again, clock.now(), schedule="@in 60d", enabled=True)
    assert (await read_job(stores, again.id)).one_off_ended_at is None
    waiting = await ended_one_off(service, receiver, clock, name="waiting")
    await change_stored(stores, waiting, clock.now(), schedule="@in 60d")
    clock.advance(31 * DAY_S)
    await sweep(service)
    assert (await left(stores))["jobs"] == 3


async def test_a_change_of_anything_else_does_not_keep_it(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await ended_one_off(service, receiver, clock)
    await change_stored(service.stores, job, clock.now(), name="renamed", timezone="Asia/Tokyo")
    clock.advance(30 * DAY_S + 1)
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 0


async def test_a_dead_letter_keeps_its_one_off_for_as_long_as_it_is_kept_itself(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(status=500)
    await ended_one_off(service, receiver, clock, retry=replace(DEFAULT_POLICY, max_attempts=1))
    clock.advance(60 * DAY_S)
    await sweep(service)
    assert await left(service.stores) == {"jobs": 1, "webhooks": 1, "executions": 1, "job_history": 2}
    clock.advance(31 * DAY_S)
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 0


async def test_what_is_under_way_keeps_its_one_off(service: Service, receiver: Receiver, clock: SetClock) -> None:
    job = await ended_one_off(service, receiver, clock)
    clock.advance(31 * DAY_S)
    (execution,) = await start_run(service.stores, job, clock.now())
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 1
    await service.stores.executions.cancel(execution.id, clock.now(), reason="over")
    await sweep(service)
    assert (await left(service.stores))["jobs"] == 0


async def test_one_offs_are_kept_for_ever_where_that_is_wanted(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    kept = replace(config, retention=RetentionConfig(ended_jobs_days=0))
    async with open_test_service(kept) as service:
        await ended_one_off(service, receiver, clock)
        clock.advance(4000 * DAY_S)
        await sweep(service)
        assert (await left(service.stores))["jobs"] == 1


async def test_many_one_offs_go_in_slices_and_leave_nothing(service: Service, clock: SetClock) -> None:
    stores = service.stores
    for number in range(2 * SLICE + 50):
        await add_job(
            stores,
            clock.now(),
            schedule="@in 1s",
            name=f"{number}",
            enabled=False,
            disabled_by=DisabledBy.THROUGH,
            one_off_ended_at=clock.now() + number // 100,
        )
    clock.advance(30 * DAY_S + 1)
    service.engine.pruner.keep(replace(service.config.retention, executions_per_job=0))
    await prune(service, 1)
    assert (await left(stores))["jobs"] == SLICE + 50
    await sweep(service)
    assert await left(stores) == dict.fromkeys(TABLES, 0)


async def test_a_one_off_with_many_executions_goes_in_slices(service: Service, clock: SetClock) -> None:
    stores = service.stores
    over: dict[str, Any] = {"enabled": False, "disabled_by": DisabledBy.THROUGH, "one_off_ended_at": clock.now()}
    job = await add_job(stores, clock.now(), schedule="@in 1s", **over)
    clock.advance(31 * DAY_S)
    await add_run(stores, job, clock.now(), Status.SUCCESS)
    await stores.db.transaction(lambda tx: tx.execute(COPY, {"more": 2500}))
    service.engine.pruner.keep(replace(service.config.retention, executions_per_job=0))
    assert await sweep(service) >= 3
    assert await left(stores) == dict.fromkeys(TABLES, 0)
    metrics, _ = await rendered_metrics(service)
    assert 'scheduler_executions_pruned_total{cause="ended_jobs"} 2501\n' in metrics.decode()
