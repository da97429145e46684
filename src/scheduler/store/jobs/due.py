"""Due jobs, for the engine: finds and locks them, and stores what firing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scheduler.domain.accounts.audit import SERVICE, Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Hold
from scheduler.domain.runs.firing import Firing
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Params, Row, Transaction
from scheduler.store.jobs.history import add_versions
from scheduler.store.jobs.job_table import IS_LIVE, JOBS
from scheduler.store.sql import in_list

_NEWEST_SHARE = 5
_STATE = ("webhook_id", "active", "waiting")
_decode_job = JOBS.decoder(len(_STATE))


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedJob:
    """A locked job, with the webhooks and counts that firing it takes."""

    job: Job
    webhook_ids: tuple[str, ...]
    """Its enabled webhooks, oldest first."""
    active: int
    """Executions queued or running; counted only when the job's overlap policy asks for it."""
    waiting: int
    """Those of them that are held until an earlier run has ended."""


class DueJobStore:
    """The jobs of all accounts, for the engine. A job is due when ``next_run_at`` is reached."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def next_due_at(self) -> Instant | None:
        """When the next job is due; ``None`` while nothing is planned."""
        row = await self._db.fetch_one("SELECT MIN(next_run_at) AS due_at FROM jobs WHERE next_run_at IS NOT NULL")
        return row["due_at"] if row else None

    async def lock_due(self, tx: Transaction, now: Instant, limit: int) -> list[LockedJob]:
        """Up to ``limit`` jobs with ``next_run_at`` ≤ ``now``, locked until the end of ``tx``.

        The most overdue first. When more are due, a fifth of them are those that came due last, so that thousands due
        at once do not delay all that come after them.
        """
        newest = limit // _NEWEST_SHARE
        found = await self._lock(tx, _due("next_run_at"), {"now": now, "limit": limit - newest})
        if len(found) < limit - newest or not newest:
            return found
        known = {locked.job.id for locked in found}
        last = await self._lock(tx, _due("next_run_at DESC"), {"now": now, "limit": newest})
        return [*(locked for locked in last if locked.job.id not in known), *found]

    async def lock_one(self, tx: Transaction, job_id: str, *, count_active: bool = False) -> LockedJob | None:
        """One job, due or not, locked until the end of ``tx``; ``count_active`` counts whatever its overlap policy."""
        one = f"SELECT * FROM jobs j WHERE j.id = :id AND {IS_LIVE} FOR NO KEY UPDATE"
        found = await self._lock(tx, one, {"id": job_id}, count_active=count_active)
        return found[0] if found else None

    async def _lock(self, tx: Transaction, jobs: str, params: Params, *, count_active: bool = False) -> list[LockedJob]:
        if self._db.is_shared:
            # Locked first and read then: a statement that waits for a lock counts what was there before it waited.
            locked = await tx.fetch_all(jobs, params)
            if not locked:
                return []
            placeholders, params = in_list(row["id"] for row in locked)
            jobs = f"SELECT * FROM jobs WHERE id IN ({placeholders})"
        uncounted = "1 = 0" if count_active else "j.overlap = 'allow'"
        rows = await tx.fetch_all(
            f"""
            SELECT w.id AS webhook_id,
              CASE WHEN {uncounted} THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e WHERE e.job_id = j.id AND e.status IN ('queued', 'running')
              ) END AS active,
              CASE WHEN {uncounted} THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e
                WHERE e.job_id = j.id AND e.status = 'queued' AND e.held = {Hold.BUFFERED}
              ) END AS waiting,
              {JOBS.columns("j")}
            FROM ({jobs}) j
            LEFT JOIN webhooks w ON w.job_id = j.id AND w.enabled = 1
            ORDER BY j.next_run_at, j.id, w.id
            """,
            params,
        )
        found: dict[str, tuple[Row, list[str]]] = {}
        for row in rows:
            _, webhook_ids = found.setdefault(row["id"], (row, []))
            if row["webhook_id"] is not None:
                webhook_ids.append(row["webhook_id"])
        return [
            LockedJob(
                job=_decode_job(row), webhook_ids=tuple(webhook_ids), active=row["active"], waiting=row["waiting"]
            )
            for row, webhook_ids in found.values()
        ]

    async def advance(self, tx: Transaction, firings: Sequence[Firing], now: Instant) -> None:
        """Store what firing changed: when each job runs next, when it ran last, whether it has ended."""
        await tx.execute_many(
            """
            UPDATE jobs SET next_run_at = :next_run_at, last_run_at = :last_run_at, run_count = :run_count,
              enabled = :enabled, disabled_by = :disabled_by, disabled_reason = :disabled_reason,
              one_off_ended_at = :one_off_ended_at
            WHERE id = :id
            """,
            [
                {
                    "id": firing.job.id,
                    "next_run_at": firing.next_run_at,
                    "last_run_at": firing.last_run_at,
                    "run_count": firing.run_count,
                    "enabled": int(firing.job.enabled and firing.ended_by is None),
                    "disabled_by": firing.ended_by or firing.job.disabled_by,
                    "disabled_reason": firing.end_reason or firing.job.disabled_reason,
                    "one_off_ended_at": now if firing.ends_one_off else firing.job.one_off_ended_at,
                }
                for firing in firings
            ],
        )
        ended = [
            replace(
                firing.job,
                enabled=False,
                disabled_by=firing.ended_by,
                disabled_reason=firing.end_reason,
                updated_at=now if firing.ends_behind is None else firing.ends_behind,
            )
            for firing in firings
            if firing.ended_by
        ]
        waiting = [firing for firing in firings if firing.waits_for is not None]
        versions = [JobVersion.of(job, changed_by=SERVICE) for job in ended] + list(map(_waiting_version, waiting))
        await add_versions(tx, versions, ended + [firing.job for firing in waiting])
        broken = [job.id for job in ended if job.disabled_by is not DisabledBy.THROUGH]
        done = [AuditedAction(action=Action.JOB_DISABLED, subject_id=job_id, changes=("enabled",)) for job_id in broken]
        await record_on_jobs(tx, Actor(name=SERVICE, at=now), [(audited.subject_id, audited) for audited in done])


def _waiting_version(firing: Firing) -> JobVersion:
    """From when on the due times of a job are unknown, and why."""
    since_at = firing.job.updated_at if firing.ends_behind is None else firing.ends_behind
    version = JobVersion.of(replace(firing.job, updated_at=since_at), changed_by=SERVICE)
    return replace(version, note=firing.waits_for)


def _due(order: str) -> str:
    return f"""
        SELECT * FROM jobs WHERE next_run_at IS NOT NULL AND next_run_at <= :now
        ORDER BY {order} LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    """
