"""The history of jobs: when they were due between two changes, and who made each change."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.store.database import Database, Transaction
from scheduler.store.ids import new_id
from scheduler.store.rows import Table

_VERSIONS = Table(JobVersion)


async def add_versions(tx: Transaction, versions: Sequence[JobVersion], jobs: Sequence[Job]) -> None:
    """Add one version to the history of each job."""
    await tx.execute_many(
        f"INSERT INTO job_history {_VERSIONS.values(id=':id', job_id=':job_id')}",
        [
            _VERSIONS.encode(version) | {"id": new_id(version.changed_at), "job_id": job.id}
            for version, job in zip(versions, jobs, strict=True)
        ],
    )


async def read_versions(db: Database, job_id: str) -> list[JobVersion]:
    """All versions of a job, oldest first."""
    rows = await db.fetch_all(
        f"SELECT {_VERSIONS.columns()} FROM job_history WHERE job_id = :job_id ORDER BY changed_at, id",
        {"job_id": job_id},
    )
    return [_VERSIONS.decode(row) for row in rows]
