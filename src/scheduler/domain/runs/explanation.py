"""Tells what happened to a job at a given time, from its history and its executions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Execution, Status
from scheduler.domain.schedule.words.clocks import told_change

_FEW_RUNS = 1000
_YEAR = 366 * 86_400 * SECOND
_NEAREST_VERSIONS = 100
"""How many versions of a job are searched for its nearest due time."""


class Verdict(StrEnum):
    """What happened at a time, in one word."""

    RAN = "ran"
    MERGED = "merged"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    PENDING = "pending"
    DUE = "due"
    PAUSED = "paused"
    NOT_DUE = "not_due"
    BEFORE_CREATION = "before_creation"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The verdict on a time, a sentence for people, and the executions that show it."""

    at: Instant
    verdict: Verdict
    detail: str
    executions: Sequence[Execution] = ()
    previous_at: Instant | None = None
    """The nearest due time before ``at``, by the version of the job of that time."""
    next_at: Instant | None = None


def explain(
    job: Job,
    versions: Sequence[JobVersion],
    executions: Sequence[Execution],
    at: Instant,
    now: Instant,
    *,
    pruned_until_at: Instant | None = None,
) -> Explanation:
    """What happened to a job at ``at``. ``versions`` are all of the job's, oldest first; ``executions`` are the last
    attempts of the runs whose rows stand for ``at``, one for each webhook. Rows for times up to ``pruned_until_at`` may
    have been pruned.
    """
    verdict, detail = _recorded(executions, at) if executions else _unrecorded(job, versions, at, now)
    if verdict is Verdict.UNRECORDED and pruned_until_at is not None and at <= pruned_until_at:
        detail = "this time was due, but its record was pruned: the operator's settings in [retention] keep no more"
    clocks = _clocks(versions, at)
    return Explanation(
        at=at,
        verdict=verdict,
        detail=f"{detail}; {clocks}" if clocks else detail,
        executions=executions,
        previous_at=_nearest_before(versions, at),
        next_at=_nearest_after(job, versions, at),
    )


def _recorded(executions: Sequence[Execution], at: Instant) -> tuple[Verdict, str]:
    """The verdict by the rows; one that ran, or will run, goes before one that was skipped or cancelled."""
    ended = [execution for execution in executions if execution.status not in (Status.SKIPPED, Status.CANCELLED)]
    own = [execution for execution in ended if execution.scheduled_at == at]
    active = [execution for execution in own if execution.status in (Status.QUEUED, Status.RUNNING)]
    if active:
        return Verdict.PENDING, _summary(active, "it is under way")
    if own:
        return Verdict.RAN, _summary(own, "it ran")
    if ended:
        when, covers = format_instant(ended[0].scheduled_at), ended[0].covers
        return Verdict.MERGED, _summary(ended, f"merged into the run of {when}, which stands for {covers} due times")
    last = executions[-1]
    verdict = Verdict.SKIPPED if last.status is Status.SKIPPED else Verdict.CANCELLED
    return verdict, last.reason or verdict.value


def _summary(executions: Sequence[Execution], what: str) -> str:
    ends = [f"{execution.status.value} with attempt {execution.attempt}" for execution in executions]
    if len(ends) == 1:
        return f"{what}: {ends[0]}"
    counted = [f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)]
    return f"{what} for {len(ends)} webhooks: {', '.join(counted)}"


