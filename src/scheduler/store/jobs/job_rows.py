"""The row of a job: its columns, how it is written, how it is read."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import lru_cache
from typing import Any

from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.jobs.timing import Timing
from scheduler.store.database import Row

TIMING_NAMES = tuple(field.name for field in fields(Timing))
_OWN_NAMES = tuple(field.name for field in fields(Job) if field.name != "timing")
_NAMES = (*_OWN_NAMES, *TIMING_NAMES)
COLUMNS = ", ".join(f"j.{name}" for name in _NAMES)
INSERT = f"""
INSERT INTO jobs ({", ".join(_NAMES)}) VALUES ({", ".join(f":{name}" for name in _NAMES)})
"""
UPDATE = f"""
UPDATE jobs SET {", ".join(f"{name} = :{name}" for name in _NAMES if name not in ("id", "account_id", "created_at"))}
WHERE id = :id
"""


def decode_policy(text: str) -> RetryPolicy:
    """The retry policy of a job's ``retry`` column."""
    return _cached_policy(text)


def decode_job(row: Row) -> Job:
    """The job of a row that has all of its columns."""
    return Job(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        timing=decode_timing(row),
        type=row["type"],
        enabled=bool(row["enabled"]),
        max_runs=row["max_runs"],
        jitter_s=row["jitter_s"],
        spread_s=row["spread_s"],
        catchup=row["catchup"],
        catchup_window_s=row["catchup_window_s"],
        catchup_limit=row["catchup_limit"],
        overlap=row["overlap"],
        retry=_cached_policy(row["retry"]),
        delivery=row["delivery"],
        auto_disable=bool(row["auto_disable"]),
        note=row["note"],
        tags=tuple(json.loads(row["tags"])) if row["tags"] != "[]" else (),
        disabled_by=DisabledBy(row["disabled_by"]) if row["disabled_by"] else None,
        disabled_reason=row["disabled_reason"],
        run_count=row["run_count"],
        last_run_at=row["last_run_at"],
        next_run_at=row["next_run_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def decode_timing(row: Row) -> Timing:
    """The timing of a row that has all of its columns."""
    return Timing(**{name: row[name] for name in TIMING_NAMES})


def row_of(job: Job) -> dict[str, Any]:
    """The parameters of ``INSERT`` and ``UPDATE``."""
    values: dict[str, Any] = {name: getattr(job, name) for name in _OWN_NAMES}
    values |= {name: getattr(job.timing, name) for name in TIMING_NAMES}
    values["enabled"] = int(job.enabled)
    values["auto_disable"] = int(job.auto_disable)
    values["retry"] = json.dumps(job.retry.to_mapping(), sort_keys=True)
    values["tags"] = json.dumps(list(job.tags))
    return values


@lru_cache(maxsize=1024)
def _cached_policy(text: str) -> RetryPolicy:
    return RetryPolicy.from_mapping(json.loads(text))
