"""Pruning: runs that were over long ago, or that are not among the newest of their job, are deleted in slices.

Ids are time-ordered, so the oldest rows come from the start of an index that is there anyway. A run goes whole or not
at all, judged by its newest attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.errors import invalid
from scheduler.store.database import Database, Params, Row, Transaction
from scheduler.store.sql import in_list

# Does the run of attempt e go? A subquery with a limit is never turned into a join with the whole table.
_GOES = """(
  SELECT CASE
    WHEN n.status IN ('queued', 'running') THEN 0
    WHEN n.id <= CASE n.status WHEN 'dead_letter' THEN :dead_until_id ELSE :until_id END THEN 1
    ELSE 0
  END
  FROM executions n WHERE n.run_id = e.run_id ORDER BY n.attempt DESC LIMIT 1
)"""
_FOUND = f"e.id, e.run_id, e.job_id, {_GOES} AS goes"
_MARK = """
UPDATE jobs SET pruned_until_at = :at WHERE id = :job_id AND (pruned_until_at IS NULL OR pruned_until_at < :at)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """Up to which ids, included, runs may go; an empty one keeps all."""

    until_id: str
    dead_until_id: str

    @property
    def last_id(self) -> str:
        """Nothing behind it goes."""
        return max(self.until_id, self.dead_until_id)

    @property
    def params(self) -> dict[str, Any]:
        return {"until_id": self.until_id, "dead_until_id": self.dead_until_id}


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """What a look at some executions found."""

    last_id: str
    """The last one that was looked at: go on behind it."""
    going: Mapping[str, str]
    """The runs among them that go, as things stood, each with its job."""


class PruningStore:
    """Finds and deletes what is not kept any longer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def oldest(self, edge: Edge, *, after_id: str, limit: int) -> Slice | None:
        """Look at the oldest executions of all jobs behind one id; ``None`` when there are none up to the edge."""
        return await self._look(
            f"""
            SELECT {_FOUND} FROM executions e WHERE e.id > :after_id AND e.id <= :last_id ORDER BY e.id LIMIT :limit
            """,
            {"after_id": after_id, "last_id": edge.last_id, "limit": limit, **edge.params},
        )

    async def oldest_of(self, job_id: str, edge: Edge, *, after_id: str, limit: int) -> Slice | None:
        """``oldest`` for one job."""
        return await self._look(
            f"""
            SELECT {_FOUND} FROM executions e
            WHERE e.job_id = :job_id AND e.id > :after_id AND e.id <= :last_id ORDER BY e.id LIMIT :limit
            """,
            {"job_id": job_id, "after_id": after_id, "last_id": edge.last_id, "limit": limit, **edge.params},
        )

    async def _look(self, sql: str, params: Params) -> Slice | None:
        rows = await self._db.fetch_all(sql, params)
        if not rows:
            return None
        return Slice(last_id=rows[-1]["id"], going={row["run_id"]: row["job_id"] for row in rows if row["goes"]})

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

    async def prune(self, going: Mapping[str, str], edge: Edge) -> int:
        """Delete the runs, each given with its job, that still go; returns how many executions that were.

        Each job is told up to when its runs may be missing. Jobs that somebody is just changing are left for next time:
        whoever queues a run again has its job locked.
        """
        if not going:
            return 0

        async def prune(tx: Transaction) -> int:
            jobs, params = in_list(sorted(set(going.values())))
            locked = await tx.fetch_all(
                f"SELECT id FROM jobs WHERE id IN ({jobs}) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", params
            )
            free = {row["id"] for row in locked}
            run_ids = [run_id for run_id, job_id in going.items() if job_id in free]
            if not run_ids:
                return 0
            runs, params = in_list(run_ids)
            pruned = await tx.fetch_all(
                f"DELETE FROM executions AS e WHERE e.run_id IN ({runs}) AND {_GOES} = 1 "
                "RETURNING job_id, scheduled_at, is_scheduled",
                {**params, **edge.params},
            )
            await tx.execute_many(_MARK, _marks(pruned))
            return len(pruned)

        return await self._db.transaction(prune)


async def check_not_pruned(tx: Transaction, job_id: str, times: Sequence[Instant]) -> None:
    """Raises ``VALIDATION_ERROR`` if executions of these due times may have been pruned. The job must be locked."""
    row = await tx.fetch_one("SELECT pruned_until_at FROM jobs WHERE id = :id", {"id": job_id})
    until_at = row["pruned_until_at"] if row else None
    if until_at is not None and times and min(times) <= until_at:
        until = format_instant(until_at)
        raise invalid(
            "from", f"the record of runs up to {until} has been pruned, so which had none is lost: begin later"
        )


def _marks(pruned: Sequence[Row]) -> list[dict[str, str | int]]:
    """The newest scheduled time of each job among these; runs that a person started stand for none."""
    newest: dict[str, Instant] = {}
    for row in pruned:
        if row["is_scheduled"]:
            newest[row["job_id"]] = max(newest.get(row["job_id"], row["scheduled_at"]), row["scheduled_at"])
    return [{"job_id": job_id, "at": at} for job_id, at in sorted(newest.items())]
