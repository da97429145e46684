"""Creates and changes jobs: what a new schedule, a pause or a bound does to the next run.

Pure: ``fields`` are checked values under the names of ``Job`` and of ``Timing``; what is absent takes its default, or
stays as it is.
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
from scheduler.domain.jobs.timing import Timing, without_timing
from scheduler.domain.runs.firing import THROUGH
from scheduler.domain.schedule.schedule import check_fires
from scheduler.domain.schedule.zones import is_zone


def create_job(fields: Mapping[str, Any], *, job_id: str, account_id: str, now: Instant) -> Job:
    """A new job of ``now``.

    Raises ``SchedulerError`` when its schedule cannot be parsed, never fires, or has no time within its bounds.
    """
    given = without_timing(fields) | {"id": job_id, "account_id": account_id, "created_at": now, "updated_at": now}
    job = Job(**given, timing=Timing.of(fields, now=now))
    check_fires(job.timing.parsed(is_stored=False), now)
    next_run_at = job.next_after(now)
    if next_run_at is None:
        raise _no_runs_left(job)
    return replace(job, next_run_at=next_run_at if job.enabled else None)


def change_job(job: Job, fields: Mapping[str, Any], now: Instant) -> Job:
    """The job with ``fields`` changed at ``now``.

    A change of its timing, of ``max_runs`` or of ``enabled`` computes the next run anew, from ``now`` on, also for a
    job that was paused. What was due before still fires, so an overdue time stays. Bounds that leave no run end the
    job; enabling one that has ended is refused. Raises ``SchedulerError``.
    """
    if fields.get("account_id", job.account_id) != job.account_id:
        raise invalid("account_id", "a job stays in its account")
    given = without_timing(fields)
    if job.enabled and given.get("enabled") is False:
        given.setdefault("note", None)  # a note says why a job is paused: an old one would be a wrong answer
    changed = replace(job, **given, timing=_changed_timing(job, fields, now), updated_at=now)
    if (changed.timing, changed.max_runs, changed.enabled) == (job.timing, job.max_runs, job.enabled):
        return changed
    if changed.timing.without_bounds() != job.timing.without_bounds():
        _check_timing(_as_given(changed.timing, fields), before=job.timing, now=now)
    planned = _planned(changed, before=job, now=now)
    return replace(planned, one_off_ended_at=now if _is_one_off_over(planned, now) else None)


def _is_one_off_over(job: Job, now: Instant) -> bool:
    """Is it a one-off that has ended, and are all of its moments in the past?"""
    if job.disabled_by is not DisabledBy.THROUGH or job.enabled or not job.timing.is_one_off:
        return False
    try:
        return job.next_after(now) is None
    except SchedulerError:  # the zone data lack its zone now
        return False


def _changed_timing(job: Job, fields: Mapping[str, Any], now: Instant) -> Timing:
    """An anchor that was not given is ``starts_at``, or the creation, and follows a change of ``starts_at``."""
    if "starts_at" in fields and job.timing.anchor_at == (job.timing.starts_at or job.created_at):
        fields = {"anchor_at": fields["starts_at"] or job.created_at, **fields}
    return job.timing.changed(fields, now=now)


def _check_timing(timing: Timing, *, before: Timing, now: Instant) -> None:
    """Check that each line of the schedule fires again, but for those that the job had and that are over by ``now``.

    So once an ``@at`` line has passed, the rest can still be changed.
    """
    schedule = timing.parsed(is_stored=timing.schedule == before.schedule)
    over = _lines_over(before, now)
    remaining = tuple(line for line in schedule.lines if line.text not in over)
    if remaining:
        check_fires(replace(schedule, lines=remaining), now)


def _lines_over(timing: Timing, now: Instant) -> frozenset[str]:
    """The lines that do not fire after ``now``; none where the schedule cannot be parsed any more."""
    try:
        return frozenset(line.text for line in timing.parsed().lines_over(now))
    except SchedulerError:
        return frozenset()


def replan(job: Job, since_at: Instant) -> Job:
    """The job as planned by rules of its time zone that hold from ``since_at`` (included) on.

    What was due before stays as it is. Raises ``SchedulerError`` when the schedule cannot be parsed.
    """
    if not job.enabled or job.next_run_at is None or job.next_run_at < since_at:
        return job
    return _planned_next(job, job.next_after(since_at - 1), since_at)


def resume(job: Job, waiting_since_at: Instant) -> Job:
    """A job that waits without a next time, planned again from ``waiting_since_at`` (excluded) on.

    What was due meanwhile is overdue then. Raises ``SchedulerError`` when the due times still cannot be computed.
    """
    return _planned_next(job, job.next_after(waiting_since_at), waiting_since_at)


def _planned_next(job: Job, next_run_at: Instant | None, at: Instant) -> Job:
    """The job with its next time, or ended at ``at``."""
    if next_run_at is not None:
        return replace(job, next_run_at=next_run_at)
    return replace(_ended(job), one_off_ended_at=at if job.timing.is_one_off else None)


def upcoming(job: Job, count: int) -> list[Instant]:
    """The next ``count`` times the job will fire, as things stand; fewer when it ends before, none while disabled."""
    if job.max_runs is not None:
        count = min(count, job.max_runs - job.run_count)
    times: list[Instant] = []
    at = job.next_run_at
    if at is not None and job.timing.problem() is not None:
        return [at]  # the only one that can be computed
    while at is not None and len(times) < count:
        times.append(at)
        at = job.next_after(at)
    return times


def _planned(job: Job, *, before: Job, now: Instant) -> Job:
    if not job.enabled:
        return replace(job, next_run_at=None)
    if before.enabled and before.next_run_at is not None and before.next_run_at <= now:
        return job
    if job.timing.problem() is not None:
        return _waiting(job, before)
    next_run_at = job.next_after(now)
    if next_run_at is not None:
        return replace(without_our_note(job), next_run_at=next_run_at, disabled_by=None, disabled_reason=None)
    if not before.enabled:
        raise _no_runs_left(job)
    return _ended(job)


def _as_given(timing: Timing, fields: Mapping[str, Any]) -> Timing:
    """The timing without a stored time zone that the zone data lack, so that a change can give another."""
    return timing if "timezone" in fields or is_zone(timing.timezone) else replace(timing, timezone="UTC")


def _waiting(job: Job, before: Job) -> Job:
    """A job whose due times cannot be computed now: it keeps its next time where that still holds, or waits."""
    at = before.next_run_at
    if at is not None:
        is_alike = before.enabled and job.timing.without_bounds() == before.timing.without_bounds()
        at = at if is_alike and job.timing.clipped(at, at) == (at, at) else None
    return replace(without_our_note(job), next_run_at=at, disabled_by=None, disabled_reason=None)


def _ended(job: Job) -> Job:
    return replace(job, enabled=False, next_run_at=None, disabled_by=DisabledBy.THROUGH, disabled_reason=THROUGH)


def _no_runs_left(job: Job) -> SchedulerError:
    if job.max_runs is not None and job.run_count >= job.max_runs:
        return invalid("max_runs", f"the job has had its {job.run_count} runs: a higher number, or null, is needed")
    if job.timing.ends_at is not None:
        return invalid(
            "ends_at", "no run of the schedule falls between now (or starts_at) and this time: a later one is needed"
        )
    return invalid("schedule", "has no time to come", code="INVALID_CRON_EXPRESSION")
