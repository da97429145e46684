"""Clocks that change: nights of daylight saving, clocks that step, a machine that was suspended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduler.domain.clock import SECOND, Instant, format_instant, from_datetime, to_datetime
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Execution
from scheduler.service import Service
from tests.checks import present
from tests.conftest import OpenService, SetClock
from tests.factories import add_job, fire_all, read_job, rows_of
from tests.zones import zone_info

MINUTE = 60 * SECOND


def _wall(at: Instant, zone: str) -> datetime:
    return to_datetime(at).astimezone(zone_info(zone))


@pytest.mark.parametrize(
    ("schedule", "zone", "stopped", "hours", "matches"),
    [
        (
            "*/20 1-3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            24,
            lambda t: t.minute % 20 == 0 and 1 <= t.hour <= 3,
        ),
        (
            "*/20 1-3 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            24,
            lambda t: t.minute % 20 == 0 and 1 <= t.hour <= 3,
        ),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 26, lambda t: t.minute % 15 == 0),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 26, lambda t: t.minute % 15 == 0),
    ],
)
async def test_a_night_on_which_the_clocks_change(
    open_test_service: OpenService,
    clock: SetClock,
    schedule: str,
    zone: str,
    stopped: str,
    hours: int,
    matches: Callable[[datetime], bool],
) -> None:
    clock.set(stopped)
    async with open_test_service() as service:
        job = await add_job(
            service.stores,
            clock.now(),
            schedule=schedule,
            timezone=zone,
            catchup="all",
            catchup_window_s=10 * 86_400,
        )
        merging = await add_job(service.stores, clock.now(), schedule=schedule, timezone=zone)
    begun = to_datetime(clock.now())
    clock.advance(hours * 3600 + 30)
    walked = [from_datetime(begun + timedelta(minutes=minute)) for minute in range(1, hours * 60 + 1)]
    times = [at for at in walked if matches(_wall(at, zone))]
    async with open_test_service() as service:
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        dropped = len(times) - 100
        assert [row.scheduled_at for row in rows if row.status == "queued"] == times[-100:]
        assert sum(row.covers for row in rows if row.status == "skipped") == max(0, dropped)
        (merged,) = await rows_of(service.stores, merging)
        assert (merged.covers, merged.covers_from, merged.scheduled_at) == (len(times), times[0], times[-1])


async def test_a_fixed_time_in_the_gap_is_caught_up_once(open_test_service: OpenService, clock: SetClock) -> None:
    clock.set("2026-03-28T12:00:00Z")
    async with open_test_service() as service:
        job = await add_job(
            service.stores, clock.now(), schedule="30 2 * * *", timezone="Europe/Berlin", catchup="all",
            catchup_window_s=10 * 86_400,
        )  # fmt: skip
    clock.advance(3 * 86_400)
    async with open_test_service() as service:
        await fire_all(service, clock)
        at = [format_instant(row.scheduled_at) for row in await rows_of(service.stores, job)]
        assert at == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]


STEPS = {"+1 h": 3600, "-1 h": -3600, "+1 d": 86_400, "-1 d": -86_400}


async def _watch(service: Service, clock: SetClock, job: Job, seconds: int) -> None:
    """Look every second; the next time of the job only grows."""
    before = present((await read_job(service.stores, job.id)).next_run_at)
    for _ in range(seconds):
        clock.advance(1)
        await service.engine.firer.fire_due(clock.now())
        after = present((await read_job(service.stores, job.id)).next_run_at)
        assert after >= before
        before = after


async def _rows_around_a_step(
    service: Service, clock: SetClock, step_s: int, catchup: str
) -> tuple[list[Execution], list[Instant]]:
    """The rows of a job of every five seconds that was watched before and after the clock stepped, and its times."""
    begun = clock.now()
    job = await add_job(service.stores, begun, schedule="*/5 * * * * *", catchup=catchup)
    await _watch(service, clock, job, 20)
    latest = clock.now()
    clock.advance(step_s)
    await _watch(service, clock, job, 20)
    latest = max(latest, clock.now())
    return await rows_of(service.stores, job), list(range(begun + 5 * SECOND, latest + 1, 5 * SECOND))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("catchup", ["latest", "all", "none"])
async def test_a_clock_that_steps_doubles_and_loses_nothing(
    service: Service, clock: SetClock, step: str, catchup: str
) -> None:
    rows, times = await _rows_around_a_step(service, clock, STEPS[step], catchup)
    assert len({row.run_id for row in rows}) == len(rows)
    covered = sorted((row.covers_from or row.scheduled_at, row.scheduled_at, row.covers) for row in rows)
    assert sum(covers for _, _, covers in covered) == len(times)
    assert [start for start, _, _ in covered] == [times[0]] + [end + 5 * SECOND for _, end, _ in covered[:-1]]
    assert covered[-1][1] == times[-1]


@pytest.mark.parametrize("step", ["-1 h", "-1 d"])
@pytest.mark.parametrize("catchup", ["latest", "all", "none"])
async def test_a_clock_that_steps_back_fires_nothing_until_it_is_where_it_was(
    service: Service, clock: SetClock, step: str, catchup: str
) -> None:
    rows, times = await _rows_around_a_step(service, clock, STEPS[step], catchup)
    assert [row.scheduled_at for row in rows] == times[:4] == times


async def test_after_a_step_back_what_comes_due_is_not_missed(service: Service, clock: SetClock) -> None:
    await service.engine.firer.fire_due(clock.now())
    clock.advance(-3600)
    await service.engine.firer.fire_due(clock.now())
    job = await add_job(service.stores, clock.now(), catchup="none")
    for _ in range(30):
        clock.advance(4)
        await service.engine.firer.fire_due(clock.now())
    rows = await rows_of(service.stores, job)
    assert [(row.status, row.trigger) for row in rows] == [("queued", "schedule")] * 2


async def test_a_suspended_machine_catches_up(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), schedule="*/10 * * * * *")
    await _watch(service, clock, job, 10)
    clock.advance(65)
    await service.engine.firer.fire_due(clock.now())
    rows = await rows_of(service.stores, job)
    assert [(row.trigger.value, row.covers) for row in rows] == [("schedule", 1), ("catchup", 6)]
