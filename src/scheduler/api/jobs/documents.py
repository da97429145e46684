"""Jobs as the JSON documents that answers carry."""

from __future__ import annotations

from functools import lru_cache

from scheduler.api.http.answers import Document, shortest_number, time_or_none
from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.jobs.changes import upcoming
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.schedule.text import parse_schedule

_NEXT_RUNS = 5


def job_document(job: Job) -> Document:
    """A job as answers to create, read one and update show it: with its schedule in words and its next runs."""
    document = job_summary(job)
    document["description"] = _described(job.schedule, job.timezone, job.anchor_at, job.dst_policy, job.day_match)
    document["next_runs"] = [format_instant(at) for at in upcoming(job, _NEXT_RUNS)]
    return document


def job_summary(job: Job) -> Document:
    """A job as lists show it."""
    return {
        "id": job.id,
        "account_id": job.account_id,
        "name": job.name,
        "schedule": job.schedule,
        "type": job.type,
        "timezone": job.timezone,
        "enabled": job.enabled,
        "dst_policy": job.dst_policy,
        "day_match": job.day_match,
        "anchor": format_instant(job.anchor_at),
        "starts_at": time_or_none(job.starts_at),
        "ends_at": time_or_none(job.ends_at),
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
        "last_run_at": time_or_none(job.last_run_at),
        "next_run_at": time_or_none(job.next_run_at),
        "created_at": format_instant(job.created_at),
        "updated_at": format_instant(job.updated_at),
    }


# Both are the same for most jobs, and dear enough to be noticed on the way of every request.
@lru_cache(maxsize=1024)
def _described(schedule: str, timezone: str, anchor_at: Instant, dst_policy: str, day_match: str) -> str:
    parsed = parse_schedule(
        schedule, timezone=timezone, anchor_at=anchor_at, dst_policy=dst_policy, day_match=day_match
    )
    return parsed.describe()


@lru_cache(maxsize=1024)
def _retry_document(policy: RetryPolicy) -> Document:
    return policy.to_mapping()
