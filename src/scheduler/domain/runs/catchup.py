"""Catching up: which due times up to now get a run each, which share one, and which are recorded as skipped.

A time was *missed* when it was due while no trigger loop was looking (before ``watching_since``). A time that came due
since then is late: it runs whatever ``catchup`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Trigger

_TOO_OLD = "missed: older than catchup_window_s"
_NOT_CAUGHT_UP = "missed: the service was not running, and catchup is none"
_BEYOND_LIMIT = "missed: beyond catchup_limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """A run of ``at`` that stands for ``covers`` due times, or the record that they were skipped; one row a webhook."""

    at: Instant
    covers: int = 1
    covers_from: Instant | None = None
    trigger: Trigger
    skipped: str | None = None
    """Why there is no run; ``None`` for a run."""


def account_for(job: Job, now: Instant, *, watching_since: Instant, most: int) -> tuple[Sequence[Portion], Instant]:
    """Divide the due times of a job with ``next_run_at`` ≤ ``now`` into portions; returns them and the last due time.

    The oldest come first, and their ``covers`` add up to the number of those times. Only with ``catchup`` ``all`` can
    there be more than ``most`` portions: then the first ones are returned, and the job is due again at once.
    """
    first = job.next_run_at
    assert first is not None  # noqa: S101 - only due jobs are fired
    newest = _newest(job, first, now)
    if job.catchup == "all" and newest > first:
        return _all(job, first, newest, now, watching_since=watching_since, most=most)
    if job.catchup == "none" and first < watching_since:
        return _none(job, first, newest, watching_since), newest
    return [_latest(job, first, newest, now, watching_since)], newest


def account_for_one(job: Job, now: Instant, *, watching_since: Instant) -> tuple[Sequence[Portion], Instant]:
    """The same for ``next_run_at`` alone, when the due times after it cannot be computed."""
    first = job.next_run_at
    assert first is not None  # noqa: S101 - only due jobs are fired
    if job.catchup == "none" and first < watching_since:
        return [_merged(job, first, first, watching_since, skipped=_NOT_CAUGHT_UP)], first
    return [_latest(job, first, first, now, watching_since)], first


def _newest(job: Job, first: Instant, now: Instant) -> Instant:
    """The newest due time up to now; not searched for when there is only one."""
    following = job.next_after(first)
    if following is None or following > now:
        return first
    return job.timing.latest_between(first, now) or first


def _latest(job: Job, first: Instant, newest: Instant, now: Instant, watching_since: Instant) -> Portion:
    """One run at the newest time for all of them; a record when even that lies before ``catchup_window_s``."""
    too_old = newest < watching_since and newest < now - seconds(job.catchup_window_s)
    return _merged(job, first, newest, watching_since, skipped=_TOO_OLD if too_old else None)


def _none(job: Job, first: Instant, newest: Instant, watching_since: Instant) -> list[Portion]:
    """One record of the missed times, and one run for the late ones."""
    last_missed = job.timing.parsed().latest_between(first, min(newest, watching_since - 1)) or first
    missed = _merged(job, first, last_missed, watching_since, skipped=_NOT_CAUGHT_UP)
    late = job.timing.parsed().next_after(last_missed)
    if late is None or late > newest:
        return [missed]
    return [missed, _merged(job, late, newest, watching_since)]


def _all(
    job: Job, first: Instant, newest: Instant, now: Instant, *, watching_since: Instant, most: int
) -> tuple[list[Portion], Instant]:
    """A run for each time in the window, the newest ``catchup_limit`` of them; records for the rest.

    Where ``max_runs`` permits fewer, the oldest of those run, and the job ends: later times were not due.
    """
    schedule = job.timing.parsed()
    from_at = max(first, min(now - seconds(job.catchup_window_s), watching_since))
    kept = schedule.newest_between(from_at, newest, job.catchup_limit) if from_at <= newest else []
    runs_left = most if job.max_runs is None else min(most, job.max_runs - job.run_count)
    reached = kept[:runs_left][-1] if kept else newest
    bounds = ((first, min(from_at, newest + 1), _TOO_OLD), (from_at, kept[0] if kept else newest + 1, _BEYOND_LIMIT))
    records = [
        _merged(job, *span, watching_since, skipped=reason)
        for start_at, before_at, reason in bounds
        if (span := _span(job, first, start_at, before_at)) is not None
    ]
    runs = [
        Portion(at=at, trigger=Trigger.CATCHUP if at < watching_since else Trigger.SCHEDULE) for at in kept[:runs_left]
    ]
    return [*records, *runs], reached


def _span(job: Job, first: Instant, start_at: Instant, before_at: Instant) -> tuple[Instant, Instant] | None:
    """The first and the last due time of a window; ``first`` is due, even if the schedule is another by now."""
    if start_at >= before_at:
        return None
    schedule = job.timing.parsed()
    last = schedule.latest_between(start_at, before_at - 1)
    if start_at == first:
        return first, last or first
    begun = schedule.next_after(start_at - 1)
    return None if last is None or begun is None else (begun, last)


def _merged(job: Job, first: Instant, last: Instant, watching_since: Instant, *, skipped: str | None = None) -> Portion:
    """One portion for the due times from ``first`` to ``last``, both of which are due."""
    covers = 1 if first == last else 1 + job.timing.parsed().count_between(first + 1, last)
    is_plain = covers == 1 and first >= watching_since and skipped is None
    return Portion(
        at=last,
        covers=covers,
        covers_from=first if covers > 1 else None,
        trigger=Trigger.SCHEDULE if is_plain else Trigger.CATCHUP,
        skipped=skipped,
    )
