"""Jobs whose time zone the zone data do not know now: they wait, nothing is lost, and they go on by themselves."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.clock import SECOND, format_instant, parse_instant
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.explanation import explain
from scheduler.domain.schedule.zone_data import find_zone_data
from scheduler.domain.schedule.zones import use_zone_data
from scheduler.service import Service
from scheduler.store.queue.stats import depth
from tests.conftest import SetClock, both_databases
from tests.factories import add_job, change_stored, read_job, rows_of
from tests.zones import compiled_zone, write_zone

pytestmark = both_databases

CITY = "Test/City"
RULES = compiled_zone(first=-8)


@pytest.fixture(autouse=True)
def zone_files(tmp_path: Path) -> Iterator[Path]:
    """The directory that an operator named for zone data; it has the city."""
    directory = tmp_path / "zoneinfo"
    write_zone(directory, CITY, RULES, version="2025b")
    zoneinfo.reset_tzpath(to=[str(directory)])
    use_zone_data(find_zone_data(), {})
    yield directory
    zoneinfo.reset_tzpath()
    use_zone_data(find_zone_data(), {})


async def _lose_zone(service: Service, zone_files: Path) -> None:
    (zone_files / CITY).unlink()
    await service.engine.replanner.look()


async def _find_zone(service: Service, zone_files: Path) -> None:
    write_zone(zone_files, CITY, RULES, version="2025b")
    await service.engine.replanner.look()


async def _daily(service: Service, clock: SetClock, **fields: object) -> Job:
    await service.engine.replanner.start()
    return await add_job(service.stores, clock.now(), schedule="0 2 * * *", timezone=CITY, **fields)  # type: ignore[arg-type]


async def test_a_job_fires_its_planned_time_and_then_waits(
    service: Service, zone_files: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    job, other = await _daily(service, clock), await add_job(service.stores, clock.now(), schedule="0 10 * * *")
    await _lose_zone(service, zone_files)
    assert service.engine.replanner.jobs_in_unknown_zones == 1
    assert "the time zone data lack the zones of 1 jobs" in caplog.text
    clock.set("2026-06-01T10:00:00Z")
    await service.engine.firer.fire_due(clock.now())
    (row,) = await rows_of(service.stores, job)
    assert (row.scheduled_at, row.status) == (clock.now(), "queued")
    waiting = await read_job(service.stores, job.id)
    assert (waiting.enabled, waiting.next_run_at, waiting.disabled_by, waiting.run_count) == (True, None, None, 1)
    assert len(await rows_of(service.stores, other)) == 1
    assert (await depth(service.stores.db, clock.now())).jobs_waiting == 1
    *_, version = await service.stores.jobs.history(job.id)
    assert version.note == 'its time zone "Test/City" is not in the time zone data (2025b, from PYTHONTZPATH)'


async def test_what_came_due_while_its_zone_was_unknown_is_accounted_for(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    job = await _daily(service, clock)
    await _lose_zone(service, zone_files)
    for _ in range(4):
        clock.advance(86_400)
        await service.engine.firer.fire_due(clock.now())
        await service.engine.replanner.look()
    assert len(await rows_of(service.stores, job)) == 1
    await _find_zone(service, zone_files)
    await service.engine.firer.fire_due(clock.now())
    rows = await rows_of(service.stores, job)
    assert [(format_instant(row.scheduled_at), row.covers) for row in rows] == [
        ("2026-06-01T10:00:00Z", 1),
        ("2026-06-04T10:00:00Z", 3),
    ]
    going_on = await read_job(service.stores, job.id)
    assert going_on.next_run_at == parse_instant("2026-06-05T10:00:00Z")
    assert (await depth(service.stores.db, clock.now())).jobs_waiting == 0
    assert service.engine.replanner.jobs_in_unknown_zones == 0


async def test_a_start_by_data_that_have_the_zone_again_goes_on_with_the_job(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    job = await _daily(service, clock)
    await _lose_zone(service, zone_files)
    clock.set("2026-06-01T10:00:00Z")
    await service.engine.firer.fire_due(clock.now())
    write_zone(zone_files, CITY, RULES, version="2025b")
    await service.engine.replanner.start()
    assert (await read_job(service.stores, job.id)).next_run_at == parse_instant("2026-06-02T10:00:00Z")


async def test_a_time_is_explained_as_far_as_it_can_be(service: Service, zone_files: Path, clock: SetClock) -> None:
    job = await _daily(service, clock)
    await _lose_zone(service, zone_files)
    planned, later = parse_instant("2026-06-01T10:00:00Z"), parse_instant("2026-06-02T10:00:00Z")

    async def verdict(at: int) -> str:
        stored, versions = await read_job(service.stores, job.id), await service.stores.jobs.history(job.id)
        rows = await service.stores.executions.standing_for(job.id, at)
        told = explain(stored, versions, rows, at, clock.now())
        assert told.verdict.value != "unknown" or "is not in the time zone data" in told.detail
        return told.verdict.value

    assert [await verdict(at) for at in (planned, later)] == ["due", "unknown"]
    clock.set("2026-06-01T10:00:00Z")
    await service.engine.firer.fire_due(clock.now())
    assert [await verdict(at) for at in (planned, later)] == ["pending", "unknown"]
    await change_stored(service.stores, job, clock.now(), enabled=False)
    assert await verdict(later) == "paused"


async def test_a_change_is_judged_by_what_it_gives(service: Service, zone_files: Path, clock: SetClock) -> None:
    job = await _daily(service, clock)
    await _lose_zone(service, zone_files)
    planned = job.next_run_at
    assert (await change_stored(service.stores, job, clock.now(), name="other")).next_run_at == planned
    assert (await change_stored(service.stores, job, clock.now(), max_runs=9)).next_run_at == planned
    late = parse_instant("2026-05-30T00:00:00Z")
    assert (await change_stored(service.stores, job, clock.now(), ends_at=late)).next_run_at is None
    changed = await change_stored(service.stores, job, clock.now(), schedule="0 3 * * *", ends_at=None)
    assert (changed.timing.schedule, changed.enabled, changed.next_run_at) == ("0 3 * * *", True, None)
    paused = await change_stored(service.stores, job, clock.now(), enabled=False)
    assert (paused.enabled, paused.next_run_at) == (False, None)
    enabled = await change_stored(service.stores, job, clock.now(), enabled=True)
    assert (enabled.enabled, enabled.next_run_at) == (True, None)
    moved = await change_stored(service.stores, job, clock.now(), timezone="UTC")
    assert moved.next_run_at == parse_instant("2026-06-01T03:00:00Z")


async def test_a_job_whose_runs_are_all_had_is_through_and_does_not_wait(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    job = await _daily(service, clock, max_runs=1)
    await _lose_zone(service, zone_files)
    clock.set("2026-06-01T10:00:00Z")
    await service.engine.firer.fire_due(clock.now())
    ended = await read_job(service.stores, job.id)
    assert (ended.enabled, ended.disabled_by) == (False, "through")


async def test_a_missed_time_in_an_unknown_zone_is_treated_as_catchup_says(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    skipped, old = await _daily(service, clock, catchup="none"), await _daily(service, clock, catchup_window_s=60)
    await _lose_zone(service, zone_files)
    clock.set("2026-06-03T10:00:00Z")
    await service.engine.firer.fire_due(clock.now())
    assert [(row.status, row.covers) for row in await rows_of(service.stores, skipped)] == [("skipped", 1)]
    assert [(row.status, row.covers) for row in await rows_of(service.stores, old)] == [("skipped", 1)]


async def test_a_schedule_that_this_version_refuses_waits_as_well(service: Service, clock: SetClock) -> None:
    """Valid when it was saved, by a version that refused less."""
    job = await add_job(service.stores, clock.now())
    timing = replace(job.timing, schedule="@never")
    await service.stores.jobs.change(job.id, lambda job: replace(job, timing=timing))
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    waiting = await read_job(service.stores, job.id)
    assert (waiting.enabled, waiting.next_run_at) == (True, None)
    assert len(await rows_of(service.stores, job)) == 1
    mended = await service.engine.firer.change_job(
        waiting, lambda job: change_job(job, {"schedule": "* * * * *"}, clock.now()), clock.now()
    )
    assert mended is not None
    assert mended.next_run_at == clock.now() + 60 * SECOND
