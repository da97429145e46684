"""Deletes jobs and accounts in slices, so that no other write waits for long.

The first transaction marks what is deleted (``deleted_at``): from its commit on it is not shown, and nothing of it
fires or is delivered. It also deletes what has few rows. Of the rest ``sweep`` deletes a slice at a time, on any node,
until nothing is left: it finds what is marked anew each time, so an interrupted deletion is continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.events import AccountDeleted, CancelRequested, DeletionBegun, Events
from scheduler.domain.runs.execution import Status
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Params, Row, Transaction
from scheduler.store.jobs.job_table import IS_DELETED, IS_LIVE
from scheduler.store.sql import in_list

_MOST_JOBS = 200
"""Jobs that one transaction marks or removes."""
_MARKED_ACCOUNTS = "SELECT id FROM accounts WHERE deleted_at IS NOT NULL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What one transaction has deleted."""

    executions: int
    jobs: int
    is_done: bool
    """Is nothing left of the jobs that could be removed?"""


class DeletionStore:
    """Deletes jobs and accounts with all that they own. ``slice_size`` is how many rows one transaction deletes."""

    def __init__(self, db: Database, events: Events, *, slice_size: int = 250) -> None:
        self._db = db
        self._events = events
        self._slice_size = slice_size

    async def delete_job(self, job_id: str, now: Instant, *, by: Actor | None = None) -> bool:
        """Delete the job with its webhooks and executions; False when there is no such job."""

        async def delete(tx: Transaction) -> tuple[Sequence[Row], bool] | None:
            if not await _mark(tx, [job_id], now):
                return None
            await record_on_jobs(tx, by, [(job_id, AuditedAction(action=Action.JOB_DELETED, subject_id=job_id))])
            active = await self._delete_active(tx, [job_id])
            is_gone = (
                len(active) < self._slice_size and (await remove_jobs(tx, [job_id], most=self._slice_size)).is_done
            )
            return active, is_gone

        deleted = await self._db.transaction(delete)
        if deleted is None:
            return False
        active, is_gone = deleted
        await self._abort([job_id], active)
        if not is_gone:
            self._events.tell(DeletionBegun())
        return True

    async def delete_account(self, account_id: str, now: Instant, *, by: Actor) -> None:
        """Delete the account with its members, keys, jobs, their webhooks, their executions, and its audit."""

        async def delete(tx: Transaction) -> bool:
            params = {"id": account_id, "now": now}
            marked = "UPDATE accounts SET deleted_at = :now WHERE id = :id AND deleted_at IS NULL RETURNING id"
            if await tx.fetch_one(marked, params) is None:
                return False
            await tx.execute("DELETE FROM members WHERE account_id = :id", params)
            await tx.execute("DELETE FROM invitations WHERE account_id = :id", params)
            await tx.execute("DELETE FROM api_keys WHERE account_id = :id", params)
            return True

        if await self._db.transaction(delete):
            await self._mark_jobs_of(account_id, now)
            self._events.tell(AccountDeleted(account_id=account_id, by=by))
            self._events.tell(DeletionBegun())

    async def mark_jobs(self, now: Instant) -> None:
        """Mark the jobs of deleted accounts: all of them are, unless a process ended while it did that."""
        for row in await self._db.fetch_all(_MARKED_ACCOUNTS):
            await self._mark_jobs_of(row["id"], now)

    async def sweep(self) -> int | None:
        """Delete one slice of what is marked; returns how many executions it had, ``None`` when nothing is left.

        What another node is deleting counts as nothing.
        """
        marked = f"SELECT j.id FROM jobs j WHERE {IS_DELETED} UNION ALL {_MARKED_ACCOUNTS} LIMIT 1"
        if await self._db.fetch_one(marked) is None:
            return None

        async def sweep(tx: Transaction) -> int | None:
            jobs = await tx.fetch_all(
                f"SELECT j.id FROM jobs j WHERE {IS_DELETED} LIMIT :most FOR UPDATE SKIP LOCKED",
                {"most": _MOST_JOBS},
            )
            if jobs:
                return (await remove_jobs(tx, [row["id"] for row in jobs], most=self._slice_size)).executions
            account = await tx.fetch_one(f"{_MARKED_ACCOUNTS} LIMIT 1 FOR UPDATE SKIP LOCKED")
            return await self._remove_account(tx, account["id"]) if account else None

        return await self._db.transaction(sweep)

    async def _mark_jobs_of(self, account_id: str, now: Instant) -> None:
        after_id: str | None = ""
        while after_id is not None:
            after_id = await self._mark_some_of(account_id, now, after_id)

    async def _mark_some_of(self, account_id: str, now: Instant, after_id: str) -> str | None:
        """Mark the next jobs of an account; returns the last of them, ``None`` when there are no more."""
        rows = await self._db.fetch_all(
            f"""
            SELECT j.id FROM jobs j WHERE j.account_id = :account_id AND j.id > :after_id AND {IS_LIVE}
            ORDER BY j.id LIMIT :most
            """,
            {"account_id": account_id, "after_id": after_id, "most": _MOST_JOBS},
        )
        if not rows:
            return None
        job_ids: list[str] = [row["id"] for row in rows]

        async def mark(tx: Transaction) -> Sequence[Row]:
            await _mark(tx, job_ids, now)
            return await self._delete_active(tx, job_ids)

        await self._abort(job_ids, await self._db.transaction(mark))
        return job_ids[-1]

    async def _remove_account(self, tx: Transaction, account_id: str) -> int | None:
        """Delete a slice of its audit, or the account; ``None`` when a job was created while it was deleted."""
        params = {"id": account_id, "most": self._slice_size}
        audit = await tx.fetch_all(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE account_id = :id LIMIT :most) RETURNING id",
            params,
        )
        if len(audit) == self._slice_size:
            return 0
        gone = await tx.fetch_one(
            """
            DELETE FROM accounts WHERE id = :id AND NOT EXISTS (SELECT 1 FROM jobs WHERE account_id = :id) RETURNING id
            """,
            params,
        )
        return 0 if gone else None

    async def _delete_active(self, tx: Transaction, job_ids: Sequence[str]) -> Sequence[Row]:
        """Delete what is queued or running, a slice of it."""
        ids, params = in_list(job_ids)
        return await tx.fetch_all(
            f"""
            DELETE FROM executions WHERE id IN (
              SELECT e.id FROM executions e WHERE e.job_id IN ({ids}) AND e.status IN ('queued', 'running') LIMIT :most
            ) RETURNING id, status
            """,
            {**params, "most": self._slice_size},
        )

    async def _abort(self, job_ids: Sequence[str], deleted: Sequence[Row]) -> None:
        """Abort the deliveries of active executions that were ``deleted``, and delete and abort those that are left."""
        while True:
            for row in deleted:
                if row["status"] == Status.RUNNING:
                    self._events.tell(CancelRequested(execution_id=row["id"]))
            if len(deleted) < self._slice_size:
                return
            deleted = await self._db.transaction(lambda tx: self._delete_active(tx, job_ids))


