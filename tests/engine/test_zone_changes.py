"""The rules of a time zone change while jobs wait: at a start, and under a running service."""

from __future__ import annotations

import logging
import zoneinfo
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.clock import SECOND, format_instant, parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.explanation import explain
from scheduler.domain.schedule.zone_data import ZoneData, find_zone_data
from scheduler.domain.schedule.zones import use_zone_data
from scheduler.engine.upkeep import replanner
from scheduler.service import Service
from scheduler.store.database import Transaction
from scheduler.store.jobs import zones
from tests.conftest import OpenService, SetClock, both_databases
from tests.factories import add_job, change_stored, read_job, rows_of
from tests.zones import compiled_zone, write_zone

pytestmark = both_databases

CITY = "Test/City"
WEST, EAST = compiled_zone(first=-8), compiled_zone(first=-7)
"""Winter time and, for good, summer time."""


@pytest.fixture
def zone_files(tmp_path: Path) -> Iterator[Path]:
    """The directory that an operator named for zone data; it has the city on winter time, as of release 2025b."""
    directory = tmp_path / "zoneinfo"
    write_zone(directory, CITY, WEST, version="2025b")
    zoneinfo.reset_tzpath(to=[str(directory)])
    use_zone_data(find_zone_data(), {})
    yield directory
    zoneinfo.reset_tzpath()
    use_zone_data(find_zone_data(), {})


@pytest.fixture
async def service(zone_files: Path, open_test_service: OpenService) -> AsyncIterator[Service]:
    """The service that planned the jobs of a test."""
    async with open_test_service() as service:
        await service.engine.replanner.start()
        yield service


async def _start_again(service: Service) -> None:
    """What a start does before anything fires; with the data of this moment, on the same database."""
    use_zone_data(find_zone_data(), {})
    await service.engine.replanner.start()


async def _next(service: Service, *jobs: Job) -> list[str | None]:
    """When jobs run next."""
    found = [(await read_job(service.stores, job.id)).next_run_at for job in jobs]
    return [None if at is None else format_instant(at) for at in found]


async def _verdicts(service: Service, job: Job, clock: SetClock, *times: str) -> list[str]:
    stored, versions = await read_job(service.stores, job.id), await service.stores.jobs.history(job.id)
    verdicts = []
    for at in map(parse_instant, times):
        rows = await service.stores.executions.standing_for(job.id, at)
        verdicts.append(explain(stored, versions, rows, at, clock.now()).verdict.value)
    return verdicts


async def _daily(service: Service, clock: SetClock, **fields: Any) -> Job:
    return await add_job(service.stores, clock.now(), schedule="0 2 * * *", timezone=CITY, **fields)


