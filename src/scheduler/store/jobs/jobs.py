"""Jobs, and the question that drives everything: which of them are due?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.accounts.audit import SERVICE, Action, Actor, AuditedAction, audited_job_change
from scheduler.domain.clock import Instant, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, ExecutionsEnded, JobPlanned, WorkReady
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.forecast import Plan
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Hold, Status
from scheduler.domain.runs.firing import Firing
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.accounts.quotas import over_quota
from scheduler.store.database import Database, Page, Params, Row, Transaction
from scheduler.store.ids import in_list
from scheduler.store.jobs.history import recall, remember
from scheduler.store.jobs.job_rows import COLUMNS, INSERT, TIMING_NAMES, UPDATE, decode_job, decode_timing, row_of
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.queue.auto_disable import FORGIVE
from scheduler.store.queue.holds import PAUSED_TOO_LONG, hold, release

_PLANNED = """
FROM jobs j JOIN members m ON m.account_id = j.account_id
WHERE m.user_id = :user AND (CAST(:account_id AS TEXT) IS NULL OR j.account_id = :account_id)
  AND j.next_run_at IS NOT NULL AND j.next_run_at < :until_at
"""
_LATEST = 5
_PLAN_COLUMNS = ", ".join(TIMING_NAMES)
# Jobs that will fire at the same times have one plan: the anchor counts for intervals only, and ``starts_at`` no more
# once there is a next run.
_ALIKE = {
    "anchor_at": "CASE WHEN LOWER(j.schedule) LIKE '%@every%' THEN j.anchor_at ELSE 0 END",
    "starts_at": "CAST(NULL AS BIGINT)",
}
_TIMING_PLANNED = ", ".join(f"{_ALIKE.get(name, f'j.{name}')} AS {name}" for name in TIMING_NAMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobAtHand:
    """A locked job with what firing needs to know about it."""

    job: Job
    webhook_ids: tuple[str, ...]
    """Its enabled webhooks, oldest first."""
    active: int
    """Executions queued or running; counted only when the job's overlap policy asks for it."""
    waiting: int
    """Those of them that wait behind another."""


