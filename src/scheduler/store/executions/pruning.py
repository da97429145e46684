"""Pruning: deletes, in slices, runs that ended long ago or that are not among the newest of their job.

Ids are time-ordered, so the oldest rows come from the start of an index. A run is deleted with all of its attempts or
kept with all of them, depending on its newest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.errors import invalid
from scheduler.store.database import Database, Params, Row, Transaction
from scheduler.store.executions.dead_letters import STILL_DEAD
from scheduler.store.sql import in_list

# Is the run of attempt e to be deleted? A subquery with a limit is never turned into a join with the whole table.
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
    """Up to which execution ids, included, runs may be deleted; an empty id keeps all."""

    until_id: str
    dead_until_id: str

    @property
    def last_id(self) -> str:
        """No execution behind this id is deleted."""
        return max(self.until_id, self.dead_until_id)

    @property
    def params(self) -> dict[str, Any]:
        return {"until_id": self.until_id, "dead_until_id": self.dead_until_id}


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """What was found among some executions."""

    last_id: str
    """The last execution that was read: the next slice begins behind it."""
    going: Mapping[str, str]
    """The runs among them to be deleted, each with its job."""


class PruningStore:
    """Finds and deletes runs that retention does not keep."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def oldest(self, edge: Edge, *, after_id: str, limit: int) -> Slice | None:
        """The oldest executions of all jobs behind ``after_id``; ``None`` when there are none up to the edge."""
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
        """The next ``limit`` jobs, each with the id of its newest execution but ``kept``, if it has so many."""
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

    async def with_many_dead(self, *, after_account_id: str, kept: int, limit: int) -> list[tuple[str, str | None]]:
        """The next ``limit`` accounts, each with the id of its newest dead letter but ``kept``, if it has so many.

        Dead letters that were redriven do not count; they are looked for only where there are so many with them.
        """
        newest_but = """
            SELECT e.id FROM executions e WHERE e.account_id = a.id AND {}
            ORDER BY e.id DESC LIMIT 1 OFFSET :kept
        """
        rows = await self._db.fetch_all(
            f"""
            SELECT a.id, CASE WHEN ({newest_but.format("e.status = 'dead_letter'")}) IS NOT NULL
              THEN ({newest_but.format(STILL_DEAD)}) END AS until_id
            FROM accounts a WHERE a.id > :after_account_id ORDER BY a.id LIMIT :limit
            """,
            {"after_account_id": after_account_id, "kept": kept, "limit": limit},
        )
        return [(row["id"], row["until_id"]) for row in rows]

    async def oldest_dead_of(self, account_id: str, edge: Edge, *, after_id: str, limit: int) -> Slice | None:
        """``oldest`` for the dead letters of one account."""
        return await self._look(
            f"""
            SELECT {_FOUND} FROM executions e
            WHERE e.account_id = :account_id AND e.status = 'dead_letter' AND e.id > :after_id AND e.id <= :last_id
            ORDER BY e.id LIMIT :limit
            """,
            {"account_id": account_id, "after_id": after_id, "last_id": edge.last_id, "limit": limit, **edge.params},
        )

    async def prune(self, going: Mapping[str, str], edge: Edge) -> int:
        """Delete these runs, each given with its job, unless they are kept by now; returns how many executions.

        Each job gets the newest scheduled time that was deleted (``pruned_until_at``). Jobs that are locked by another
        transaction are left for the next time: a redrive locks the job of its run.
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
    """The newest scheduled time of each job among these; runs that a person started have none."""
    newest: dict[str, Instant] = {}
    for row in pruned:
        if row["is_scheduled"]:
            newest[row["job_id"]] = max(newest.get(row["job_id"], row["scheduled_at"]), row["scheduled_at"])
    return [{"job_id": job_id, "at": at} for job_id, at in sorted(newest.items())]
