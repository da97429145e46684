"""Late: stopped for a minute, an hour, a day, a year; clocks that step; nights on which they change. Row by row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.domain.clock import SECOND, Instant, format_instant, from_datetime, parse_instant, to_datetime
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Execution
from scheduler.service import Service
from tests.checks import present
from tests.conftest import OpenService, SetClock
from tests.factories import add_job, read_job, rendered_metrics, rows_of
from tests.zones import zone_info

MINUTE = 60 * SECOND
START = "2026-06-01T00:00:00Z"
DOWN = {"1 min": 60, "1 h": 3600, "26 h": 26 * 3600, "400 d": 400 * 86_400}
TOO_OLD = "missed: older than catchup_window_s"
NOT_CAUGHT_UP = "missed: the service was not running, and catchup is none"
BEYOND_LIMIT = "missed: beyond catchup_limit"
Row = tuple[str, str, str, int, str | None, str | None]


def shown(rows: list[Execution]) -> list[Row]:
    return [
        (
            row.status.value,
            row.trigger.value,
            format_instant(row.scheduled_at),
            row.covers,
            None if row.covers_from is None else format_instant(row.covers_from),
            row.reason,
        )
        for row in rows
    ]


def run(at: Instant) -> Row:
    return ("queued", "catchup", format_instant(at), 1, None, None)


def standing_for(times: list[Instant], status: str, reason: str | None = None) -> list[Row]:
    """One row for all of these times; none for none."""
    if not times:
        return []
    since = format_instant(times[0]) if len(times) > 1 else None
    return [(status, "catchup", format_instant(times[-1]), len(times), since, reason)]


def expected(times: list[Instant], now: Instant, catchup: str, window_s: int, limit: int) -> list[Row]:
    """What the specification makes of missed times, told over a list of all of them."""
    fresh = [at for at in times if at >= now - window_s * SECOND]
    stale = times[: len(times) - len(fresh)]
    if catchup == "none":
        return standing_for(times, "skipped", NOT_CAUGHT_UP)
    if catchup == "latest":
        return standing_for(times, "queued") if fresh else standing_for(times, "skipped", TOO_OLD)
    dropped, kept = fresh[:-limit], fresh[-limit:]
    return [
        *standing_for(stale, "skipped", TOO_OLD),
        *standing_for(dropped, "skipped", BEYOND_LIMIT),
        *[run(at) for at in kept],
    ]


async def fire_all(service: Service, clock: SetClock) -> None:
    """Look until nothing is due any more."""
    due_at: Instant | None = clock.now()
    while due_at is not None and due_at <= clock.now():
        due_at = await service.engine.firer.fire_due(clock.now())


async def metric(service: Service, series: str) -> float:
    text = (await rendered_metrics(service))[0].decode()
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + " ")), 0.0)


@pytest.mark.parametrize("gap", DOWN)
@pytest.mark.parametrize(
    ("catchup", "window_s", "limit"),
    [
        ("latest", 86_400, 100),
        ("latest", 10, 100),
        ("latest", 0, 100),
        ("all", 86_400, 100),
        ("all", 86_400, 1000),
        ("all", 600, 5),
        ("all", 600, 100),
        ("all", 10, 100),
        ("none", 86_400, 100),
    ],
)
async def test_after_a_downtime_each_time_has_its_row_by_the_policy(
    open_test_service: OpenService, clock: SetClock, gap: str, catchup: str, window_s: int, limit: int
) -> None:
    async with open_test_service() as service:
        job = await add_job(
            service.stores, clock.now(), catchup=catchup, catchup_window_s=window_s, catchup_limit=limit
        )
        await fire_all(service, clock)
    stopped_at = clock.now()
    clock.advance(DOWN[gap] + 30)
    times = [stopped_at + minute * MINUTE for minute in range(1, DOWN[gap] // 60 + 1)]
    async with open_test_service() as service:
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        assert shown(rows) == expected(times, clock.now(), catchup, window_s, limit)
        assert sum(row.covers for row in rows) == len(times)
        assert {row.available_at for row in rows} == {clock.now()}
        assert (await read_job(service.stores, job.id)).next_run_at == times[-1] + MINUTE
        skipped = [row for row in rows if row.status == "skipped"]
        assert await metric(service, 'scheduler_executions_total{status="skipped"}') == len(skipped)
        missed = 'scheduler_missed_times_total{cause="%s"}'
        assert await metric(service, missed % "skipped") == sum(row.covers for row in skipped)
        merged = sum(row.covers - 1 for row in rows if row.status != "skipped")
        assert await metric(service, missed % "merged") == merged
        await fire_all(service, clock)
        assert await rows_of(service.stores, job) == rows


async def test_each_webhook_has_its_rows(open_test_service: OpenService, clock: SetClock) -> None:
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), urls=["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"])
    clock.advance(600)
    async with open_test_service() as service:
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        assert [row.covers for row in rows] == [10, 10] and len({row.webhook_id for row in rows}) == 2


@pytest.mark.parametrize("gap", DOWN)
async def test_intervals_stay_aligned_after_a_downtime(
    open_test_service: OpenService, clock: SetClock, gap: str
) -> None:
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), schedule="@every 7m", anchor_at=clock.now() + 11 * SECOND)
    first_at = clock.now() + 11 * SECOND
    clock.advance(DOWN[gap])
    async with open_test_service() as service:
        await fire_all(service, clock)
        (row,) = await rows_of(service.stores, job)
        count = (clock.now() - first_at) // (7 * MINUTE) + 1
        assert (row.covers, row.scheduled_at) == (count, first_at + (count - 1) * 7 * MINUTE)
        assert (await read_job(service.stores, job.id)).next_run_at == first_at + count * 7 * MINUTE


@pytest.mark.parametrize(("gap_s", "status", "reason"), [(3600, "queued", None), (2 * 86_400, "skipped", TOO_OLD)])
async def test_a_single_time_that_was_missed_is_caught_up(
    open_test_service: OpenService, clock: SetClock, gap_s: int, status: str, reason: str | None
) -> None:
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), schedule="@at 2026-06-01T00:00:05Z")
    clock.advance(gap_s)
    async with open_test_service() as service:
        await fire_all(service, clock)
        assert shown(await rows_of(service.stores, job)) == [
            (status, "catchup", "2026-06-01T00:00:05Z", 1, None, reason)
        ]
        through = await read_job(service.stores, job.id)
        assert (through.enabled, through.next_run_at) == (False, None)


@pytest.mark.parametrize(
    ("catchup", "times"),
    [("latest", [("00:05", 5)]), ("all", [("00:01", 1), ("00:02", 1), ("00:03", 1), ("00:04", 1), ("00:05", 1)])],
)
async def test_an_end_in_the_middle_of_the_downtime(
    open_test_service: OpenService, clock: SetClock, catchup: str, times: list[tuple[str, int]]
) -> None:
    ends_at = clock.now() + 6 * MINUTE  # excluded
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), catchup=catchup, ends_at=ends_at)
    clock.advance(3600)
    async with open_test_service() as service:
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        assert [(format_instant(row.scheduled_at)[11:16], row.covers) for row in rows] == times
        through = await read_job(service.stores, job.id)
        assert (through.enabled, through.next_run_at) == (False, None)


@pytest.mark.parametrize(
    ("catchup", "limit", "times"),
    [
        ("latest", 100, [("queued", 60)]),
        ("all", 100, [("queued", 1), ("queued", 2), ("queued", 3)]),
        ("all", 2, [("skipped", 58), ("queued", 59), ("queued", 60)]),
    ],
)
async def test_max_runs_while_catching_up(
    open_test_service: OpenService, clock: SetClock, catchup: str, limit: int, times: list[tuple[str, int]]
) -> None:
    """Runs count, not times: one that stands for sixty is one. What comes after the last run was not due."""
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), catchup=catchup, catchup_limit=limit, max_runs=3)
    clock.advance(3600)
    async with open_test_service() as service:
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        minutes = [(row.status.value, (row.scheduled_at - parse_instant(START)) // MINUTE) for row in rows]
        assert minutes == times
        runs = sum(status == "queued" for status, _ in times)
        assert (await read_job(service.stores, job.id)).enabled is (runs < 3)


async def test_more_webhooks_than_a_transaction_should_hold(open_test_service: OpenService, clock: SetClock) -> None:
    urls = [f"http://127.0.0.1:9/{number}" for number in range(400)]
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), urls=urls, catchup="all")
    clock.advance(7 * 60)
    async with open_test_service() as service:
        assert present(await service.engine.firer.fire_due(clock.now())) <= clock.now()
        assert len(await rows_of(service.stores, job)) <= 1000
        await fire_all(service, clock)
        rows = await rows_of(service.stores, job)
        assert len({row.run_id for row in rows}) == len(rows) == 7 * 400


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


async def test_what_came_due_while_the_database_was_away_was_missed(
    service: Service, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that failed saw nothing: what came due meanwhile was missed."""
    job = await add_job(service.stores, clock.now(), catchup="none")
    await service.engine.firer.fire_due(clock.now())
    with monkeypatch.context() as patch:
        patch.setattr(service.stores.db, "transaction", _away)
        for _ in range(3):
            clock.advance(60)
            with pytest.raises(ConnectionError):
                await service.engine.firer.fire_due(clock.now())
    clock.advance(20)
    await service.engine.firer.fire_due(clock.now())
    assert [(row.status, row.covers) for row in await rows_of(service.stores, job)] == [("skipped", 3)]


