"""Firing: after any downtime each due time is accounted for by exactly one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID, uuid5

import pytest

from scheduler.domain.clock import Instant, parse_instant, seconds
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing, without_timing
from scheduler.domain.runs.execution import Status, Trigger, run_id_of
from scheduler.domain.runs.firing import THROUGH, Firing, Present, backfill, fire, start

WEBHOOK = "019a0000-0000-7000-8000-000000000001"
OTHER = "019a0000-0000-7000-8000-000000000002"
MIDNIGHT = parse_instant("2026-06-01T00:00:00Z")
MINUTE = seconds(60)


def _job(**fields: Any) -> Job:
    created_at = MIDNIGHT - MINUTE
    chosen = {
        "id": "019a0000-0000-7000-8000-000000000000",
        "account_id": "account",
        "name": "job",
        "schedule": "* * * * *",
        "created_at": created_at,
        "updated_at": created_at,
        **fields,
    }
    job = Job(**without_timing(chosen), timing=Timing.of(chosen, now=created_at))
    return replace(job, next_run_at=job.next_after(created_at)) if "next_run_at" not in fields else job


def _present(now: Instant, *, watching_since: Instant | None = None, draw: float = 0.5) -> Present:
    numbers: Iterator[int] = count(1)
    return Present(
        now=now,
        watching_since=now if watching_since is None else watching_since,
        new_id=lambda: str(UUID(int=next(numbers))),
        draw=lambda: draw,
    )


def _shape(firing: Firing) -> list[tuple[str, int, int]]:
    return [(row.status.value, (row.scheduled_at - MIDNIGHT) // MINUTE, row.covers) for row in firing.executions]


def test_only_a_run_that_stands_for_a_due_time_is_scheduled() -> None:
    job, present = _job(), _present(MIDNIGHT + 5)
    fired = fire(job, (WEBHOOK,), present, active=0)
    filled = backfill(job, (WEBHOOK,), [MIDNIGHT - MINUTE], present, known={})
    started = start(job, (WEBHOOK,), present)
    assert [row.is_scheduled for firing in (fired, filled, started) for row in firing.rows] == [True, True, False]
    assert [row.trigger for firing in (filled, started) for row in firing.rows] == [Trigger.MANUAL, Trigger.MANUAL]


def test_on_time_one_run_per_webhook_with_an_identity_that_can_be_recomputed() -> None:
    firing = fire(_job(), (WEBHOOK, OTHER), _present(MIDNIGHT + 5, watching_since=0), active=0)
    first, second = firing.executions
    assert (first.webhook_id, second.webhook_id) == (WEBHOOK, OTHER)
    assert first.run_id == run_id_of(WEBHOOK, MIDNIGHT) and second.run_id == run_id_of(OTHER, MIDNIGHT)
    assert first.scheduled_at == first.available_at == MIDNIGHT
    assert (first.trigger, first.status, first.covers, first.covers_from) == (Trigger.SCHEDULE, Status.QUEUED, 1, None)
    assert firing.next_run_at == MIDNIGHT + MINUTE
    assert (firing.run_count, firing.last_run_at) == (1, MIDNIGHT + 5)


def test_the_identity_is_the_documented_uuid5() -> None:
    assert run_id_of(WEBHOOK, MIDNIGHT) == str(uuid5(UUID(WEBHOOK), "2026-06-01T00:00:00Z"))
    assert run_id_of(WEBHOOK, MIDNIGHT) == "0a9e5179-7dd8-56b6-81f6-e5813fa61c69"


@pytest.mark.parametrize(
    ("minutes", "covers"), [(1, 2), (60, 61), (26 * 60, 26 * 60 + 1), (400 * 1440, 400 * 1440 + 1)]
)
def test_latest_fires_the_newest_once_and_says_for_how_many(minutes: int, covers: int) -> None:
    now = MIDNIGHT + minutes * MINUTE + seconds(7)
    firing = fire(_job(), (WEBHOOK,), _present(now), active=0)
    (run,) = firing.executions
    assert (run.trigger, run.covers, run.covers_from) == (Trigger.CATCHUP, covers, MIDNIGHT)
    assert run.scheduled_at == MIDNIGHT + minutes * MINUTE
    assert firing.next_run_at == MIDNIGHT + (minutes + 1) * MINUTE


def test_latest_beyond_the_window_is_a_record_and_no_run() -> None:
    job = _job(schedule="0 0 * * *", catchup_window_s=3600)
    firing = fire(job, (WEBHOOK,), _present(MIDNIGHT + 120 * MINUTE), active=0)
    (row,) = firing.executions
    assert (row.status, row.covers, row.finished_at) == (Status.SKIPPED, 1, MIDNIGHT + 120 * MINUTE)
    assert row.reason is not None and "catchup_window_s" in row.reason
    assert firing.last_run_at is None and firing.run_count == 0


def test_all_fires_each_up_to_the_limit_and_records_the_rest() -> None:
    firing = fire(_job(catchup="all", catchup_limit=3), (WEBHOOK,), _present(MIDNIGHT + 10 * MINUTE), active=0)
    assert _shape(firing) == [("skipped", 7, 8), ("queued", 8, 1), ("queued", 9, 1), ("queued", 10, 1)]
    assert firing.executions[0].covers_from == MIDNIGHT
    assert sum(row.covers for row in firing.executions) == 11


def test_all_within_the_limit_skips_nothing() -> None:
    firing = fire(_job(catchup="all"), (WEBHOOK,), _present(MIDNIGHT + 2 * MINUTE), active=0)
    assert _shape(firing) == [("queued", 0, 1), ("queued", 1, 1), ("queued", 2, 1)]


def test_all_beyond_the_window_keeps_the_window() -> None:
    job = _job(catchup="all", catchup_window_s=120)
    firing = fire(job, (WEBHOOK,), _present(MIDNIGHT + 10 * MINUTE), active=0)
    assert _shape(firing) == [("skipped", 7, 8), ("queued", 8, 1), ("queued", 9, 1), ("queued", 10, 1)]


def test_none_records_what_was_missed_and_runs_what_came_due_since() -> None:
    now = MIDNIGHT + 10 * MINUTE
    firing = fire(_job(catchup="none"), (WEBHOOK,), _present(now, watching_since=MIDNIGHT + 9 * MINUTE + 1), active=0)
    assert _shape(firing) == [("skipped", 9, 10), ("queued", 10, 1)]
    assert firing.executions[1].trigger is Trigger.SCHEDULE
    everything_missed = fire(_job(catchup="none"), (WEBHOOK,), _present(now + 1), active=0)
    assert _shape(everything_missed) == [("skipped", 10, 11)]


def test_none_runs_a_single_time_that_was_not_missed() -> None:
    firing = fire(_job(catchup="none"), (WEBHOOK,), _present(MIDNIGHT + 9, watching_since=0), active=0)
    assert _shape(firing) == [("queued", 0, 1)]


@pytest.mark.parametrize("catchup", ["latest", "all", "none"])
@pytest.mark.parametrize("minutes", [0, 1, 59, 1441])
def test_every_due_time_is_covered_exactly_once(catchup: str, minutes: int) -> None:
    now = MIDNIGHT + minutes * MINUTE + 1
    firing = fire(_job(catchup=catchup), (WEBHOOK,), _present(now, watching_since=now - seconds(90)), active=0)
    assert sum(row.covers for row in firing.executions) == minutes + 1
    times = [row.scheduled_at for row in firing.executions]
    assert times == sorted(set(times))


def test_a_job_without_webhooks_leaves_a_failure_that_says_so() -> None:
    (row,) = fire(_job(), (), _present(MIDNIGHT, watching_since=0), active=0).executions
    assert row.status is Status.FAILURE and row.error is not None and row.error.startswith("no_webhook")
    assert row.run_id == run_id_of(row.job_id, MIDNIGHT)


def test_jitter_and_spread_move_the_start_and_never_the_identity() -> None:
    job = _job(jitter_s=10, spread_s=60)
    (row,) = fire(job, (WEBHOOK,), _present(MIDNIGHT + 5, watching_since=0), active=0).executions
    assert row.scheduled_at == MIDNIGHT
    assert row.available_at == MIDNIGHT + job.spread() + seconds(5)
    assert 0 <= job.spread() < seconds(60) and job.spread() == _job(spread_s=60).spread()


def test_a_job_that_is_through_stops() -> None:
    firing = fire(_job(max_runs=1), (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=0)
    assert (firing.next_run_at, firing.end_reason) == (None, THROUGH)
    ending = fire(_job(ends_at=MIDNIGHT + MINUTE), (WEBHOOK,), _present(MIDNIGHT + 9 * MINUTE), active=0)
    assert _shape(ending) == [("queued", 0, 1)]
    assert ending.next_run_at is None


def test_overlap_skip_records_why() -> None:
    firing = fire(_job(overlap="skip"), (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=1)
    assert _shape(firing) == [("skipped", 0, 1)]
    assert firing.executions[0].reason is not None and "overlap" in firing.executions[0].reason
    assert _shape(fire(_job(overlap="skip"), (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=0)) == [
        ("queued", 0, 1)
    ]


def test_overlap_buffer_one_lets_exactly_one_wait() -> None:
    job = _job(overlap="buffer_one")
    waits = fire(job, (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=1, waiting=0)
    assert waits.executions == [] and len(waits.buffered) == 1
    refused = fire(job, (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=2, waiting=1)
    assert _shape(refused) == [("skipped", 0, 1)] and refused.buffered == []


def test_overlap_cancel_previous_starts_at_once() -> None:
    firing = fire(_job(overlap="cancel_previous"), (WEBHOOK,), _present(MIDNIGHT, watching_since=0), active=2)
    assert firing.cancels_active and _shape(firing) == [("queued", 0, 1)]
