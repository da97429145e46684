"""What will fire: previews of a schedule, and the load that a set of jobs makes minute by minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.job import Job
from scheduler.domain.lines import Transition
from scheduler.domain.schedule import Schedule

MINUTE = 60 * SECOND
_SPARSE = 1440
"""Up to so many times are listed one by one; more are counted minute by minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewedRun:
    """One time of a schedule, as its zone shows it, and whether a change of the clocks touched it."""

    at: Instant
    local: str
    transition: Transition | None


def preview(schedule: Schedule, from_at: Instant, count: int) -> list[PreviewedRun]:
    """The first ``count`` times from ``from_at`` on (included); fewer when the schedule ends."""
    runs: list[PreviewedRun] = []
    at = schedule.next_after(from_at - 1)
    while at is not None and len(runs) < count:
        runs.append(PreviewedRun(at=at, local=schedule.local(at), transition=schedule.transition(at)))
        at = schedule.next_after(at)
    return runs


def first_times(job: Job, until_at: Instant, limit: int) -> list[Instant]:
    """When the job will fire before ``until_at``, as things stand: the first ``limit`` times."""
    last_at = _last(job, until_at)
    if job.next_run_at is None or last_at < job.next_run_at:
        return []
    return job.parsed().between(job.next_run_at, last_at, min(limit, _runs_left(job, limit)))


def load_per_minute(job: Job, until_at: Instant) -> Counter[Instant]:
    """How often the job will fire in each minute before ``until_at``, by its start; silent minutes are left out."""
    load: Counter[Instant] = Counter()
    last_at = _last(job, until_at)
    if job.next_run_at is None or last_at < job.next_run_at:
        return load
    schedule, left = job.parsed(), _runs_left(job, until_at)
    if min(left, schedule.count_between(job.next_run_at, last_at)) <= _SPARSE:
        load.update(at // MINUTE * MINUTE for at in schedule.between(job.next_run_at, last_at, min(left, _SPARSE)))
        return load
    for minute in range(job.next_run_at // MINUTE * MINUTE, last_at + 1, MINUTE):
        count = schedule.count_between(max(minute, job.next_run_at), min(minute + MINUTE - 1, last_at))
        if count:
            load[minute] = min(count, left)
            left -= load[minute]
        if not left:
            break
    return load


def _last(job: Job, until_at: Instant) -> Instant:
    return (until_at if job.ends_at is None else min(until_at, job.ends_at)) - 1


def _runs_left(job: Job, otherwise: int) -> int:
    return otherwise if job.max_runs is None else max(0, job.max_runs - job.run_count)