def _unrecorded(job: Job, versions: Sequence[JobVersion], at: Instant, now: Instant) -> tuple[Verdict, str]:
    """The verdict when there is no row, by the version of the job of that time."""
    past = [version for version in versions if version.changed_at < at]
    if at <= job.created_at or not past:
        return Verdict.BEFORE_CREATION, f"the job was only created at {format_instant(job.created_at)}"
    version = past[-1]
    is_current = len(past) == len(versions)
    problem = (job if is_current else version).timing.problem()
    if problem is not None and version.enabled and at != job.next_run_at:
        return Verdict.UNKNOWN, f"whether this time is due cannot be told: {problem}"
    if problem is None and not version.timing.is_due(at):
        return Verdict.NOT_DUE, _not_due(version, at)
    if not version.enabled:
        return _disabled(job, past, is_current=is_current)
    if at > now:
        if _has_ended_by(job, at):
            return Verdict.NOT_DUE, f"the job will have ended by then: it ends after {job.max_runs} runs"
        return Verdict.DUE, "this time is still to come, and as things stand the job will run then"
    if job.next_run_at is not None and job.next_run_at <= at:
        return Verdict.PENDING, "this time is due and about to be fired"
    return Verdict.UNRECORDED, "this time was due, but its record is gone: somebody purged it"


def _not_due(version: JobVersion, at: Instant) -> str:
    timing = version.timing
    if timing.starts_at is not None and at < timing.starts_at:
        return f"the job starts only at {format_instant(timing.starts_at)} (starts_at)"
    if timing.ends_at is not None and at >= timing.ends_at:
        return f"the job ended at {format_instant(timing.ends_at)} (ends_at)"
    why = f"the schedule that held then, {timing.schedule!r} in {timing.timezone}, has no run at this time"
    return f"{why}; {version.note}" if version.is_replanned else why


def _disabled(job: Job, past: Sequence[JobVersion], *, is_current: bool) -> tuple[Verdict, str]:
    """The verdict when the last of the ``past`` versions is not enabled: ended, or paused, since when and by whom."""
    since = len(past) - 1
    while since and not past[since - 1].enabled:
        since -= 1
    when, who = format_instant(past[since].changed_at), past[since].changed_by
    note = (job.disabled_reason or job.note) if is_current else past[-1].note
    if past[-1].disabled_by is DisabledBy.THROUGH:
        return Verdict.NOT_DUE, f"the job ended after {when}: no time was left within ends_at and max_runs"
    return Verdict.PAUSED, f"the job was paused by {who} at {when}" + (f": {note}" if note else "")


def _clocks(versions: Sequence[JobVersion], at: Instant) -> str:
    """How the clocks change on the day of ``at``; empty where they do not, or where the zone data lack the zone."""
    past = [version for version in versions if version.changed_at < at]
    timing = past[-1].timing if past else None
    try:
        schedule = timing.parsed() if timing else None
    except SchedulerError:
        return ""
    if schedule is None or timing is None:
        return ""
    return told_change(schedule.lines, schedule.zone, at // SECOND, dst_policy=timing.dst_policy)


def _nearest_before(versions: Sequence[JobVersion], at: Instant) -> Instant | None:
    count = bisect_left(versions, at, key=lambda version: version.changed_at)
    until_at = at - 1
    for version in reversed(versions[max(0, count - _NEAREST_VERSIONS) : count]):
        found = version.latest_between(version.changed_at + 1, until_at)
        if found is not None:
            return found
        until_at = min(until_at, version.changed_at)
    return None


def _nearest_after(job: Job, versions: Sequence[JobVersion], at: Instant) -> Instant | None:
    first = max(0, bisect_left(versions, at, key=lambda version: version.changed_at) - 1)
    for number in range(first, min(first + _NEAREST_VERSIONS, len(versions))):
        is_last = number + 1 == len(versions)
        found = versions[number].next_after(max(at, versions[number].changed_at))
        if found is not None and (is_last or found <= versions[number + 1].changed_at):
            return None if is_last and _has_ended_by(job, found) else found
    return None


def _has_ended_by(job: Job, at: Instant) -> bool:
    """Will ``max_runs`` have been reached before ``at``?

    With many runs left only the next year is counted, since counting centuries takes seconds.
    """
    if job.max_runs is None or job.next_run_at is None or at < job.next_run_at:
        return False
    left = job.max_runs - job.run_count
    if left <= _FEW_RUNS:
        return len(job.timing.parsed().between(job.next_run_at, at, left + 1)) > left
    return at - job.next_run_at <= _YEAR and job.timing.parsed().count_between(job.next_run_at, at) > left
