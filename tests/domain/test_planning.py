"""Creating and changing jobs: which changes move the next run, and which do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.clock import format_instant, parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.changes import change_job, create_job, upcoming
from scheduler.domain.jobs.job import Job

NOW = parse_instant("2026-06-01T00:00:00Z")
LATER = parse_instant("2026-06-01T00:10:00Z")


def job(**fields: Any) -> Job:
    return create_job({"name": "job", "schedule": "@every 1h", **fields}, job_id="j", account_id="a", now=NOW)


def next_run(job: Job) -> str | None:
    return None if job.next_run_at is None else format_instant(job.next_run_at)


def test_a_job_counts_from_its_creation() -> None:
    made = job()
    assert (made.created_at, made.updated_at, made.timing.anchor_at) == (NOW, NOW, NOW)
    assert next_run(made) == "2026-06-01T01:00:00Z"
    assert next_run(job(enabled=False)) is None
    assert next_run(job(anchor_at=LATER)) == "2026-06-01T00:10:00Z"
    assert next_run(job(starts_at=parse_instant("2026-06-01T03:00:00Z"))) == "2026-06-01T03:00:00Z"


@pytest.mark.parametrize(
    ("fields", "planned"),
    [
        ({"schedule": "0 5 * * *"}, "2026-06-01T05:00:00Z"),
        ({"schedule": "0 5 * * *", "timezone": "Asia/Tokyo"}, "2026-06-01T20:00:00Z"),
        ({"anchor_at": NOW + 60_000_000}, "2026-06-01T01:01:00Z"),
        ({"starts_at": parse_instant("2026-06-01T02:00:00Z")}, "2026-06-01T02:00:00Z"),
        ({"max_runs": 7}, "2026-06-01T01:00:00Z"),
        ({"enabled": False}, None),
    ],
)
def test_a_change_of_what_plans_the_job_plans_it_from_now(fields: dict[str, Any], planned: str | None) -> None:
    assert next_run(change_job(job(), fields, LATER)) == planned


def test_a_change_of_anything_else_leaves_the_plan_alone() -> None:
    before = job()
    for fields in (
        {"name": "x"},
        {"jitter_s": 5},
        {"note": "x"},
        {"schedule": before.timing.schedule},
        {"enabled": True},
        {},
    ):
        after = change_job(before, fields, LATER)
        assert (after.next_run_at, after.updated_at) == (before.next_run_at, LATER)


def test_a_line_that_was_once_good_does_not_hinder_pausing() -> None:
    """One of its lines is in the past by now."""
    before = job(schedule="0 5 * * *\n@at 2026-06-01T00:05:00Z")
    paused = change_job(before, {"enabled": False}, LATER)
    assert next_run(paused) is None
    assert next_run(change_job(paused, {"enabled": True}, LATER)) == "2026-06-01T05:00:00Z"


@pytest.mark.parametrize(
    ("fields", "planned"),
    [
        ({"timezone": "Asia/Tokyo"}, "2026-06-01T20:00:00Z"),
        ({"dst_policy": "skip"}, "2026-06-01T05:00:00Z"),
        ({"schedule": "0 6 * * *\n@at 2026-06-01T00:05:00Z"}, "2026-06-01T06:00:00Z"),
        ({"schedule": "0 5 * * *\n@at 2026-06-01T00:05:00Z\n@in 1h"}, "2026-06-01T01:10:00Z"),
    ],
)
def test_after_an_at_line_has_passed_the_rest_can_be_changed(fields: dict[str, Any], planned: str) -> None:
    before = job(schedule="0 5 * * *\n@at 2026-06-01T00:05:00Z")
    fired = replace(before, next_run_at=parse_instant("2026-06-01T05:00:00Z"))
    assert next_run(change_job(fired, fields, LATER)) == planned


@pytest.mark.parametrize(
    "schedule", ["0 5 * * *\n@at 2026-06-01T00:06:00Z", "0 5 * * *\n0 0 30 2 *\n@at 2026-06-01T00:05:00Z"]
)
def test_a_new_line_must_still_come(schedule: str) -> None:
    before = job(schedule="0 5 * * *\n@at 2026-06-01T00:05:00Z")
    with pytest.raises(SchedulerError, match=r"past|never fires"):
        change_job(before, {"schedule": schedule}, LATER)


def test_a_job_that_is_through_can_be_renamed_and_given_another_zone() -> None:
    over = replace(job(schedule="@at 2026-06-01T00:05:00Z"), enabled=False, next_run_at=None)
    changed = change_job(over, {"name": "x", "timezone": "Asia/Tokyo", "schedule": over.timing.schedule}, LATER)
    assert (changed.name, changed.timing.timezone, changed.next_run_at) == ("x", "Asia/Tokyo", None)
    with pytest.raises(SchedulerError, match="no time to come"):
        change_job(over, {"enabled": True}, LATER)


def test_an_interval_counts_from_the_start_where_no_anchor_is_given() -> None:
    start = parse_instant("2026-06-01T03:20:00Z")
    made = job(starts_at=start)
    assert (made.timing.anchor_at, next_run(made)) == (start, "2026-06-01T03:20:00Z")
    assert next_run(job(starts_at=start, anchor_at=LATER)) == "2026-06-01T04:10:00Z"
    later = parse_instant("2026-06-01T05:45:00Z")
    assert next_run(change_job(made, {"starts_at": later}, LATER)) == "2026-06-01T05:45:00Z"
    assert change_job(made, {"starts_at": None}, LATER).timing.anchor_at == NOW
    anchored = job(anchor_at=LATER + 60_000_000)
    assert next_run(change_job(anchored, {"starts_at": later}, LATER)) == "2026-06-01T06:11:00Z"


def test_in_is_the_time_that_it_means_when_it_is_set() -> None:
    made = job(schedule="@in 10m")
    assert (made.timing.schedule, next_run(made)) == ("@at 2026-06-01T00:10:00Z", "2026-06-01T00:10:00Z")
    changed = change_job(made, {"schedule": "CRON_TZ=Asia/Tokyo @IN 1h30m\n0 9 * * *"}, LATER)
    assert changed.timing.schedule == "CRON_TZ=Asia/Tokyo @at 2026-06-01T01:40:00Z\n0 9 * * *"
    assert change_job(changed, {"schedule": changed.timing.schedule}, LATER + 1).timing == changed.timing
    precise = create_job({"name": "x", "schedule": "@in 1s"}, job_id="j", account_id="a", now=NOW + 5)
    assert precise.timing.schedule == "@at 2026-06-01T00:00:01.000005Z"


@pytest.mark.parametrize("schedule", ["@in 0s", "@in 10", "@in 1M", "@in 99999w", "@in", "@in -5m", "@in 10 m"])
def test_in_takes_what_every_takes(schedule: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        job(schedule=schedule)
    assert caught.value.code == "INVALID_CRON_EXPRESSION"


def test_a_stored_unit_in_upper_case_means_what_it_meant() -> None:
    stored = replace(job(), timing=replace(job().timing, schedule="@every 90M"))
    assert stored.next_after(NOW) == parse_instant("2026-06-01T01:30:00Z")
    assert next_run(change_job(stored, {"timezone": "Asia/Tokyo"}, LATER)) == "2026-06-01T01:30:00Z"
    with pytest.raises(SchedulerError, match=r"months \(M\)"):
        change_job(stored, {"schedule": "@every 30M"}, LATER)


def test_an_overdue_time_stays_until_it_has_fired() -> None:
    before = job(schedule="5 * * * *")
    assert next_run(change_job(before, {"schedule": "0 5 * * *"}, LATER)) == "2026-06-01T00:05:00Z"


def test_bounds_that_leave_nothing_end_the_job_and_enabling_it_is_refused() -> None:
    ended = change_job(job(), {"ends_at": LATER}, LATER)
    assert (ended.enabled, ended.next_run_at) == (False, None)
    assert ended.disabled_reason is not None
    with pytest.raises(SchedulerError, match="ends_at"):
        change_job(ended, {"enabled": True}, LATER)
    resumed = change_job(ended, {"enabled": True, "ends_at": None}, LATER)
    assert (next_run(resumed), resumed.disabled_reason) == ("2026-06-01T01:00:00Z", None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schedule": "0 0 30 2 *"}, "schedule"),
        ({"schedule": "@at 2026-05-31T00:00:00Z"}, "schedule"),
        ({"ends_at": LATER}, "ends_at"),
        ({"timezone": "Nowhere/Land"}, "timezone"),
        ({"schedule": "CRON_TZ=Europe/Paris @daily", "timezone": "UTC"}, "schedule"),
        ({"schedule": "CRON_TZ=Nowhere/Land @daily"}, "schedule"),
    ],
)
def test_a_job_that_would_never_fire_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        job(**fields)
    assert list(refused.value.errors or ()) == [field]


def test_the_zone_may_be_named_in_the_schedule() -> None:
    paris = job(schedule="CRON_TZ=Europe/Paris 0 5 * * *")
    assert (paris.timing.timezone, next_run(paris)) == ("Europe/Paris", "2026-06-01T03:00:00Z")
    plain = change_job(paris, {"schedule": "0 6 * * *"}, LATER)
    assert (plain.timing.timezone, next_run(plain)) == ("Europe/Paris", "2026-06-01T04:00:00Z")
    with pytest.raises(SchedulerError, match="contradicts"):
        change_job(paris, {"timezone": "Asia/Tokyo"}, LATER)


def test_upcoming_runs_end_with_the_job() -> None:
    assert [format_instant(at) for at in upcoming(job(max_runs=2), 5)] == [
        "2026-06-01T01:00:00Z",
        "2026-06-01T02:00:00Z",
    ]
    assert len(upcoming(job(), 5)) == 5
    assert len(upcoming(job(ends_at=parse_instant("2026-06-01T03:00:00Z")), 5)) == 2
    assert upcoming(job(enabled=False), 5) == []
