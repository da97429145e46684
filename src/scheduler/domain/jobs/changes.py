"""Making and changing jobs: what a new schedule, a pause or a bound does to the next run.

Pure: ``fields`` are checked values under the names of ``Job``; what is absent takes its default, or stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.jobs.auto_disable import without_our_note
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.firing import THROUGH
from scheduler.domain.schedule.schedule import check_fires
from scheduler.domain.schedule.text import parse_schedule

_SHAPING = ("schedule", "timezone", "dst_policy", "day_match", "anchor_at")
"""What decides when a schedule fires at all."""
_PLANNING = (*_SHAPING, "starts_at", "ends_at", "max_runs", "enabled")
"""What a change of moves the next run; a change of anything else leaves it alone."""


def create_job(fields: Mapping[str, Any], *, job_id: str, account_id: str, now: Instant) -> Job:
    """A new job of ``now``.

    Raises ``SchedulerError`` when its schedule cannot be read, can never fire, or has no time within its bounds.
    """
    given = {"anchor_at": now, **fields, "timezone": _zone(fields, fallback="UTC")}
    job = Job(**given | {"id": job_id, "account_id": account_id, "created_at": now, "updated_at": now})
    check_fires(job.parsed(), now)
    next_run_at = job.next_after(now)
    if next_run_at is None:
        raise _through(job)
    return replace(job, next_run_at=next_run_at if job.enabled else None)


def change_job(job: Job, fields: Mapping[str, Any], now: Instant) -> Job:
    """The job with ``fields`` changed at ``now``.

    A change of what ``_PLANNING`` names plans the next run anew, from now on: a job that was paused resumes from now.
    What was due before still fires, so an overdue time stays. Bounds that leave nothing end the job; enabling one that
    is through is refused. Raises ``SchedulerError``.
    """
    if fields.get("account_id", job.account_id) != job.account_id:
        raise invalid("account_id", "a job stays in its account")
    given = dict(fields)
    if "schedule" in fields and "timezone" not in fields:
        given["timezone"] = _zone(fields, fallback=job.timezone)
    if job.enabled and given.get("enabled") is False:
        given.setdefault("note", None)  # a note says why a job is paused: an old one would be a wrong answer
    changed = replace(job, **given, updated_at=now)
    if all(getattr(changed, name) == getattr(job, name) for name in _PLANNING):
        return changed
    if any(getattr(changed, name) != getattr(job, name) for name in _SHAPING):
        check_fires(changed.parsed(), now)
    return _planned(changed, before=job, now=now)


def upcoming(job: Job, count: int) -> list[Instant]:
    """The next ``count`` times the job will fire, as things stand; fewer when it ends before, none while disabled."""
    if job.max_runs is not None:
        count = min(count, job.max_runs - job.run_count)
    times: list[Instant] = []
    at = job.next_run_at
    while at is not None and len(times) < count:
        times.append(at)
        at = job.next_after(at)
    return times


def _planned(job: Job, *, before: Job, now: Instant) -> Job:
    if not job.enabled:
        return replace(job, next_run_at=None)
    if before.enabled and before.next_run_at is not None and before.next_run_at <= now:
        return job
    next_run_at = job.next_after(now)
    if next_run_at is not None:
        return replace(without_our_note(job), next_run_at=next_run_at, disabled_by=None, disabled_reason=None)
    if not before.enabled:
        raise _through(job)
    return replace(job, enabled=False, next_run_at=None, disabled_by=DisabledBy.THROUGH, disabled_reason=THROUGH)


def _zone(fields: Mapping[str, Any], *, fallback: str) -> str:
    """The zone that the user named: in ``timezone``, or else in the schedule by ``CRON_TZ=``."""
    if "timezone" in fields:
        return str(fields["timezone"])
    if "CRON_TZ=" not in fields["schedule"]:
        return fallback
    return parse_schedule(fields["schedule"], timezone=None, anchor_at=0).timezone


def _through(job: Job) -> SchedulerError:
    if job.max_runs is not None and job.run_count >= job.max_runs:
        return invalid("max_runs", f"the job has had its {job.run_count} runs: a higher number, or null, is needed")
    if job.ends_at is not None:
        return invalid(
            "ends_at", "no run of the schedule falls between now (or starts_at) and this time: a later one is needed"
        )
    return invalid("schedule", "has no time to come", code="INVALID_CRON_EXPRESSION")
