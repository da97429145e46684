"""What will fire: previews of a schedule, and the load that a set of jobs makes minute by minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.schedule.lines import Transition
from scheduler.domain.schedule.schedule import Schedule

MINUTE = 60 * SECOND


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewedRun:
    """One time of a schedule, as its zone shows it, and whether a change of the clocks touched it."""

    at: Instant
    local: str
    transition: Transition | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What jobs that will fire at the same times have in common, and how many of them there are."""

    timing: Timing
    from_at: Instant
    """The first of the times, or an instant before it from which on all count."""
    runs_left: int | None
    """How often each of them may still fire; ``None`` for no limit."""
    jobs: int


def preview(schedule: Schedule, from_at: Instant, count: int) -> list[PreviewedRun]:
    """The first ``count`` times from ``from_at`` on (included); fewer when the schedule ends."""
    runs: list[PreviewedRun] = []
    at = schedule.next_after(from_at - 1)
    while at is not None and len(runs) < count:
        runs.append(PreviewedRun(at=at, local=schedule.local(at), transition=schedule.transition(at)))
        at = schedule.next_after(at)
    return runs


def first_times(job: Job, from_at: Instant, until_at: Instant, limit: int) -> list[Instant]:
    """The first ``limit`` times at which the job will fire from ``from_at`` on and before ``until_at``."""
    if job.next_run_at is None:
        return []
    runs_left = limit if job.max_runs is None else max(0, job.max_runs - job.run_count)
    from_at, last_at = job.timing.clipped(max(job.next_run_at, from_at), until_at - 1)
    return job.timing.parsed().between(from_at, last_at, min(limit, runs_left))


def load_per_minute(plan: Plan, until_at: Instant) -> Counter[Instant]:
    """How often each job of a plan will fire in each minute before ``until_at``; silent minutes are left out."""
    schedule = plan.timing.parsed()
    load: Counter[Instant] = Counter()
    from_at, last_at = plan.timing.clipped(plan.from_at, until_at - 1)
    count = schedule.count_between(from_at, last_at) if from_at <= last_at else 0
    left = count if plan.runs_left is None else min(count, plan.runs_left)
    if left <= (last_at - from_at) // MINUTE:
        load.update(at // MINUTE * MINUTE for at in schedule.between(from_at, last_at, left))
        return load
    for minute in range(from_at // MINUTE * MINUTE, last_at + 1, MINUTE):
        if not left:
            break
        fired = min(left, schedule.count_between(max(minute, from_at), min(minute + MINUTE - 1, last_at)))
        left -= fired
        if fired:
            load[minute] = fired
    return load
