"""A version of a job: its timing and state between two changes, from which past times are explained."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.accounts.audit import SERVICE
from scheduler.domain.clock import Instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class JobVersion:
    """What decided when a job was due, and who changed it. It applies after ``changed_at``, until the next version's.

    A due time equal to ``changed_at`` belongs to the version before: what was due by then still fired.
    """

    changed_at: Instant
    changed_by: str
    enabled: bool
    timing: Timing
    disabled_by: DisabledBy | None
    note: str | None
    """Why it was not enabled: the note of a person, or the service's own reason; or why the service replanned it."""

    @classmethod
    def of(cls, job: Job, *, changed_by: str) -> JobVersion:
        """The present version of a job."""
        return cls(
            changed_at=job.updated_at,
            changed_by=changed_by,
            enabled=job.enabled,
            timing=job.timing,
            disabled_by=job.disabled_by,
            note=job.disabled_reason or job.note,
        )

    @property
    def is_replanned(self) -> bool:
        """Did the service compute the next run anew because the rules of the time zone had changed?"""
        return self.enabled and self.changed_by == SERVICE and self.note is not None

    def plans_like(self, other: JobVersion) -> bool:
        """Whether both are due at the same times."""
        return (self.enabled, self.timing) == (other.enabled, other.timing)

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """Its newest due time t with ``start_at <= t <= end_at``; none while it is not enabled."""
        return self.timing.latest_between(start_at, end_at) if self.enabled and not self.timing.problem() else None

    def next_after(self, instant: Instant) -> Instant | None:
        """Its first due time after ``instant``; none while it is not enabled."""
        return self.timing.next_after(instant) if self.enabled and not self.timing.problem() else None
