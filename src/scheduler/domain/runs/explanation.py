"""What became of a time: decided from recorded facts alone, so that the answer is the same today and next year."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Execution, Status

_FEW_RUNS = 1000
_YEAR = 366 * 86_400 * SECOND
_NEAREST_VERSIONS = 100
"""How many changes of a job the search for its nearest due time looks across."""


class Verdict(StrEnum):
    """What became of a time, in one word."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The verdict on a time, a sentence for people, and the facts it rests on."""

    at: Instant
    verdict: Verdict
    detail: str
    executions: Sequence[Execution] = ()
    previous_at: Instant | None = None
    """The nearest due time before, by the version of the job that held then."""
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
    """What became of ``at`` for a job.

    ``versions`` are all of the job's, oldest first; ``executions`` are the last attempts of the runs whose rows stand
    for ``at``, one for each webhook. What was due up to ``pruned_until_at`` may be on record no longer.
    """
    verdict, detail = _recorded(executions, at) if executions else _unrecorded(job, versions, at, now)
    if verdict is Verdict.UNRECORDED and pruned_until_at is not None and at <= pruned_until_at:
        detail = "this time was due, but its record was pruned: the operator's settings in [retention] keep no more"
    return Explanation(
        at=at,
        verdict=verdict,
        detail=detail,
        executions=executions,
        previous_at=_nearest_before(versions, at),
        next_at=_nearest_after(job, versions, at),
    )


def _recorded(executions: Sequence[Execution], at: Instant) -> tuple[Verdict, str]:
    """What the rows say; what ran counts more than a record that it did not."""
    ended = [execution for execution in executions if execution.status not in (Status.SKIPPED, Status.CANCELLED)]
    own = [execution for execution in ended if execution.scheduled_at == at]
    active = [execution for execution in own if execution.status in (Status.QUEUED, Status.RUNNING)]
    if active:
        return Verdict.PENDING, _told(active, "it is under way")
    if own:
        return Verdict.RAN, _told(own, "it ran")
    if ended:
        when, covers = format_instant(ended[0].scheduled_at), ended[0].covers
        return Verdict.MERGED, _told(ended, f"merged into the run of {when}, which stands for {covers} due times")
    last = executions[-1]
    verdict = Verdict.SKIPPED if last.status is Status.SKIPPED else Verdict.CANCELLED
    return verdict, last.reason or verdict.value


def _told(executions: Sequence[Execution], what: str) -> str:
    fates = [f"{execution.status.value} with attempt {execution.attempt}" for execution in executions]
    if len(fates) == 1:
        return f"{what}: {fates[0]}"
    counted = [f"{fates.count(fate)} {fate}" for fate in dict.fromkeys(fates)]
    return f"{what} for {len(fates)} webhooks: {', '.join(counted)}"


def _unrecorded(job: Job, versions: Sequence[JobVersion], at: Instant, now: Instant) -> tuple[Verdict, str]:
    """Why there is no row: most of all, because none was due."""
    held = [version for version in versions if version.changed_at < at]
    if at <= job.created_at or not held:
        return Verdict.BEFORE_CREATION, f"the job was only created at {format_instant(job.created_at)}"
    version = held[-1]
    if not version.timing.is_due(at):
        return Verdict.NOT_DUE, _not_due(version.timing, at)
    if not version.enabled:
        return _disabled(job, held, is_current=len(held) == len(versions))
    if at > now:
        if _is_through_by(job, at):
            return Verdict.NOT_DUE, f"the job will be through before: it ends after {job.max_runs} runs"
        return Verdict.DUE, "this time is still to come, and as things stand the job will run then"
    if job.next_run_at is not None and job.next_run_at <= at:
        return Verdict.PENDING, "this time is due and about to be fired"
    return Verdict.UNRECORDED, "this time was due, but its record is gone: somebody purged it"


def _not_due(timing: Timing, at: Instant) -> str:
    if timing.starts_at is not None and at < timing.starts_at:
        return f"the job starts only at {format_instant(timing.starts_at)} (starts_at)"
    if timing.ends_at is not None and at >= timing.ends_at:
        return f"the job ended at {format_instant(timing.ends_at)} (ends_at)"
    return f"the schedule that held then, {timing.schedule!r} in {timing.timezone}, has no run at this time"


def _disabled(job: Job, held: Sequence[JobVersion], *, is_current: bool) -> tuple[Verdict, str]:
    """Through, or paused: since when, by whom and why. ``held`` ends with the version that held then."""
    since = len(held) - 1
    while since and not held[since - 1].enabled:
        since -= 1
    when, who = format_instant(held[since].changed_at), held[since].changed_by
    note = (job.disabled_reason or job.note) if is_current else held[-1].note
    if held[-1].disabled_by is DisabledBy.THROUGH:
        return Verdict.NOT_DUE, f"the job was through after {when}: no time was left within ends_at and max_runs"
    return Verdict.PAUSED, f"the job was paused by {who} at {when}" + (f": {note}" if note else "")


def _nearest_before(versions: Sequence[JobVersion], at: Instant) -> Instant | None:
    held = bisect_left(versions, at, key=lambda version: version.changed_at)
    until_at = at - 1
    for version in reversed(versions[max(0, held - _NEAREST_VERSIONS) : held]):
        found = version.latest_between(version.changed_at + 1, until_at)
        if found is not None:
            return found
        until_at = min(until_at, version.changed_at)
    return None


def _nearest_after(job: Job, versions: Sequence[JobVersion], at: Instant) -> Instant | None:
    held = max(0, bisect_left(versions, at, key=lambda version: version.changed_at) - 1)
    for number in range(held, min(held + _NEAREST_VERSIONS, len(versions))):
        is_last = number + 1 == len(versions)
        found = versions[number].next_after(max(at, versions[number].changed_at))
        if found is not None and (is_last or found <= versions[number + 1].changed_at):
            return None if is_last and _is_through_by(job, found) else found
    return None


def _is_through_by(job: Job, at: Instant) -> bool:
    """Will ``max_runs`` have been reached before ``at``?

    With many runs left, only the next year is counted: counting centuries takes seconds, and nobody plans them.
    """
    if job.max_runs is None or job.next_run_at is None or at < job.next_run_at:
        return False
    left = job.max_runs - job.run_count
    if left <= _FEW_RUNS:
        return len(job.timing.parsed().between(job.next_run_at, at, left + 1)) > left
    return at - job.next_run_at <= _YEAR and job.timing.parsed().count_between(job.next_run_at, at) > left
