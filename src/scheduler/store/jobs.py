"""Jobs, and the question that drives everything: which of them are due?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.job import Job
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.webhook import Webhook
from scheduler.store.database import Database, Page, Row, Transaction
from scheduler.store.webhooks import WebhookStore

_NAMES = (
    "id", "account_id", "name", "schedule", "type", "timezone", "enabled", "dst_policy", "day_match", "anchor_at",
    "starts_at", "ends_at", "max_runs", "jitter_s", "spread_s", "catchup", "catchup_window_s", "catchup_limit",
    "overlap", "retry", "delivery", "auto_disable", "note", "tags", "disabled_reason", "run_count", "last_run_at",
    "next_run_at", "created_at", "updated_at",
)  # fmt: skip
_COLUMNS = ", ".join(f"j.{name}" for name in _NAMES)
_INSERT = f"""
INSERT INTO jobs ({", ".join(_NAMES)}) VALUES ({", ".join(f":{name}" for name in _NAMES)})
"""
_UPDATE = f"""
UPDATE jobs SET {", ".join(f"{name} = :{name}" for name in _NAMES if name not in ("id", "account_id", "created_at"))}
WHERE id = :id
"""

_HOLD = "UPDATE executions SET held = 1 WHERE job_id = :job_id AND status = 'queued' AND held = 0"
_RELEASE = "UPDATE executions SET held = 0 WHERE job_id = :job_id AND status = 'queued' AND held = 1"
_EXPIRE = """
UPDATE executions SET status = 'skipped', reason = 'paused for longer than max_age_seconds', finished_at = :now
WHERE job_id = :job_id AND status = 'queued' AND held = 1 AND budget_at < :deadline
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class DueJob:
    """A job whose time has come, with what firing needs to know about it."""

    job: Job
    webhook_ids: tuple[str, ...]
    """Its enabled webhooks, oldest first."""
    active: int
    """Executions queued or running; counted only when the job's overlap policy asks for it."""
    waiting: int
    """Those of them that wait behind another."""


