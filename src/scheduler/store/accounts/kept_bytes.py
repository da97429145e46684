"""How many bytes each account keeps: a figure that is added to, and the count from the rows that corrects it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.domain.accounts.kept_bytes import JOB_BYTES, ROW_BYTES, Kept
from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Row, Transaction

_ADD = """
UPDATE accounts SET kept_bytes = kept_bytes + :total, kept_body_bytes = kept_body_bytes + :bodies
WHERE id = :id RETURNING id, kept_bytes, kept_body_bytes
"""
_SLICE = 200
_JOBS = 50


def _octets(*columns: str) -> str:
    """The expression for how many bytes these columns have together."""
    return " + ".join(f"COALESCE(OCTET_LENGTH({column}), 0)" for column in columns)


_OF_EXECUTIONS = f"""
SELECT MAX(s.id) AS last_id, CAST(SUM(s.size) AS BIGINT) AS total, CAST(SUM(s.body) AS BIGINT) AS bodies FROM (
  SELECT e.id,
    CASE WHEN e.finished_at <= :at THEN {_octets("e.response_body")} ELSE 0 END AS body,
    CASE WHEN e.finished_at <= :at THEN
      {ROW_BYTES} + {_octets("e.response_body", "e.response_headers", "e.warnings", "e.error", "e.reason")}
    ELSE 0 END AS size
  FROM executions e WHERE e.account_id = :account_id AND e.id > :after_id
  ORDER BY e.id LIMIT {_SLICE}
) s
"""
_OF_JOBS = f"""
SELECT MAX(s.id) AS last_id, CAST(SUM(s.size) AS BIGINT) AS total, 0 AS bodies FROM (
  SELECT j.id,
    {JOB_BYTES} + {_octets("j.name", "j.schedule", "j.retry", "j.note", "j.tags")}
    + {ROW_BYTES} * (SELECT COUNT(*) FROM job_history h WHERE h.job_id = j.id)
    + COALESCE((
      SELECT CAST(SUM(
        {ROW_BYTES} + {_octets("w.url", "w.headers", "w.query_params", "w.body_template", "w.success", "w.tls")}
      ) AS BIGINT) FROM webhooks w WHERE w.job_id = j.id
    ), 0) AS size
  FROM jobs j WHERE j.account_id = :account_id AND j.id > :after_id ORDER BY j.id LIMIT {_JOBS}
) s
"""
_OF_AUDIT = f"""
SELECT MAX(s.id) AS last_id, CAST({ROW_BYTES} * COUNT(*) AS BIGINT) AS total, 0 AS bodies FROM (
  SELECT a.id FROM audit a WHERE a.account_id = :account_id AND a.id > :after_id
  ORDER BY a.id LIMIT {_SLICE}
) s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAccount:
    """What an account keeps by its stored figure, and when that was last counted from its rows; 0: never."""

    id: str
    kept: Kept
    counted_at: Instant


class KeptBytesStore:
    """The figures of all accounts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, changes: Mapping[str, Kept]) -> dict[str, Kept]:
        """Add to the figures of these accounts; returns what they are then, of those that still exist."""

        async def add(tx: Transaction) -> dict[str, Kept]:
            found = {}
            for account_id, kept in sorted(changes.items()):
                row = await tx.fetch_one(_ADD, {"id": account_id, "total": kept.total, "bodies": kept.bodies})
                if row is not None:
                    found[account_id] = _kept(row)
            return found

        return await self._db.transaction(add)

    async def get(self, account_id: str) -> Kept | None:
        """The figure of one account; ``None`` for an unknown id."""
        row = await self._db.fetch_one(
            "SELECT kept_bytes, kept_body_bytes FROM accounts WHERE id = :id", {"id": account_id}
        )
        return _kept(row) if row else None

    async def over(self, limit: int) -> dict[str, Kept]:
        """The accounts that keep ``limit`` bytes or more."""
        rows = await self._db.fetch_all(
            "SELECT id, kept_bytes, kept_body_bytes FROM accounts WHERE kept_bytes >= :limit AND deleted_at IS NULL",
            {"limit": limit},
        )
        return {row["id"]: _kept(row) for row in rows}

    async def next_to_count(self, *, before_at: Instant, near: int, near_before_at: Instant) -> KeptAccount | None:
        """The account that is to be counted from its rows next.

        It was last counted up to ``before_at``, or up to ``near_before_at`` and keeps ``near`` bytes or more.
        """
        row = await self._db.fetch_one(
            """
            SELECT id, kept_bytes, kept_body_bytes, kept_counted_at FROM accounts
            WHERE deleted_at IS NULL AND kept_counted_at <= :near_before_at
              AND (kept_counted_at <= :before_at OR kept_bytes >= :near)
            ORDER BY kept_counted_at LIMIT 1
            """,
            {"before_at": before_at, "near": near, "near_before_at": near_before_at},
        )
        return KeptAccount(id=row["id"], kept=_kept(row), counted_at=row["kept_counted_at"]) if row else None

    async def slices(self, account_id: str, at: Instant) -> AsyncIterator[Kept]:
        """What the rows of an account keep, a few at a time; of its executions those that had ended by ``at``."""
        params: dict[str, Any] = {"account_id": account_id}
        for statement in (_OF_JOBS, _OF_AUDIT, _OF_EXECUTIONS):
            known = {**params, "at": at} if statement is _OF_EXECUTIONS else params
            after_id: str | None = ""
            while after_id is not None:
                (row,) = await self._db.fetch_all(statement, {**known, "after_id": after_id})
                after_id = row["last_id"]
                if after_id is not None:
                    yield Kept(total=row["total"], bodies=row["bodies"])

    async def correct(self, account: KeptAccount, counted: Kept, at: Instant) -> None:
        """Replace the figure that ``account`` had by what was ``counted``; what was added meanwhile stays added.

        Nothing happens when another node has counted it meanwhile, so that no error is taken off twice.
        """
        error = counted - account.kept

        async def correct(tx: Transaction) -> None:
            await tx.execute(
                """
                UPDATE accounts SET kept_bytes = kept_bytes + :total, kept_body_bytes = kept_body_bytes + :bodies,
                  kept_counted_at = :at
                WHERE id = :id AND kept_counted_at = :counted_at
                """,
                {
                    "id": account.id,
                    "counted_at": account.counted_at,
                    "total": error.total,
                    "bodies": error.bodies,
                    "at": at,
                },
            )

        await self._db.transaction(correct)


def _kept(row: Row) -> Kept:
    return Kept(total=row["kept_bytes"], bodies=row["kept_body_bytes"])