async def remove_jobs(tx: Transaction, job_ids: Sequence[str], *, most: int) -> Removed:
    """Delete up to ``most`` executions of these jobs, then of their versions; the jobs, once they have no more.

    The jobs must be locked.
    """
    ids, params = in_list(job_ids)
    some = {**params, "most": most}
    executions = await _delete_some(tx, "executions", ids, some, order="id")
    if executions == most or await _delete_some(tx, "job_history", ids, some, order="changed_at") == most:
        return Removed(executions=executions, jobs=0, is_done=False)
    await tx.execute(f"DELETE FROM jobs WHERE id IN ({ids})", params)
    return Removed(executions=executions, jobs=len(job_ids), is_done=True)


async def _mark(tx: Transaction, job_ids: Sequence[str], now: Instant) -> bool:
    """Mark jobs as deleted and delete their webhooks, so that nothing is sent; False when none was there to mark."""
    ids, params = in_list(job_ids)
    marked = await tx.fetch_all(
        f"""
        UPDATE jobs AS j SET deleted_at = :now, enabled = 0, next_run_at = NULL
        WHERE j.id IN ({ids}) AND {IS_LIVE} RETURNING id
        """,
        {**params, "now": now},
    )
    await tx.execute(f"DELETE FROM webhooks WHERE job_id IN ({ids})", params)
    return bool(marked)


async def _delete_some(tx: Transaction, table: str, job_ids: str, params: Params, *, order: str) -> int:
    rows = await tx.fetch_all(
        # in the order of the index of the jobs: Postgres might look for the first rows in the table from its start
        f"""
        DELETE FROM {table} WHERE id IN (
          SELECT t.id FROM {table} t WHERE t.job_id IN ({job_ids}) ORDER BY t.job_id, t.{order} LIMIT :most
        ) RETURNING id
        """,
        params,
    )
    return len(rows)
