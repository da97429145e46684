"""Jobs as JSON documents."""

from __future__ import annotations

from functools import lru_cache

from scheduler.api.http.answers import Document, shortest_number, time_or_none
from scheduler.domain.clock import format_instant
from scheduler.domain.jobs.changes import upcoming
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.schedule.zones import generation

_NEXT_RUNS = 5


def job_document(job: Job) -> Document:
    """A job after creating, reading or changing it: with its schedule in English and its next runs."""
    document = job_summary(job)
    problem = job.timing.problem()
    document["description"] = f"unknown: {problem}" if problem else _described(job.timing, generation())
    document["next_runs"] = [format_instant(at) for at in upcoming(job, _NEXT_RUNS)]
    return document


def job_summary(job: Job) -> Document:
    """A job in a list."""
    problem = job.timing.problem()
    return {
        "id": job.id,
        "account_id": job.account_id,
        "name": job.name,
        "schedule": job.timing.schedule,
        "type": job.type,
        "timezone": job.timing.timezone,
        "enabled": job.enabled,
        "dst_policy": job.timing.dst_policy,
        "day_match": job.timing.day_match,
        "anchor": format_instant(job.timing.anchor_at),
        "starts_at": time_or_none(job.timing.starts_at),
        "ends_at": time_or_none(job.timing.ends_at),
        "max_runs": job.max_runs,
        "jitter_s": shortest_number(job.jitter_s),
        "spread_s": shortest_number(job.spread_s),
        "catchup": job.catchup,
        "catchup_window_s": shortest_number(job.catchup_window_s),
        "catchup_limit": job.catchup_limit,
        "overlap": job.overlap,
        "retry": _retry_document(job.retry),
        "delivery": job.delivery,
        "auto_disable": job.auto_disable,
        "note": job.note,
        "tags": list(job.tags),
        "disabled_reason": job.disabled_reason,
        "warnings": None if problem is None else [problem],
        "last_run_at": time_or_none(job.last_run_at),
        "next_run_at": time_or_none(job.next_run_at),
        "created_at": format_instant(job.created_at),
        "updated_at": format_instant(job.updated_at),
    }


# Cached: both are the same for many jobs, and take long enough to show in the time of a request.
@lru_cache(maxsize=1024)
def _described(timing: Timing, generation: int) -> str:
    """``generation`` is that of the zone data, which the description depends on."""
    return timing.parsed().describe()


@lru_cache(maxsize=1024)
def _retry_document(policy: RetryPolicy) -> Document:
    return policy.to_mapping()
