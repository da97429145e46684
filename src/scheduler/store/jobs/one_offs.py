"""One-offs, jobs that run only at given moments: finds and removes those that ended long ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Transaction
from scheduler.store.jobs.deletion import Removed, remove_jobs
from scheduler.store.sql import in_list

_MOST_EXECUTIONS = 1000
"""Executions that one transaction deletes."""
_IS_KEPT = """
EXISTS (SELECT 1 FROM executions e WHERE e.job_id = j.id AND e.status IN ('queued', 'running', 'dead_letter'))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedOneOff:
    """A one-off that ended at ``ended_at``."""

    id: str
    ended_at: Instant
    is_kept: bool
    """Is there something queued or running for it, or a dead letter?"""


class OneOffStore:
    """Removes one-offs that have ended, with their webhooks, executions and history."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ended(self, until_at: Instant, *, after: EndedOneOff | None, limit: int) -> list[EndedOneOff]:
        """Those that ended up to ``until_at``, the first ones after ``after``, oldest first."""
        rows = await self._db.fetch_all(
            f"""
            SELECT j.id, j.one_off_ended_at, CASE WHEN {_IS_KEPT} THEN 1 ELSE 0 END AS is_kept FROM jobs j
            WHERE j.one_off_ended_at <= :until_at AND (j.one_off_ended_at, j.id) > (:after_at, :after_id)
            ORDER BY j.one_off_ended_at, j.id LIMIT :limit
            """,
            {
                "until_at": until_at,
                "after_at": after.ended_at if after else -1,
                "after_id": after.id if after else "",
                "limit": limit,
            },
        )
        return [
            EndedOneOff(id=row["id"], ended_at=row["one_off_ended_at"], is_kept=bool(row["is_kept"])) for row in rows
        ]

    async def remove(self, job_ids: Sequence[str], until_at: Instant) -> Removed:
        """Remove those that ended by ``until_at`` and of which nothing is kept, or a part of them if there are many.

        Jobs that are locked by another transaction are left for the next time.
        """

        async def remove(tx: Transaction) -> Removed:
            ids, params = in_list(job_ids)
            locked = await tx.fetch_all(
                f"""
                SELECT id FROM jobs WHERE id IN ({ids}) AND one_off_ended_at <= :until_at
                ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
                """,
                {**params, "until_at": until_at},
            )
            if not locked:
                return Removed(executions=0, jobs=0, is_done=True)
            ids, params = in_list(row["id"] for row in locked)
            kept = await tx.fetch_all(f"SELECT j.id FROM jobs j WHERE j.id IN ({ids}) AND {_IS_KEPT}", params)
            going = sorted({row["id"] for row in locked} - {row["id"] for row in kept})
            if going:
                return await remove_jobs(tx, going, most=_MOST_EXECUTIONS)
            return Removed(executions=0, jobs=0, is_done=True)

        return await self._db.transaction(remove)
