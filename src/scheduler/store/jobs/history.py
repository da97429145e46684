"""The history of jobs: what planned each of them, since when, and who said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.ids import new_id
from scheduler.store.jobs.job_rows import TIMING_NAMES, decode_timing

_OWN_NAMES = tuple(field.name for field in fields(JobVersion) if field.name != "timing")
_NAMES = (*_OWN_NAMES, *TIMING_NAMES)
_INSERT = f"""
INSERT INTO job_history (id, job_id, {", ".join(_NAMES)})
VALUES (:id, :job_id, {", ".join(f":{name}" for name in _NAMES)})
"""


async def remember(tx: Transaction, versions: Sequence[JobVersion], jobs: Sequence[Job]) -> None:
    """Add one version to the history of each job."""
    await tx.execute_many(
        _INSERT,
        [
            {name: getattr(version, name) for name in _OWN_NAMES}
            | {name: getattr(version.timing, name) for name in TIMING_NAMES}
            | {"id": new_id(version.changed_at), "job_id": job.id, "enabled": int(version.enabled)}
            for version, job in zip(versions, jobs, strict=True)
        ],
    )


async def recall(db: Database, job_id: str) -> list[JobVersion]:
    """All versions of a job, oldest first."""
    rows = await db.fetch_all(
        f"SELECT {', '.join(_NAMES)} FROM job_history WHERE job_id = :job_id ORDER BY changed_at, id",
        {"job_id": job_id},
    )
    return [_decode(row) for row in rows]


def _decode(row: Row) -> JobVersion:
    disabled_by = row["disabled_by"]
    values = {name: row[name] for name in _OWN_NAMES} | {
        "timing": decode_timing(row),
        "enabled": bool(row["enabled"]),
        "disabled_by": DisabledBy(disabled_by) if disabled_by else None,
    }
    return JobVersion(**values)
