"""Paused, resumed, bounded, spread: what keeps a job from running, and what only moves the start of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.config import Config
from scheduler.domain.clock import SECOND, seconds
from scheduler.domain.events import Fired, LookedForDueJobs
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import run_id_of
from scheduler.service import Service
from tests.checks import present
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.event_log import EventLog
from tests.factories import (
    add_job,
    deliver_ready,
    fire_and_deliver,
    make_webhook,
    metric,
    read_job,
    rows_of,
    webhooks_of,
)

pytestmark = both_databases


async def _set(service: Service, job: Job, clock: SetClock, **fields: Any) -> Job:
    """Change a job as the API does: what was due before fires first."""
    now = clock.now()
    stored = await read_job(service.stores, job.id)
    return present(await service.engine.firer.change_job(stored, lambda job: change_job(job, fields, now), now))


async def _statuses(service: Service, job: Job) -> list[str]:
    return [row.status.value for row in await rows_of(service.stores, job)]


async def test_a_pause_holds_what_is_queued_and_lets_go_of_it_later(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(status=500 if len(receiver.requests) == 1 else 200)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], retry=RetryPolicy(delays=(90,), jitter=0))
    clock.advance(60)
    await fire_and_deliver(service)
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    await _set(service, job, clock, enabled=False)
    for _ in range(100):
        clock.advance(60)
        await fire_and_deliver(service)
    assert len(receiver.requests) == 1
    assert await _statuses(service, job) == ["failure", "queued", "queued"]
    resumed = await _set(service, job, clock, enabled=True)
    assert resumed.next_run_at == clock.now() + 60 * SECOND
    await deliver_ready(service)
    assert await _statuses(service, job) == ["failure", "success", "success"]
    clock.advance(60)
    await fire_and_deliver(service)
    assert [row.covers for row in await rows_of(service.stores, job)] == [1, 1, 1, 1]


async def test_what_was_due_before_the_pause_is_accounted_for(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now())
    clock.advance(180)
    await _set(service, job, clock, enabled=False)
    (row,) = await rows_of(service.stores, job)
    assert (row.covers, row.status) == (3, "queued")
    assert await service.stores.queue.claim(clock.now(), 9) == []


async def test_what_was_held_for_too_long_is_skipped_in_words(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), retry=RetryPolicy(max_age_seconds=3600))
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    await _set(service, job, clock, enabled=False)
    clock.advance(3601)
    await _set(service, job, clock, enabled=True)
    (row,) = await rows_of(service.stores, job)
    assert (row.status, row.reason) == ("skipped", "paused for longer than max_age_seconds")
    assert row.finished_at == clock.now()
    assert await metric(service, 'scheduler_executions_total{status="skipped"}') == 1
    assert await metric(service, 'scheduler_missed_times_total{cause="skipped"}') == 1


async def test_a_pause_is_no_lateness(service: Service, receiver: Receiver, clock: SetClock) -> None:
    """Held longer than catchup_window_s, and shorter than max_age_seconds, which alone decides."""
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], catchup_window_s=60)
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    await _set(service, job, clock, enabled=False)
    clock.advance(7200)
    await _set(service, job, clock, enabled=True)
    clock.advance(30)
    await deliver_ready(service)
    assert await _statuses(service, job) == ["success"]


async def test_pausing_twice_and_resuming_twice_change_nothing(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), schedule="@every 7m")
    for _ in range(2):
        await _set(service, job, clock, enabled=False)
    clock.advance(20 * 60)
    for _ in range(2):
        resumed = await _set(service, job, clock, enabled=True)
        assert resumed.next_run_at == job.timing.anchor_at + 21 * 60 * SECOND


async def test_the_deadline_is_checked_again_before_the_start(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], catchup_window_s=600)
    clock.advance(600 + 59)
    await service.engine.firer.fire_due(clock.now())
    clock.advance(600)  # the pool was busy
    await deliver_ready(service)
    (row,) = await rows_of(service.stores, job)
    assert (row.status, row.covers, receiver.requests) == ("skipped", 10, [])
    assert "catchup_window_s" in present(row.reason)
    assert await metric(service, 'scheduler_executions_total{status="skipped"}') == 1
    assert await metric(service, 'scheduler_missed_times_total{cause="skipped"}') == 1
    assert await metric(service, 'scheduler_missed_times_total{cause="merged"}') == 9
    assert await metric(service, "scheduler_attempt_duration_seconds_count") == 0


@pytest.mark.parametrize("window_s", [0, 0.5])
async def test_a_window_of_no_time_does_not_skip_what_is_punctual(
    service: Service, receiver: Receiver, clock: SetClock, window_s: float
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], catchup_window_s=window_s)
    await service.engine.firer.fire_due(clock.now())
    clock.advance(59)
    await service.engine.firer.fire_due(clock.now())
    clock.advance(1.05)
    await fire_and_deliver(service)
    assert await _statuses(service, job) == ["success"]


async def test_bounds_include_the_start_and_exclude_the_end(service: Service, clock: SetClock) -> None:
    start = clock.now()
    job = await add_job(service.stores, start, starts_at=start + 3 * 60 * SECOND, ends_at=start + 5 * 60 * SECOND)
    for _ in range(10):
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
    rows = await rows_of(service.stores, job)
    assert [(row.scheduled_at - start) // (60 * SECOND) for row in rows] == [3, 4]
    through = await read_job(service.stores, job.id)
    assert (through.enabled, through.next_run_at, present(through.disabled_reason).split(":")[0]) == (
        False,
        None,
        "through",
    )


async def test_max_runs_ends_the_job_and_a_higher_one_goes_on(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), max_runs=2)
    for _ in range(5):
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
    assert len(await rows_of(service.stores, job)) == 2
    again = await _set(service, job, clock, enabled=True, max_runs=3)
    assert again.next_run_at == clock.now() + 60 * SECOND
    for _ in range(5):
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
    assert len(await rows_of(service.stores, job)) == 3


async def test_a_run_by_hand_and_a_backfill_are_no_scheduled_runs(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), max_runs=1)
    await service.engine.firer.start_run(job.id, clock.now())
    await service.engine.firer.backfill(job, [clock.now() - 60 * SECOND], clock.now())
    assert (await read_job(service.stores, job.id)).run_count == 0


async def test_spread_is_stable_and_jitter_is_not(open_test_service: OpenService, clock: SetClock) -> None:
    async with open_test_service() as service:
        jobs = [await add_job(service.stores, clock.now(), spread_s=600) for _ in range(20)]
        nervous = await add_job(service.stores, clock.now(), jitter_s=10, urls=["http://127.0.0.1:9/"] * 2)
        for _ in range(3):
            clock.advance(60)
            await service.engine.firer.fire_due(clock.now())
        shifts = []
        for job in jobs:
            rows = await rows_of(service.stores, job)
            (shift,) = {row.available_at - row.scheduled_at for row in rows}
            assert 0 <= shift < seconds(600) and shift == job.spread()
            shifts.append(shift)
            for row in rows:
                assert row.run_id == run_id_of(present(row.webhook_id), row.scheduled_at)
        assert len(set(shifts)) == 20 and max(shifts) - min(shifts) > seconds(200)
        rows = await rows_of(service.stores, nervous)
        assert len({row.available_at - row.scheduled_at for row in rows}) == 6
        assert all(0 <= row.available_at - row.scheduled_at <= seconds(10) for row in rows)
    async with open_test_service() as service:
        assert (await read_job(service.stores, jobs[0].id)).spread() == shifts[0]


async def test_a_spread_beyond_the_window_is_no_lateness(service: Service, receiver: Receiver, clock: SetClock) -> None:
    await service.engine.firer.fire_due(clock.now())
    job = await add_job(
        service.stores, clock.now(), urls=[receiver.url], schedule="0 * * * *", spread_s=1800, catchup_window_s=60
    )
    for _ in range(3600 // 4):
        clock.advance(4)
        await service.engine.firer.fire_due(clock.now())
    clock.advance(job.spread() / SECOND + 2)
    await deliver_ready(service)
    assert await _statuses(service, job) == ["success"]


async def test_webhooks_are_those_of_the_moment_of_firing(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/old"])
    clock.advance(60)
    now = clock.now()
    await service.stores.webhooks.insert(make_webhook(job.id, now, url=f"{receiver.url}/new"))
    await service.stores.webhooks.insert(make_webhook(job.id, now, url=f"{receiver.url}/off", enabled=False))
    await service.engine.firer.fire_due(now)
    old = (await webhooks_of(service.stores, job))[0]
    await service.stores.webhooks.delete(old.id, now)
    await deliver_ready(service)
    assert sorted(await _statuses(service, job)) == ["cancelled", "success"]
    assert [request.path for request in receiver.requests] == ["/new"]
    assert await metric(service, 'scheduler_executions_total{status="cancelled"}') == 1


async def test_a_heartbeat_that_a_clock_set_back_left_far_ahead_comes_near_again(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    quick = replace(config, engine=replace(config.engine, tick_s=0.01))
    async with open_test_service(config=quick) as service:
        job = await add_job(service.stores, clock.now())
        looked, fired = EventLog(service.events, LookedForDueJobs), EventLog(service.events, Fired)
        service.engine.trigger_loop.start()
        await looked.wait_for()
        planned_at = clock.now()
        clock.advance(-86_400)
        service.engine.trigger_loop.look_by(planned_at)
        clock.advance(86_400 + 60)
        await fired.wait_for()
        service.engine.trigger_loop.stop()
        assert len(await rows_of(service.stores, job)) == 1
