"""A version of a job: what planned it between two changes, so that a past time can be judged by what held then."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.schedule.schedule import Schedule
from scheduler.domain.schedule.text import parse_schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class JobVersion:
    """What planned a job, and who said so. It holds from behind ``changed_at`` to the next version's, included.

    A time at which a change came belongs to the version before: what was due by then still fired.
    """

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
            schedule=job.schedule,
            timezone=job.timezone,
            dst_policy=job.dst_policy,
            day_match=job.day_match,
            anchor_at=job.anchor_at,
            starts_at=job.starts_at,
            ends_at=job.ends_at,
            disabled_by=job.disabled_by,
            note=job.disabled_reason or job.note,
        )

    def plans_like(self, other: JobVersion) -> bool:
        """Would both fire at the same times?"""
        return self._plan == other._plan

    def is_due(self, at: Instant) -> bool:
        """Does it name ``at``, be it enabled or not?"""
        within = (self.starts_at is None or at >= self.starts_at) and (self.ends_at is None or at < self.ends_at)
        return within and self.parsed().next_after(at - 1) == at

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """Its newest due time t with ``start_at <= t <= end_at``; none while it is not enabled."""
        start_at = start_at if self.starts_at is None else max(start_at, self.starts_at)
        end_at = end_at if self.ends_at is None else min(end_at, self.ends_at - 1)
        return self.parsed().latest_between(start_at, end_at) if self.enabled and start_at <= end_at else None

    def next_after(self, instant: Instant) -> Instant | None:
        """Its first due time after ``instant``; none while it is not enabled."""
        if not self.enabled:
            return None
        found = self.parsed().next_after(instant if self.starts_at is None else max(instant, self.starts_at - 1))
        return None if found is None or (self.ends_at is not None and found >= self.ends_at) else found

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
