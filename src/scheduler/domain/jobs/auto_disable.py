"""Giving up politely: what the service disables by itself, because nobody at the other end wants it any more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scheduler.domain.clock import Instant, format_instant, seconds
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Settlement, Status

PATIENCE_S = 5 * 86_400
LEAST_RUNS = 20
GONE = (
    f"{DisabledBy.GONE}: the receiver answered 410 Gone; give it another address, or enable it again when the receiver "
    "is back"
)

_LONGEST_NOTE = 2000
_OURS = "Disabled by the scheduler: "


@dataclass(frozen=True, kw_only=True, slots=True)
class DisabledItem:
    """What the service disabled, and why: a webhook, or a whole job."""

    account_id: str
    job_id: str
    webhook_id: str | None = None
    reason: str


def says_gone(settlement: Settlement) -> bool:
    """Did the receiver say that it will never take this again?"""
    return settlement.status is Status.DEAD_LETTER and settlement.outcome.response_code == 410


def is_another_failed_run(settlement: Settlement) -> bool:
    """Did a run go to the dead letter for the first time? One that was redriven in vain is still the same run."""
    return settlement.status is Status.DEAD_LETTER and settlement.execution.budget_from == 1


def is_hopeless(dead_count: int, dead_since_at: Instant, now: Instant) -> bool:
    """Have enough runs failed for long enough, with no success between?"""
    return dead_count >= LEAST_RUNS and now - dead_since_at >= seconds(PATIENCE_S)


def give_up_on(job: Job, dead_count: int, dead_since_at: Instant, now: Instant, *, last_error: str | None) -> Job:
    """The job, disabled at ``now`` because all of its last ``dead_count`` runs went to the dead letter."""
    since = format_instant(dead_since_at)
    fact = f"all {dead_count} runs since {since} went to the dead letter"
    ours = f"{_OURS}{fact}, the last one with: {(last_error or 'no error')[:200]}. "
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
    """The job, without what ``give_up_on`` wrote into its note, if that still stands there."""
    if job.disabled_by is not DisabledBy.FAILING or job.note is None or not job.note.startswith(_OURS):
        return job
    return replace(job, note=job.note.partition("\n")[2] or None)
