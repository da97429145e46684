"""What became of a time: decided from recorded facts alone, so that the answer is the same today and next year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.execution import Execution, Status
from scheduler.domain.job import Job
from scheduler.domain.schedule import Schedule, parse_schedule


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
class JobVersion:
    """What planned a job from ``changed_at`` on, and who said so."""

    changed_at: Instant
    changed_by: str
    enabled: bool
    schedule: str
    timezone: str
    dst_policy: str
    day_match: str
    anchor_at: Instant
    starts_at: Instant | None
    ends_at: Instant | None
    note: str | None

    @classmethod
    def of(cls, job: Job, *, changed_by: str) -> JobVersion:
        """The version that a job is at, as of its last change."""
        return cls(
            changed_at=job.updated_at,
            changed_by=changed_by,
            enabled=job.enabled,
            schedule=job.schedule,
            timezone=job.timezone,
            dst_policy=job.dst_policy,
            day_match=job.day_match,
            anchor_at=job.anchor_at,
            starts_at=job.starts_at,
            ends_at=job.ends_at,
            note=job.note,
        )

    def plans_like(self, other: JobVersion) -> bool:
        """Would both fire at the same times?"""
        return self._plan == other._plan

    def is_due(self, at: Instant) -> bool:
        """Is ``at`` one of its times?"""
        within = (self.starts_at is None or at >= self.starts_at) and (self.ends_at is None or at < self.ends_at)
        return within and self.parsed().next_after(at - 1) == at

    def parsed(self) -> Schedule:
        return parse_schedule(
            self.schedule,
            timezone=self.timezone,
            anchor_at=self.anchor_at,
            dst_policy=self.dst_policy,
            day_match=self.day_match,
        )

    @property
    def _plan(self) -> tuple[object, ...]:
        return (
            self.enabled,
            self.schedule,
            self.timezone,
            self.dst_policy,
            self.day_match,
            self.anchor_at,
            self.starts_at,
            self.ends_at,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The verdict on a time, a sentence for people, and the facts it rests on."""

    at: Instant
    verdict: Verdict
    detail: str
    executions: Sequence[Execution] = ()
    previous_at: Instant | None = None
    """The nearest due time before, by the version that held then."""
    next_at: Instant | None = None


def explain(
    job: Job, versions: Sequence[JobVersion], executions: Sequence[Execution], at: Instant, now: Instant
) -> Explanation:
    """What became of ``at`` for a job.

    ``versions`` are all of the job's, oldest first; ``executions`` are the last attempts of the runs whose rows stand
    for ``at``, one for each webhook.
    """
    if executions:
        return _recorded(executions, at)
    if at < job.created_at:
        created = format_instant(job.created_at)
        return Explanation(at=at, verdict=Verdict.BEFORE_CREATION, detail=f"the job was created later, at {created}")
    version = [version for version in versions if version.changed_at <= at][-1]
    previous_at = version.parsed().latest_between(version.changed_at, at - 1)
    next_at = version.parsed().next_after(at)

    def conclude(verdict: Verdict, detail: str) -> Explanation:
        return Explanation(at=at, verdict=verdict, detail=detail, previous_at=previous_at, next_at=next_at)

    if not version.is_due(at):
        return conclude(Verdict.NOT_DUE, f"the schedule that held then, {version.schedule!r}, has no run at this time")
    if not version.enabled:
        since, note = format_instant(version.changed_at), f": {version.note}" if version.note else ""
        return conclude(Verdict.PAUSED, f"the job was paused by {version.changed_by} at {since}{note}")
    if at > now:
        return conclude(Verdict.DUE, "this time is still to come, and as things stand the job will run then")
    if job.next_run_at is not None and job.next_run_at <= at:
        return conclude(Verdict.PENDING, "this time is due and is being fired right now")
    return conclude(Verdict.UNRECORDED, "this time was due, but its record is gone: it was purged or pruned")


def _recorded(executions: Sequence[Execution], at: Instant) -> Explanation:
    first = executions[0]
    when, covers = format_instant(first.scheduled_at), first.covers
    if first.status is Status.SKIPPED:
        verdict, detail = Verdict.SKIPPED, first.reason or "skipped"
    elif first.status is Status.CANCELLED:
        verdict, detail = Verdict.CANCELLED, first.reason or "cancelled"
    elif first.scheduled_at != at:
        verdict, detail = Verdict.MERGED, f"merged into the run of {when}, which stands for {covers} due times"
    elif first.status in (Status.QUEUED, Status.RUNNING):
        verdict, detail = Verdict.PENDING, f"attempt {first.attempt} is {first.status.value}"
    else:
        verdict, detail = Verdict.RAN, f"it ran and ended as {first.status.value} with attempt {first.attempt}"
    return Explanation(at=at, verdict=verdict, detail=detail, executions=executions)