class JobStore:
    """The jobs of all accounts. ``next_run_at`` is the only record of what fires next."""

    def __init__(self, db: Database, webhooks: WebhookStore, events: Events) -> None:
        self._db = db
        self._webhooks = webhooks
        self._events = events

    async def insert(
        self, entries: Sequence[tuple[Job, Sequence[Webhook]]], *, by: Actor | None = None, most: int = 0
    ) -> None:
        """Add jobs with their webhooks, all or none; ``by`` is who is on record for it, if not the service.

        Raises ``RATE_LIMITED`` when an account would have more than ``most`` of them; 0 is no limit.
        """
        wanted = Counter(job.account_id for job, _ in entries)

        async def insert(tx: Transaction) -> SchedulerError | None:
            if refusal := await over_quota(tx, "jobs", wanted, most=most):
                return refusal
            await tx.execute_many(INSERT, [row_of(job) for job, _ in entries])
            versions = [JobVersion.of(job, changed_by=_name(by)) for job, _ in entries]
            await remember(tx, versions, [job for job, _ in entries])
            done = [AuditedAction(action=Action.JOB_CREATED, subject_id=job.id) for job, _ in entries]
            await record_on_jobs(tx, by, [(audited.subject_id, audited) for audited in done])
            await self._webhooks.insert_many(tx, [webhook for _, webhooks in entries for webhook in webhooks], by=by)
            return None

        if refusal := await self._db.transaction(insert):
            raise refusal
        self._tell_planned([job for job, _ in entries])

    async def get(self, job_id: str) -> Job | None:
        row = await self._db.fetch_one(f"SELECT {COLUMNS} FROM jobs j WHERE j.id = :id", {"id": job_id})
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
            f"SELECT {COLUMNS} {scope} ORDER BY j.id LIMIT :limit OFFSET :skip",
            {**params, "limit": limit, "skip": skip},
        )
        counted = await self._db.fetch_all(f"SELECT COUNT(*) AS n {scope}", params)
        return Page([decode_job(row) for row in rows], counted[0]["n"])

    async def soonest(self, user: str, until_at: Instant, *, account_id: str | None = None, limit: int) -> list[Job]:
        """The jobs of the accounts ``user`` belongs to that run before ``until_at``, soonest first."""
        rows = await self._db.fetch_all(
            f"SELECT {COLUMNS} {_PLANNED} ORDER BY j.next_run_at LIMIT :limit",
            {"user": user, "until_at": until_at, "account_id": account_id, "limit": limit},
        )
        return [decode_job(row) for row in rows]

    async def plans(
        self, user: str, now: Instant, until_at: Instant, *, account_id: str | None = None, limit: int
    ) -> list[Plan]:
        """What the jobs of the accounts ``user`` belongs to have planned before ``until_at``, alike ones as one."""
        rows = await self._db.fetch_all(
            f"""
            SELECT {_PLAN_COLUMNS}, from_at, runs_left, COUNT(*) AS jobs FROM (
              SELECT {_TIMING_PLANNED}, CASE WHEN j.next_run_at < :now THEN :now ELSE j.next_run_at END AS from_at,
                j.max_runs - j.run_count AS runs_left
              {_PLANNED}
            ) planned
            GROUP BY {_PLAN_COLUMNS}, from_at, runs_left ORDER BY from_at LIMIT :limit
            """,
            {"user": user, "now": now, "until_at": until_at, "account_id": account_id, "limit": limit},
        )
        return [
            Plan(timing=decode_timing(row), from_at=row["from_at"], runs_left=row["runs_left"], jobs=row["jobs"])
            for row in rows
        ]

    async def change(self, job_id: str, change: Callable[[Job], Job], *, by: Actor | None = None) -> Job | None:
        """Read, apply ``change``, write, in one transaction; ``None`` when there is no such job.

        ``by`` is who is on record for it, if not the service.

        Pausing holds what is queued; enabling releases it, unless it has grown older than ``max_age_seconds``, and
        forgives the runs that failed before.
        """

        async def update(tx: Transaction) -> tuple[Job, int] | None:
            before = await self.lock(tx, job_id)
            if before is None:
                return None
            after = change(before)
            await tx.execute(UPDATE, row_of(after))
            audited = audited_job_change(before, after)
            await record_on_jobs(tx, by, [(job_id, audited)] if audited else [])
            version = JobVersion.of(after, changed_by=_name(by))
            if not version.plans_like(JobVersion.of(before, changed_by=_name(by))):
                await remember(tx, [version], [after])
            if before.enabled and not after.enabled and after.disabled_by is None:
                await hold(tx, job_id)
            if not after.enabled or before.enabled:
                return after, 0
            await tx.execute(FORGIVE, {"job_id": job_id})
            deadline = after.updated_at - seconds(after.retry.max_age_seconds)
            return after, await release(tx, job_id, after.updated_at, deadline=deadline)

        changed = await self._db.transaction(update)
        if changed is None:
            return None
        job, skipped = changed
        if skipped:
            self._events.tell(ExecutionsEnded(status=Status.SKIPPED, count=skipped, cause=PAUSED_TOO_LONG))
        self._tell_planned([job])
        if job.enabled:
            self._events.tell(WorkReady())  # what was held may have been released
        return job

    async def delete(self, job_id: str, *, by: Actor | None = None) -> bool:
        """Delete the job with its webhooks and executions; False when there is no such job."""

        async def delete(tx: Transaction) -> bool:
            await record_on_jobs(tx, by, [(job_id, AuditedAction(action=Action.JOB_DELETED, subject_id=job_id))])
            return await tx.fetch_one("DELETE FROM jobs WHERE id = :id RETURNING id", {"id": job_id}) is not None

        return await self._db.transaction(delete)

    async def lock(self, tx: Transaction, job_id: str) -> Job | None:
        """The job as this transaction sees it, safe from other writers until it ends."""
        row = await tx.fetch_one(
            f"SELECT {COLUMNS} FROM jobs j WHERE j.id = :id FOR NO KEY UPDATE",
            {"id": job_id},
        )
        return decode_job(row) if row else None

    async def pruned_until_at(self, job_id: str) -> Instant | None:
        """The newest scheduled time whose run was pruned; ``None`` while all are on record."""
        row = await self._db.fetch_one("SELECT pruned_until_at FROM jobs WHERE id = :id", {"id": job_id})
        return row["pruned_until_at"] if row else None

    async def next_due_at(self) -> Instant | None:
        """When the next job is due; ``None`` while nothing is planned."""
        row = await self._db.fetch_one("SELECT MIN(next_run_at) AS due_at FROM jobs WHERE next_run_at IS NOT NULL")
        return row["due_at"] if row else None

    async def lock_due(self, tx: Transaction, now: Instant, limit: int) -> list[JobAtHand]:
        """Up to ``limit`` jobs with ``next_run_at`` ≤ ``now``, locked until the end of ``tx``.

        The most overdue first. When there are too many of them, a fifth are those that have just come due, so that
        thousands due at once do not delay all who come after them.
        """
        latest = limit // _LATEST
        found = await self._lock_at_hand(tx, self._due("ORDER BY next_run_at"), {"now": now, "limit": limit - latest})
        if len(found) < limit - latest or not latest:
            return found
        known = {one.job.id for one in found}
        late = await self._lock_at_hand(tx, self._due("ORDER BY next_run_at DESC"), {"now": now, "limit": latest})
        return [*(one for one in late if one.job.id not in known), *found]

    def _due(self, order: str) -> str:
        return f"""
            SELECT * FROM jobs WHERE next_run_at IS NOT NULL AND next_run_at <= :now
            {order} LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
        """

    async def lock_one(self, tx: Transaction, job_id: str, *, count_active: bool = False) -> JobAtHand | None:
        """One job, due or not, locked until the transaction ends; ``count_active`` counts whatever its policy."""
        one = "SELECT * FROM jobs WHERE id = :id FOR NO KEY UPDATE"
        found = await self._lock_at_hand(tx, one, {"id": job_id}, count_active=count_active)
        return found[0] if found else None

    async def _lock_at_hand(
        self, tx: Transaction, jobs: str, params: Params, *, count_active: bool = False
    ) -> list[JobAtHand]:
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
            SELECT {COLUMNS}, w.id AS webhook_id,
              CASE WHEN {uncounted} THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e WHERE e.job_id = j.id AND e.status IN ('queued', 'running')
              ) END AS active,
              CASE WHEN {uncounted} THEN 0 ELSE (
                SELECT COUNT(*) FROM executions e
                WHERE e.job_id = j.id AND e.status = 'queued' AND e.held = {Hold.BUFFERED}
              ) END AS waiting
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
            JobAtHand(job=decode_job(row), webhook_ids=tuple(webhook_ids), active=row["active"], waiting=row["waiting"])
            for row, webhook_ids in found.values()
        ]

    async def advance(self, tx: Transaction, firings: Sequence[Firing], now: Instant) -> None:
        """Write down what firing changed: when each job runs next, when it ran last, whether it is through."""
        await tx.execute_many(
            """
            UPDATE jobs SET next_run_at = :next_run_at, last_run_at = :last_run_at, run_count = :run_count,
              enabled = :enabled, disabled_by = :disabled_by, disabled_reason = :disabled_reason
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
        await remember(tx, [JobVersion.of(job, changed_by=SERVICE) for job in ended], ended)
        broken = [job.id for job in ended if job.disabled_by is not DisabledBy.THROUGH]
        done = [AuditedAction(action=Action.JOB_DISABLED, subject_id=job_id, changes=("enabled",)) for job_id in broken]
        await record_on_jobs(tx, Actor(name=SERVICE, at=now), [(audited.subject_id, audited) for audited in done])

    def _tell_planned(self, jobs: Sequence[Job]) -> None:
        due_at = min((job.next_run_at for job in jobs if job.next_run_at is not None), default=None)
        if due_at is not None:
            self._events.tell(JobPlanned(due_at=due_at))

    async def history(self, job_id: str) -> list[JobVersion]:
        """What the job was, from its creation on, oldest first."""
        return await recall(self._db, job_id)


def _name(by: Actor | None) -> str:
    return SERVICE if by is None else by.name