async def _away(_: Any) -> Any:
    raise ConnectionError


async def test_a_schedule_that_no_longer_names_a_planned_time(open_test_service: OpenService, clock: SetClock) -> None:
    """New zone data may move the times of a schedule; the one that was planned is still accounted for."""
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), next_run_at=clock.now() + 90 * SECOND)
        fixed = await add_job(service.stores, clock.now(), schedule="0 5 * * *", next_run_at=clock.now() + SECOND)
    clock.advance(300)
    async with open_test_service() as service:
        await fire_all(service, clock)
        (row,) = await rows_of(service.stores, job)
        assert (row.covers, row.covers_from) == (1 + 4, parse_instant("2026-06-01T00:01:30Z"))
        (row,) = await rows_of(service.stores, fixed)
        assert (row.covers, format_instant(row.scheduled_at)) == (1, "2026-06-01T00:00:01Z")


async def test_what_was_due_before_a_change_is_accounted_for_by_the_old_schedule(
    service: Service, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), schedule="*/10 * * * *")
    clock.advance(3600 + 60)
    now = clock.now()
    changed = present(
        await service.engine.firer.change_job(job, lambda job: change_job(job, {"timezone": "Asia/Kolkata"}, now), now)
    )
    await fire_all(service, clock)
    assert [row.covers for row in await rows_of(service.stores, job)] == [6]
    assert changed.next_run_at == from_datetime(datetime(2026, 6, 1, 1, 10, tzinfo=UTC))


async def test_a_job_deleted_while_due(service: Service, clock: SetClock) -> None:
    gone, stays = [await add_job(service.stores, clock.now()) for _ in range(2)]
    clock.advance(60)
    await service.stores.jobs.delete(gone.id)
    await fire_all(service, clock)
    assert await service.engine.firer.change_job(gone, lambda job: job, clock.now()) is None
    assert await rows_of(service.stores, gone) == [] and len(await rows_of(service.stores, stays)) == 1
