"""A version of a job: what planned it between two changes, so that a past time can be judged by what held then."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class JobVersion:
    """What planned a job, and who said so. It holds from behind ``changed_at`` to the next version's, included.

    A time at which a change came belongs to the version before: what was due by then still fired.
    """

    changed_at: Instant
    changed_by: str
    enabled: bool
    timing: Timing
    disabled_by: DisabledBy | None
    note: str | None
    """Why it was not enabled: what a person noted, or the service's own reason."""

    @classmethod
    def of(cls, job: Job, *, changed_by: str) -> JobVersion:
        """The version that a job is at, as of its last change."""
        return cls(
            changed_at=job.updated_at,
            changed_by=changed_by,
            enabled=job.enabled,
            timing=job.timing,
            disabled_by=job.disabled_by,
            note=job.disabled_reason or job.note,
        )

    def plans_like(self, other: JobVersion) -> bool:
        """Are both due at the same times?"""
        return (self.enabled, self.timing) == (other.enabled, other.timing)

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """Its newest due time t with ``start_at <= t <= end_at``; none while it is not enabled."""
        return self.timing.latest_between(start_at, end_at) if self.enabled else None

    def next_after(self, instant: Instant) -> Instant | None:
        """Its first due time after ``instant``; none while it is not enabled."""
        return self.timing.next_after(instant) if self.enabled else None
