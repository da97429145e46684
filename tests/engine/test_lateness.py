"""Late: stopped for a minute, an hour, a day, a year; clocks that step; nights on which they change. Row by row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.domain.clock import SECOND, Instant, format_instant, from_datetime, parse_instant
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.runs.execution import Execution
from scheduler.service import Service
from tests.checks import present
from tests.conftest import OpenService, SetClock
from tests.factories import add_job, fire_all, metric, read_job, rows_of

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
    await service.stores.deletions.delete_job(gone.id, clock.now())
    await fire_all(service, clock)
    assert await service.engine.firer.change_job(gone, lambda job: job, clock.now()) is None
    assert await rows_of(service.stores, gone) == [] and len(await rows_of(service.stores, stays)) == 1
