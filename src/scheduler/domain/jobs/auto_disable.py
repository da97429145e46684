"""Disables a job or a webhook: when its receiver is gone, or when all of its runs have failed for days."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scheduler.domain.clock import Instant, format_instant, seconds
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Settlement, Status

FAILING_FOR_S = 5 * 86_400
FAILING_RUNS = 20
"""A job is disabled when this many runs in a row failed, and the first of them at least that long ago."""
GONE = (
    f"{DisabledBy.GONE}: the receiver answered 410 Gone; give it another address, or enable it again when the receiver "
    "is back"
)

_LONGEST_NOTE = 2000
_NOTE_MARK = "Disabled by the scheduler: "


@dataclass(frozen=True, kw_only=True, slots=True)
class DisabledItem:
    """A webhook that the service disabled, or a job where ``webhook_id`` is ``None``, and why."""

    account_id: str
    job_id: str
    webhook_id: str | None = None
    reason: str


def is_gone(settlement: Settlement) -> bool:
    """Did the receiver answer 410 Gone (RFC 9110, 15.5.11)?"""
    return settlement.status is Status.DEAD_LETTER and settlement.outcome.response_code == 410


def is_first_dead_letter(settlement: Settlement) -> bool:
    """Did a run go to the dead letter for the first time? A redrive that fails is no further failed run."""
    return settlement.status is Status.DEAD_LETTER and settlement.execution.budget_from == 1


def is_failing(dead_count: int, dead_since_at: Instant, now: Instant) -> bool:
    """Have enough runs of a job failed, for long enough, since its last success?"""
    return dead_count >= FAILING_RUNS and now - dead_since_at >= seconds(FAILING_FOR_S)


def disable_failing(job: Job, dead_count: int, dead_since_at: Instant, now: Instant, *, last_error: str | None) -> Job:
    """The job, disabled at ``now`` because all of its last ``dead_count`` runs went to the dead letter."""
    since = format_instant(dead_since_at)
    fact = f"all {dead_count} runs since {since} went to the dead letter"
    ours = f"{_NOTE_MARK}{fact}, the last one with: {(last_error or 'no error')[:200]}. "
    ours += "Once the receiver works, enable the job again; auto_disable: false keeps it going whatever happens."
    both = ours if job.note is None else f"{ours}\n{job.note}"
    return replace(
        job,
        enabled=False,
        next_run_at=None,
        disabled_by=DisabledBy.FAILING,
        disabled_reason=f"{DisabledBy.FAILING}: {fact}",
        note=both if len(both) <= _LONGEST_NOTE else job.note,
        updated_at=now,
    )


def without_our_note(job: Job) -> Job:
    """The job with its note as it was before ``disable_failing`` added a line, if that line still stands there."""
    if job.disabled_by is not DisabledBy.FAILING or job.note is None or not job.note.startswith(_NOTE_MARK):
        return job
    return replace(job, note=job.note.partition("\n")[2] or None)
