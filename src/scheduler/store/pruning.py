"""Pruning: runs that were over long ago, or that are not among the newest of their job, are deleted in slices.

Ids are time-ordered, so the oldest rows come from the start of an index that is there anyway. A run goes whole or not
at all, judged by its newest attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.ids import in_list

_COLUMNS = "e.id, e.run_id, e.job_id, e.scheduled_at"
_PRUNE = """
DELETE FROM executions WHERE run_id = :run_id AND EXISTS (
  SELECT 1 FROM executions n WHERE n.run_id = :run_id
    AND n.attempt = (SELECT MAX(l.attempt) FROM executions l WHERE l.run_id = :run_id)
    AND n.status NOT IN ('queued', 'running')
    AND n.id <= CASE WHEN n.status = 'dead_letter' THEN :dead_until_id ELSE :until_id END
)
"""
_MARK = """
UPDATE jobs SET pruned_until_at = :at WHERE id = :job_id AND (pruned_until_at IS NULL OR pruned_until_at < :at)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """Up to which ids, included, runs may go; an empty one keeps all."""

    until_id: str
    dead_until_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Some executions that may have to go, oldest first, and the runs they are attempts of."""

    rows: Sequence[Row]

    @property
    def last_id(self) -> str:
        """The id to go on behind."""
        last: str = self.rows[-1]["id"]
        return last


class PruningStore:
    """Finds and deletes what is not kept any longer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def oldest(self, *, after_id: str, until_id: str, limit: int) -> Slice:
        """The oldest executions of all jobs behind one id, up to another."""
        return Slice(
            rows=await self._db.fetch_all(
                f"""
                SELECT {_COLUMNS} FROM executions e WHERE e.id > :after_id AND e.id <= :until_id
                ORDER BY e.id LIMIT :limit
                """,
                {"after_id": after_id, "until_id": until_id, "limit": limit},
            )
        )

    async def oldest_of(self, job_id: str, *, after_id: str, until_id: str, limit: int) -> Slice:
        """The oldest executions of one job behind one id, up to another."""
        return Slice(
            rows=await self._db.fetch_all(
                f"""
                SELECT {_COLUMNS} FROM executions e
                WHERE e.job_id = :job_id AND e.id > :after_id AND e.id <= :until_id ORDER BY e.id LIMIT :limit
                """,
                {"job_id": job_id, "after_id": after_id, "until_id": until_id, "limit": limit},
            )
        )

    async def crowded(self, *, after_job_id: str, kept: int, limit: int) -> list[tuple[str, str | None]]:
        """The next ``limit`` jobs, each with the id of the newest execution that is one too many, if one is."""
        rows = await self._db.fetch_all(
            """
            SELECT j.id, (
              SELECT e.id FROM executions e WHERE e.job_id = j.id ORDER BY e.id DESC LIMIT 1 OFFSET :kept
            ) AS until_id
            FROM jobs j WHERE j.id > :after_job_id ORDER BY j.id LIMIT :limit
            """,
            {"after_job_id": after_job_id, "kept": kept, "limit": limit},
        )
        return [(row["id"], row["until_id"]) for row in rows]

    async def prune(self, found: Slice, edge: Edge) -> int:
        """Delete the runs of a slice that are over and lie before the edge; returns how many executions that were.

        Each job is told up to when its runs may be missing. Jobs that somebody is just changing are left for next time.
        """
        job_ids = sorted({row["job_id"] for row in found.rows})

        async def prune(tx: Transaction) -> int:
            places, params = in_list(job_ids)
            locked = await tx.fetch_all(
                f"SELECT id FROM jobs WHERE id IN ({places}) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", params
            )
            free = {row["id"] for row in locked}
            rows = [row for row in found.rows if row["job_id"] in free]
            until = {"until_id": edge.until_id, "dead_until_id": edge.dead_until_id}
            run_ids = dict.fromkeys(row["run_id"] for row in rows)
            pruned, _ = await tx.execute_batch(
                [(_PRUNE, [{"run_id": run_id, **until} for run_id in run_ids]), (_MARK, _marks(rows))]
            )
            return pruned

        return await self._db.transaction(prune)


def _marks(rows: Sequence[Row]) -> list[dict[str, str | int]]:
    """The newest scheduled time of each job among these; runs by hand (UUIDv7, not 5) stand for none."""
    newest: dict[str, Instant] = {}
    for row in rows:
        if row["run_id"][14] == "5":
            newest[row["job_id"]] = max(newest.get(row["job_id"], row["scheduled_at"]), row["scheduled_at"])
    return [{"job_id": job_id, "at": at} for job_id, at in sorted(newest.items())]