class JobStore:
    """The jobs of all accounts. ``next_run_at`` is the only record of what fires next."""

    def __init__(self, db: Database, webhooks: WebhookStore) -> None:
        self._db = db
        self._webhooks = webhooks

    async def insert(self, entries: Sequence[tuple[Job, Sequence[Webhook]]]) -> None:
        """Add jobs with their webhooks, all or none."""

        async def insert(tx: Transaction) -> None:
            await tx.execute_many(_INSERT, [_row_of(job) for job, _ in entries])
            await self._webhooks.insert_many(tx, [webhook for _, webhooks in entries for webhook in webhooks])

        await self._db.transaction(insert)

    async def get(self, job_id: str) -> Job | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} FROM jobs j WHERE j.id = :id", {"id": job_id})
        return decode_job(row) if row else None

    async def page(
        self, user: str, *, account_id: str | None = None, enabled: bool | None = None, skip: int, limit: int
    ) -> Page[Job]:
        """The jobs of the accounts ``user`` belongs to, oldest first."""
        scope = """
            FROM jobs j JOIN members m ON m.account_id = j.account_id
            WHERE m.user_id = :user AND (CAST(:account_id AS TEXT) IS NULL OR j.account_id = :account_id)
              AND (CAST(:enabled AS SMALLINT) IS NULL OR j.enabled = :enabled)
        """
        params = {"user": user, "account_id": account_id, "enabled": None if enabled is None else int(enabled)}
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} {scope} ORDER BY j.id LIMIT :limit OFFSET :skip",
            {**params, "limit": limit, "skip": skip},
        )
        counted = await self._db.fetch_all(f"SELECT COUNT(*) AS n {scope}", params)
        return Page([decode_job(row) for row in rows], counted[0]["n"])

    async def change(self, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """Read, apply ``change``, write, in one transaction; ``None`` when there is no such job.

        Pausing holds what is queued; enabling releases it, unless it has grown older than ``max_age_seconds``.
        """

        async def update(tx: Transaction) -> Job | None:
            before = await self.lock(tx, job_id)
            if before is None:
                return None
            after = change(before)
            await tx.execute(_UPDATE, _row_of(after))
            if before.enabled and not after.enabled:
                await tx.execute(_HOLD, {"job_id": job_id})
            if after.enabled and not before.enabled:
                deadline = after.updated_at - seconds(after.retry.max_age_seconds)
                await tx.execute(_EXPIRE, {"job_id": job_id, "now": after.updated_at, "deadline": deadline})
                await tx.execute(_RELEASE, {"job_id": job_id})
            return after

        return await self._db.transaction(update)

    async def delete(self, job_id: str) -> bool:
        """Delete the job with its webhooks and executions; False when there is no such job."""

        async def delete(tx: Transaction) -> bool:
            return await tx.fetch_one("DELETE FROM jobs WHERE id = :id RETURNING id", {"id": job_id}) is not None

        return await self._db.transaction(delete)

    async def lock(self, tx: Transaction, job_id: str) -> Job | None:
        """The job as this transaction sees it, safe from other writers until it ends."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM jobs j WHERE j.id = :id {self._lock_clause}",
            {"id": job_id},
        )
        return decode_job(row) if row else None

    async def next_due_at(self) -> Instant | None:
        """When the next job is due; ``None`` while nothing is planned."""
        row = await self._db.fetch_one("SELECT MIN(next_run_at) AS due_at FROM jobs WHERE next_run_at IS NOT NULL")
        return row["due_at"] if row else None

    async def lock_due(self, tx: Transaction, now: Instant, limit: int, *, job_id: str | None = None) -> list[DueJob]:
        """Up to ``limit`` jobs with ``next_run_at`` ≤ ``now``, most overdue first, locked until the transaction ends.

        With ``job_id`` that job alone, if it is due.
        """
        one = "" if job_id is None else "AND id = :job_id"
        rows = await tx.fetch_all(
            f"""
            SELECT {_COLUMNS}, w.id AS webhook_id,
              CASE WHEN j.overlap = 'allow' THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e WHERE e.job_id = j.id AND e.status IN ('queued', 'running')
              ) END AS active,
              CASE WHEN j.overlap <> 'buffer_one' THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e WHERE e.job_id = j.id AND e.status = 'queued' AND e.held = 2
              ) END AS waiting
            FROM (
              SELECT * FROM jobs WHERE next_run_at IS NOT NULL AND next_run_at <= :now {one}
              ORDER BY next_run_at LIMIT :limit {self._db.skip_locked}
            ) j
            LEFT JOIN webhooks w ON w.job_id = j.id AND w.enabled = 1
            ORDER BY j.next_run_at, j.id, w.id
            """,
            {"now": now, "limit": limit, "job_id": job_id},
        )
        due: dict[str, tuple[Row, list[str]]] = {}
        for row in rows:
            _, webhook_ids = due.setdefault(row["id"], (row, []))
            if row["webhook_id"] is not None:
                webhook_ids.append(row["webhook_id"])
        return [
            DueJob(job=decode_job(row), webhook_ids=tuple(webhook_ids), active=row["active"], waiting=row["waiting"])
            for row, webhook_ids in due.values()
        ]

    async def advance(self, tx: Transaction, jobs: Sequence[Job]) -> None:
        """Write down what firing changed: when each job runs next, when it ran last, whether it is through."""
        await tx.execute_many(
            """
            UPDATE jobs SET next_run_at = :next_run_at, last_run_at = :last_run_at, run_count = :run_count,
              enabled = :enabled, disabled_reason = :disabled_reason
            WHERE id = :id
            """,
            [
                {
                    "id": job.id,
                    "next_run_at": job.next_run_at,
                    "last_run_at": job.last_run_at,
                    "run_count": job.run_count,
                    "enabled": int(job.enabled),
                    "disabled_reason": job.disabled_reason,
                }
                for job in jobs
            ],
        )

    @property
    def _lock_clause(self) -> str:
        return "FOR UPDATE" if self._db.skip_locked else ""


def decode_policy(text: str) -> RetryPolicy:
    """The retry policy of a job's ``retry`` column."""
    return _cached_policy(text)


def decode_job(row: Row) -> Job:
    """The job of a row that has all of its columns."""
    fields = {name: row[name] for name in _NAMES}
    fields["enabled"] = bool(fields["enabled"])
    fields["auto_disable"] = bool(fields["auto_disable"])
    fields["retry"] = _cached_policy(fields["retry"])
    fields["tags"] = tuple(json.loads(fields["tags"]))
    return Job(**fields)


@lru_cache(maxsize=1024)
def _cached_policy(text: str) -> RetryPolicy:
    return RetryPolicy.from_mapping(json.loads(text))


def _row_of(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(job, name) for name in _NAMES}
    fields["enabled"] = int(job.enabled)
    fields["auto_disable"] = int(job.auto_disable)
    fields["retry"] = json.dumps(job.retry.to_mapping(), sort_keys=True)
    fields["tags"] = json.dumps(list(job.tags))
    return fields