async def test_a_start_moves_the_next_runs_that_other_rules_touch(
    service: Service, zone_files: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    daily = await _daily(service, clock)
    steady = await add_job(service.stores, clock.now(), schedule="@every 7h", timezone=CITY)
    elsewhere = await add_job(service.stores, clock.now(), schedule="0 2 * * *")
    paused = await _daily(service, clock, enabled=False)
    assert await _next(service, daily, elsewhere) == ["2026-06-01T10:00:00Z", "2026-06-01T02:00:00Z"]
    before = await _next(service, steady, elsewhere, paused)
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    assert await _next(service, daily) == ["2026-06-01T09:00:00Z"]
    assert await _next(service, steady, elsewhere, paused) == before
    (line,) = [record for record in caplog.records if "time zone data changed" in record.message]
    assert line.message == "the time zone data changed: 1 jobs run at other times"
    assert (line.levelno, line.__dict__["zones"]) == (logging.WARNING, CITY)


async def test_the_change_is_in_the_history_of_what_moved(service: Service, zone_files: Path, clock: SetClock) -> None:
    daily, steady = await _daily(service, clock), await add_job(service.stores, clock.now(), timezone=CITY)
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    _, moved = await service.stores.jobs.history(daily.id)
    assert (moved.changed_by, moved.enabled, moved.timing) == ("scheduler", True, daily.timing)
    assert moved.note == (
        "the rules of Test/City changed (zone data 2025b to 2026a): 2026-06-01T10:00:00Z became 2026-06-01T09:00:00Z"
    )
    assert len(await service.stores.jobs.history(steady.id)) == 1


async def test_a_further_start_by_the_same_data_changes_nothing(
    service: Service, zone_files: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    daily = await _daily(service, clock)
    write_zone(zone_files, CITY, EAST, version="2026a")
    for _ in range(3):
        await _start_again(service)
        clock.advance(3600)
    assert len(await service.stores.jobs.history(daily.id)) == 2
    assert len([record for record in caplog.records if "time zone data changed" in record.message]) == 1


async def test_what_was_due_before_still_fires_as_it_was_planned(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    daily = await _daily(service, clock)
    clock.set("2026-06-01T12:00:00Z")
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    await service.engine.firer.fire_due(clock.now())
    (row,) = await rows_of(service.stores, daily)
    assert format_instant(row.scheduled_at) == "2026-06-01T10:00:00Z"
    assert await _next(service, daily) == ["2026-06-02T09:00:00Z"]
    assert await _verdicts(service, daily, clock, "2026-06-01T10:00:00Z", "2026-06-01T09:00:00Z") == [
        "pending",
        "not_due",
    ]


async def test_times_are_judged_by_the_rules_that_held_then(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    daily = await _daily(service, clock)
    for _ in range(3):
        clock.advance(86_400)
        await service.engine.firer.fire_due(clock.now())
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    clock.advance(86_400)
    await service.engine.firer.fire_due(clock.now())
    before = ["2026-06-03T10:00:00Z", "2026-06-03T09:00:00Z"]
    after = ["2026-06-04T09:00:00Z", "2026-06-04T10:00:00Z", "2026-06-09T09:00:00Z", "2026-06-09T10:00:00Z"]
    assert await _verdicts(service, daily, clock, *before) == ["pending", "not_due"]
    assert await _verdicts(service, daily, clock, *after) == ["pending", "not_due", "due", "not_due"]
    stored, versions = await read_job(service.stores, daily.id), await service.stores.jobs.history(daily.id)
    told = explain(stored, versions, [], parse_instant(after[1]), clock.now())
    assert "the rules of Test/City changed (zone data 2025b to 2026a): 2026-06-04T10:00:00Z became" in told.detail
    assert told.previous_at == parse_instant(after[0])
    early = explain(stored, versions, [], parse_instant("2026-06-03T12:00:00Z"), clock.now())
    assert (early.previous_at, early.next_at) == (parse_instant(before[0]), parse_instant(after[0]))


async def test_a_time_that_has_fired_does_not_fire_again_by_the_new_rules(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    daily = await _daily(service, clock)
    clock.set("2026-06-01T09:30:00Z")
    await service.engine.firer.fire_due(clock.now())
    write_zone(zone_files, CITY, WEST, version="2026b")
    await _start_again(service)
    assert await _next(service, daily) == ["2026-06-02T10:00:00Z"]
    assert await _verdicts(service, daily, clock, "2026-06-01T09:00:00Z", "2026-06-01T10:00:00Z") == [
        "pending",
        "not_due",
    ]


async def test_a_time_that_the_new_rules_put_into_the_past_runs_at_once(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    """As a time does that the clocks skip; the planned one an hour later does not run any more."""
    daily = await _daily(service, clock)
    clock.set("2026-06-01T09:30:00Z")
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    clock.advance(3600)
    await service.engine.firer.fire_due(clock.now())
    (row,) = await rows_of(service.stores, daily)
    assert (format_instant(row.scheduled_at), row.covers) == ("2026-06-01T09:30:01Z", 1)
    assert await _next(service, daily) == ["2026-06-02T09:00:00Z"]
    assert await _verdicts(service, daily, clock, "2026-06-01T09:30:01Z", "2026-06-01T10:00:00Z") == [
        "pending",
        "not_due",
    ]


async def test_a_job_whose_only_time_is_gone_by_the_new_rules_is_through(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    write_zone(zone_files, CITY, EAST, version="2026a")
    await _start_again(service)
    once = await add_job(service.stores, clock.now(), schedule="@at 2026-06-01T02:00:00", timezone=CITY)
    bounded = await _daily(service, clock, ends_at=parse_instant("2026-06-01T09:30:00Z"))
    write_zone(zone_files, CITY, WEST, version="2026b")
    await _start_again(service)
    assert await _next(service, once, bounded) == ["2026-06-01T10:00:00Z", None]
    ended = await read_job(service.stores, bounded.id)
    assert (ended.enabled, ended.disabled_by) == (False, "through")


async def test_a_running_service_follows_the_data_when_they_change(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    daily, soon = await _daily(service, clock), await add_job(service.stores, clock.now(), timezone=CITY)
    await service.engine.replanner.look()
    assert await _next(service, daily) == ["2026-06-01T10:00:00Z"]
    write_zone(zone_files, CITY, EAST, version="2026a")
    await service.engine.replanner.look()
    assert await _next(service, daily, soon) == ["2026-06-01T09:00:00Z", "2026-06-01T00:01:00Z"]
    await change_stored(service.stores, daily, clock.now(), schedule="0 3 * * *")
    assert await _next(service, daily) == ["2026-06-01T10:00:00Z"]


async def test_a_replanning_that_was_broken_off_goes_on_where_it_was(
    service: Service, zone_files: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await _daily(service, clock) for _ in range(5)]
    write_zone(zone_files, CITY, EAST, version="2026a")
    monkeypatch.setattr(zones, "SLICE", 2)
    write, calls = zones.write_plans, []

    async def write_once(tx: Transaction, moves: Sequence[tuple[Job, str]], *, since_at: int) -> None:
        calls.append(len(moves))
        if len(calls) == 2:
            raise SchedulerError("SERVICE_UNAVAILABLE", "the database is away")
        await write(tx, moves, since_at=since_at)

    monkeypatch.setattr(zones, "write_plans", write_once)
    with pytest.raises(SchedulerError):
        await _start_again(service)
    assert (await _next(service, *jobs)).count("2026-06-01T09:00:00Z") == 2
    await service.engine.replanner.look()
    assert await _next(service, *jobs) == ["2026-06-01T09:00:00Z"] * 5
    assert [len(await service.stores.jobs.history(job.id)) for job in jobs] == [2] * 5
    assert calls == [2, 2, 2, 1]


async def test_the_first_start_after_an_older_version_plans_by_the_data_of_today(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    """An older version recorded no rules."""
    daily = await _daily(service, clock, next_run_at=parse_instant("2026-06-01T13:00:00Z"))

    async def forget(tx: Transaction) -> None:
        await tx.execute("UPDATE zones SET rules = NULL, version = NULL")

    await service.stores.db.transaction(forget)
    await _start_again(service)
    assert await _next(service, daily) == ["2026-06-01T10:00:00Z"]
    (known,) = await service.stores.zones.all()
    assert (known.rules, known.version, known.planned_to) == (WEST, "2025b", None)


async def test_the_same_rules_written_down_otherwise_are_no_change(
    service: Service, zone_files: Path, clock: SetClock
) -> None:
    daily = await _daily(service, clock)
    listed = compiled_zone((parse_instant("2010-01-01T00:00:00Z") // SECOND, -8), first=-8)
    write_zone(zone_files, CITY, listed, version="2026a")
    await _start_again(service)
    assert len(await service.stores.jobs.history(daily.id)) == 1
    assert [known.rules for known in await service.stores.zones.all()] == [listed]


async def test_a_node_with_older_data_goes_by_the_newer_that_another_node_has(
    service: Service, zone_files: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    daily = await _daily(service, clock)
    old = ZoneData(source="system", version="2025b", directories=(str(zone_files),))
    monkeypatch.setattr(replanner, "find_zone_data", lambda: old)
    use_zone_data(old, {})
    await service.engine.replanner.start()
    (known,) = await service.stores.zones.all()
    at = clock.now() // SECOND * SECOND
    await service.stores.zones.change(known, EAST, since_at=at, version="2026a")  # as another node does
    await service.engine.replanner.look()
    assert await _next(service, daily) == ["2026-06-01T09:00:00Z"]
    await change_stored(service.stores, daily, clock.now(), schedule="0 3 * * *")
    assert await _next(service, daily) == ["2026-06-01T10:00:00Z"]
    count = len(await service.stores.zones.all())
    await service.engine.replanner.look()
    await _start_again(service)
    assert len(await service.stores.zones.all()) == count
    assert await _next(service, daily) == ["2026-06-01T10:00:00Z"]
