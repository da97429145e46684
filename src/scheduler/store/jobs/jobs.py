"""Jobs, for the API: creates, lists and changes them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

from scheduler.domain.accounts.audit import SERVICE, Action, Actor, AuditedAction, audited_job_change
from scheduler.domain.clock import Instant, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, ExecutionsEnded, JobPlanned, WorkReady
from scheduler.domain.jobs.forecast import Plan
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Status
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.accounts.quotas import jobs_over_quota
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.jobs.history import add_versions, read_versions
from scheduler.store.jobs.job_filter import JobFilter
from scheduler.store.jobs.job_table import IS_LIVE, JOBS, UPDATE_JOB, has_deleted_jobs
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.jobs.zones import ZoneStore
from scheduler.store.queue.auto_disable import RESET_FAILURES
from scheduler.store.queue.holds import PAUSED_TOO_LONG, hold, release
from scheduler.store.rows import Table
from scheduler.store.sql import select_page

_GET = f"SELECT {JOBS.columns('j')} FROM jobs j WHERE j.id = :id AND {IS_LIVE}"
_OF_USER = """
FROM jobs j JOIN members m ON m.account_id = j.account_id
WHERE m.user_id = :user AND (CAST(:account_id AS TEXT) IS NULL OR j.account_id = :account_id)
"""
_PLANNED = f"{_OF_USER} AND j.next_run_at IS NOT NULL AND j.next_run_at < :until_at"

_PLANS = Table(Plan, without=("jobs",))
_decode_plan = _PLANS.decoder(given=("jobs",))
_AS_PLANNED = {
    # Jobs that will fire at the same times share a plan: the anchor matters for intervals only, and ``starts_at`` no
    # longer once there is a next run.
    "anchor_at": "CASE WHEN LOWER(j.schedule) LIKE '%@every%' THEN j.anchor_at ELSE 0 END",
    "starts_at": "CAST(NULL AS BIGINT)",
    "from_at": "CASE WHEN j.next_run_at < :now THEN :now ELSE j.next_run_at END",
    "runs_left": "j.max_runs - j.run_count",
}
_PLANNED_COLUMNS = ", ".join(f"{_AS_PLANNED.get(name, f'j.{name}')} AS {name}" for name in _PLANS.names)


class JobStore:
    """The jobs of all accounts, for their users."""

    def __init__(self, db: Database, webhooks: WebhookStore, zones: ZoneStore, events: Events) -> None:
        self._db = db
        self._webhooks = webhooks
        self._zones = zones
        self._events = events

    async def insert(
        self,
        entries: Sequence[tuple[Job, Sequence[Webhook]]],
        *,
        by: Actor | None = None,
        per_account: int = 0,
        per_user: int = 0,
    ) -> None:
        """Add jobs with their webhooks, all or none; ``by`` is who creates them, ``None`` for the service itself.

        Raises ``RATE_LIMITED`` when an account would have more than ``per_account`` jobs, or the accounts that one user
        made more than ``per_user`` together; 0 is no limit.
        """
        wanted = Counter(job.account_id for job, _ in entries)

        async def insert(tx: Transaction) -> SchedulerError | None:
            if refusal := await jobs_over_quota(tx, wanted, per_account=per_account, per_user=per_user):
                return refusal
            await tx.execute_many(f"INSERT INTO jobs {JOBS.values()}", [JOBS.encode(job) for job, _ in entries])
            versions = [JobVersion.of(job, changed_by=_name(by)) for job, _ in entries]
            await add_versions(tx, versions, [job for job, _ in entries])
            done = [AuditedAction(action=Action.JOB_CREATED, subject_id=job.id) for job, _ in entries]
            await record_on_jobs(tx, by, [(audited.subject_id, audited) for audited in done])
            await self._webhooks.insert_many(tx, [webhook for _, webhooks in entries for webhook in webhooks], by=by)
            return None

        await self._zones.register(job.timing.timezone for job, _ in entries)
        if refusal := await self._db.transaction(insert):
            raise refusal
        self._tell_planned([job for job, _ in entries])

    async def get(self, job_id: str) -> Job | None:
        row = await self._db.fetch_one(_GET, {"id": job_id})
        return JOBS.decode(row) if row else None

    async def page(self, user: str, filter: JobFilter, *, skip: int, limit: int, after: str | None = None) -> Page[Job]:  # noqa: A002
        """The jobs of the accounts ``user`` belongs to, oldest first."""
        conditions, params = filter.conditions()
        if await has_deleted_jobs(self._db, user):
            conditions.append(IS_LIVE)
        return await select_page(
            self._db,
            JOBS.columns("j"),
            " AND ".join([_OF_USER, *conditions]),
            {"user": user, "account_id": filter.account_id, **params},
            order="j.id",
            skip=skip,
            limit=limit,
            after=after,
            decode=JOBS.decode,
        )

    async def soonest(self, user: str, until_at: Instant, *, account_id: str | None = None, limit: int) -> list[Job]:
        """The jobs of the accounts ``user`` belongs to that run before ``until_at``, soonest first."""
        rows = await self._db.fetch_all(
            f"SELECT {JOBS.columns('j')} {_PLANNED} ORDER BY j.next_run_at LIMIT :limit",
            {"user": user, "until_at": until_at, "account_id": account_id, "limit": limit},
        )
        return [JOBS.decode(row) for row in rows]

    async def count_waiting(self, user: str, *, account_id: str | None = None) -> int:
        """How many enabled jobs of the accounts ``user`` belongs to have no next time, as it cannot be computed."""
        row = await self._db.fetch_one(
            f"SELECT COUNT(*) AS n {_OF_USER} AND j.enabled = 1 AND j.next_run_at IS NULL",
            {"user": user, "account_id": account_id},
        )
        return row["n"] if row else 0

    async def plans(
        self, user: str, now: Instant, until_at: Instant, *, account_id: str | None = None, limit: int
    ) -> list[Plan]:
        """The runs until ``until_at`` of the jobs of the accounts ``user`` belongs to, grouped by equal times."""
        rows = await self._db.fetch_all(
            f"""
            SELECT {_PLANS.columns()}, COUNT(*) AS jobs FROM (SELECT {_PLANNED_COLUMNS} {_PLANNED}) planned
            GROUP BY {_PLANS.columns()} ORDER BY from_at LIMIT :limit
            """,
            {"user": user, "now": now, "until_at": until_at, "account_id": account_id, "limit": limit},
        )
        return [_decode_plan(row, row["jobs"]) for row in rows]

    async def change(self, job_id: str, change: Callable[[Job], Job], *, by: Actor | None = None) -> Job | None:
        """Read a job, apply ``change``, write it, in one transaction; ``None`` when there is no such job.

        ``by`` is who changes it, ``None`` for the service itself. Pausing holds the executions that are queued.
        Enabling releases them, skips those older than ``max_age_seconds``, and resets the count of failed runs.
        """

        async def update(tx: Transaction) -> tuple[Job, int] | None:
            before = await self.lock(tx, job_id)
            if before is None:
                return None
            after = change(before)
            await tx.execute(UPDATE_JOB, JOBS.encode(after))
            audited = audited_job_change(before, after)
            await record_on_jobs(tx, by, [(job_id, audited)] if audited else [])
            version = JobVersion.of(after, changed_by=_name(by))
            if not version.plans_like(JobVersion.of(before, changed_by=_name(by))):
                await add_versions(tx, [version], [after])
            if before.enabled and not after.enabled and after.disabled_by is None:
                await hold(tx, job_id)
            if not after.enabled or before.enabled:
                return after, 0
            await tx.execute(RESET_FAILURES, {"job_id": job_id})
            deadline = after.updated_at - seconds(after.retry.max_age_seconds)
            return after, await release(tx, job_id, after.updated_at, deadline=deadline)

        changed = await self._db.transaction(update)
        if changed is None:
            return None
        job, skipped = changed
        with contextlib.suppress(SchedulerError):  # the change is committed; the next start registers the zone
            await self._zones.register([job.timing.timezone])
        if skipped:
            self._events.tell(ExecutionsEnded(status=Status.SKIPPED, count=skipped, cause=PAUSED_TOO_LONG))
        self._tell_planned([job])
        if job.enabled:
            self._events.tell(WorkReady())  # what was held may have been released
        return job

    async def lock(self, tx: Transaction, job_id: str) -> Job | None:
        """The job, locked until ``tx`` ends; ``None`` when there is no such job."""
        row = await tx.fetch_one(f"{_GET} FOR NO KEY UPDATE", {"id": job_id})
        return JOBS.decode(row) if row else None

    async def pruned_until_at(self, job_id: str) -> Instant | None:
        """The newest scheduled time whose run was pruned; ``None`` when none was."""
        row = await self._db.fetch_one("SELECT pruned_until_at FROM jobs WHERE id = :id", {"id": job_id})
        return row["pruned_until_at"] if row else None

    async def history(self, job_id: str) -> list[JobVersion]:
        """The versions of a job from its creation on, oldest first."""
        return await read_versions(self._db, job_id)

    def _tell_planned(self, jobs: Sequence[Job]) -> None:
        due_at = min((job.next_run_at for job in jobs if job.next_run_at is not None), default=None)
        if due_at is not None:
            self._events.tell(JobPlanned(due_at=due_at))


def _name(by: Actor | None) -> str:
    return SERVICE if by is None else by.name
