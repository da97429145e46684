"""Forecasts: previews of a schedule, the next runs of many jobs, and how many fire in each minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import TypeVar

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.schedule.lines import Interval, Transition
from scheduler.domain.schedule.schedule import Schedule

MINUTE = 60 * SECOND
Timed = TypeVar("Timed", Job, "Plan")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewedRun:
    """One fire time of a schedule, its local time, and how a change of the offset affects it."""

    at: Instant
    local: str
    transition: Transition | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Jobs that will fire at the same times."""

    timing: Timing
    from_at: Instant
    """Not later than the first of the times."""
    runs_left: int | None
    """How often each job may still fire; ``None`` for no limit."""
    jobs: int
    """How many jobs there are."""


def split_computable(timed: Sequence[Timed]) -> tuple[list[Timed], list[tuple[str, Timed]]]:
    """The jobs whose due times can be computed now, and the others, each with the reason."""
    computable: list[Timed] = []
    others: list[tuple[str, Timed]] = []
    for one in timed:
        problem = one.timing.problem()
        if problem is None:
            computable.append(one)
        else:
            others.append((problem, one))
    return computable, others


def preview(schedule: Schedule, from_at: Instant, count: int, *, made_at: Instant | None = None) -> list[PreviewedRun]:
    """The first ``count`` times from ``from_at`` on (included); fewer when the schedule ends.

    An interval that counts from ``made_at``, the creation of its job, does not run then.
    """
    runs: list[PreviewedRun] = []
    at = schedule.next_after(from_at - 1)
    if at is not None and at == made_at and not _fires_without_intervals(schedule, at):
        at = schedule.next_after(at)
    while at is not None and len(runs) < count:
        runs.append(PreviewedRun(at=at, local=schedule.local(at), transition=schedule.transition(at)))
        at = schedule.next_after(at)
    return runs


def _fires_without_intervals(schedule: Schedule, at: Instant) -> bool:
    lines = tuple(line for line in schedule.lines if not isinstance(line, Interval))
    return replace(schedule, lines=lines).next_after(at - 1) == at


def soonest_runs(jobs: Sequence[Job], from_at: Instant, until_at: Instant, limit: int) -> list[tuple[Instant, Job]]:
    """The first ``limit`` fire times of all ``jobs`` from ``from_at`` on and before ``until_at``, ascending.

    It computes one time of each job, and one for each time that is returned.
    """
    runs = merge(*(_runs_of(job, from_at, until_at) for job in jobs), key=lambda run: (run[0], run[1].id))
    return list(islice(runs, limit))


def total_load(plans: Sequence[Plan], until_at: Instant, is_over: Callable[[], bool]) -> tuple[Counter[Instant], bool]:
    """How many runs there are in each minute before ``until_at``, and whether all plans are counted.

    Counting ends when ``is_over``, which is asked for each minute.
    """
    load: Counter[Instant] = Counter()
    for plan in plans:
        for minute, count in _load_per_minute(plan, until_at):
            if is_over():
                return load, False
            load[minute] += count * plan.jobs
    return load, True


def _runs_of(job: Job, from_at: Instant, until_at: Instant) -> Iterator[tuple[Instant, Job]]:
    if job.next_run_at is None:
        return
    from_at, last_at = job.timing.clipped(max(job.next_run_at, from_at), until_at - 1)
    left = None if job.max_runs is None else job.max_runs - job.run_count
    schedule = job.timing.parsed()
    at = schedule.next_after(from_at - 1)
    while at is not None and at <= last_at and (left is None or left > 0):
        yield at, job
        left = None if left is None else left - 1
        at = schedule.next_after(at)


def _load_per_minute(plan: Plan, until_at: Instant) -> Iterator[tuple[Instant, int]]:
    """How often each job of a plan will fire in minutes before ``until_at``; a minute may come several times."""
    schedule = plan.timing.parsed()
    from_at, last_at = plan.timing.clipped(plan.from_at, until_at - 1)
    count = schedule.count_between(from_at, last_at) if from_at <= last_at else 0
    left = count if plan.runs_left is None else min(count, plan.runs_left)
    if left <= (last_at - from_at) // MINUTE:
        for at in schedule.between(from_at, last_at, left):
            yield at // MINUTE * MINUTE, 1
        return
    for minute in range(from_at // MINUTE * MINUTE, last_at + 1, MINUTE):
        if not left:
            return
        fired = min(left, schedule.count_between(max(minute, from_at), min(minute + MINUTE - 1, last_at)))
        left -= fired
        if fired:
            yield minute, fired
