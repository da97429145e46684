"""Executions for the API: one, a page, counts, and cancelling one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.events import CancelRequested, Events, ExecutionsEnded
from scheduler.domain.runs.error_code import Failure
from scheduler.domain.runs.execution import Execution, Status
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.executions.reasons import with_reasons
from scheduler.store.ids import first_id
from scheduler.store.jobs.job_table import IS_DELETED, IS_LIVE, has_deleted_jobs
from scheduler.store.rows import LIST, MAP, Table
from scheduler.store.sql import containing, in_list, select_page

RENAMED = {"trigger": "trigger_kind"}
EXECUTIONS = Table(Execution, codecs={"response_headers": MAP, "warnings": LIST}, renamed=RENAMED)
_COLUMNS = EXECUTIONS.columns("e")
_MINE = "e.account_id IN (SELECT account_id FROM members WHERE user_id = :user)"
_MINE_TO_CHANGE = "e.account_id IN (SELECT account_id FROM members WHERE user_id = :user AND role <> 'viewer')"
# What is shown of a dead letter is searched: its own error and those of the attempts before.
_ERROR_OF_RUN = """EXISTS (
  SELECT 1 FROM executions p
  WHERE p.run_id = e.run_id AND p.attempt <= e.attempt AND LOWER(p.error) LIKE LOWER(:error) ESCAPE '!'
)"""
_JOB_IS_LIVE = f"e.job_id NOT IN (SELECT j.id FROM jobs j WHERE {IS_DELETED})"
_OF_LIVE_JOB = f"executions e JOIN jobs j ON j.id = e.job_id AND {IS_LIVE}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionFilter:
    """Which executions; a field that is ``None`` does not narrow. ``since_at`` is included, ``until_at`` is not."""

    account_id: str | None = None
    job_id: str | None = None
    webhook_id: str | None = None
    run_id: str | None = None
    statuses: tuple[Status, ...] | None = None
    error: str | None = None
    """A part of the error of this attempt or of one before it in its run."""
    failure: Failure | None = None
    """The code; of ``HTTP`` without a status, those with any."""
    since_at: Instant | None = None
    until_at: Instant | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Counts over the accounts of one user."""

    jobs_total: int
    jobs_enabled: int
    executions: Mapping[Status, int]
    avg_duration_ms: float


class ExecutionStore:
    """The executions of all accounts, for the API."""

    def __init__(self, db: Database, events: Events) -> None:
        self._db = db
        self._events = events

    async def get(self, execution_id: str) -> Execution | None:
        row = await self._db.fetch_one(
            f"SELECT {_COLUMNS} FROM {_OF_LIVE_JOB} WHERE e.id = :id",
            {"id": execution_id},
        )
        return (await with_reasons(self._db, [EXECUTIONS.decode(row)]))[0] if row else None

    async def account_of_run(self, run_id: str) -> str | None:
        """The account that owns a run; ``None`` for an unknown id."""
        row = await self._db.fetch_one(
            f"SELECT e.account_id FROM {_OF_LIVE_JOB} WHERE e.run_id = :run_id LIMIT 1", {"run_id": run_id}
        )
        return row["account_id"] if row else None

    async def page(
        self,
        user: str,
        filter: ExecutionFilter,  # noqa: A002
        *,
        skip: int,
        limit: int,
        after: str | None = None,
    ) -> Page[Execution]:
        """The executions of the accounts of ``user``, newest first; the times of the filter are those of creation."""
        conditions, params = conditions_of(filter, time_column="e.created_at")
        mine = await mine_of(self._db, user)
        return await fetch_page(
            self._db, [mine, *conditions], {"user": user, **params}, skip=skip, limit=limit, after=after
        )

    async def standing_for(self, job_id: str, at: Instant) -> list[Execution]:
        """The last attempts of the scheduled runs of a job that stand for the due time ``at``, skipped ones included.

        A row is created when its time is due or later, so older rows need not be read.
        """
        rows = await self._db.fetch_all(
            f"""
            SELECT {_COLUMNS} FROM executions e
            WHERE e.job_id = :job_id AND e.id >= :first_id
              AND e.scheduled_at >= :at AND COALESCE(e.covers_from, e.scheduled_at) <= :at
              AND e.is_scheduled = 1
              AND NOT EXISTS (
                SELECT 1 FROM executions n WHERE n.run_id = e.run_id AND n.attempt = e.attempt + 1
                  AND COALESCE(n.covers_from, n.scheduled_at) <= :at
              )
            ORDER BY e.id
            """,
            {"job_id": job_id, "at": at, "first_id": first_id(at)},
        )
        return await with_reasons(self._db, [EXECUTIONS.decode(row) for row in rows])

    async def cancel(
        self, execution_id: str, now: Instant, *, reason: str, by: Actor | None = None
    ) -> Execution | None:
        """End an execution that is queued or running as ``cancelled``; ``None`` when it already ended."""

        async def cancel(tx: Transaction) -> Execution | None:
            row = await tx.fetch_one(
                f"""
                UPDATE executions AS e SET status = 'cancelled', reason = :reason, finished_at = :now
                WHERE e.id = :id AND e.status IN ('queued', 'running') RETURNING {EXECUTIONS.columns()}
                """,
                {"id": execution_id, "reason": reason, "now": now},
            )
            if row is None:
                return None
            audited = AuditedAction(action=Action.EXECUTION_CANCELLED, subject_id=execution_id)
            await record_on_jobs(tx, by, [(row["job_id"], audited)])
            return EXECUTIONS.decode(row)

        cancelled = await self._db.transaction(cancel)
        if cancelled is not None:
            self._events.tell(CancelRequested(execution_id=execution_id))
            self._events.tell(ExecutionsEnded(status=Status.CANCELLED, count=1, cause=reason, executions=(cancelled,)))
        return cancelled

    async def summary(self, user: str) -> Summary:
        """The counts behind the JSON metrics, over the accounts ``user`` belongs to."""
        jobs = await self._db.fetch_all(
            f"""
            SELECT COUNT(*) AS n, COALESCE(SUM(j.enabled), 0) AS enabled
            FROM jobs j JOIN members m ON m.account_id = j.account_id WHERE m.user_id = :user AND {IS_LIVE}
            """,
            {"user": user},
        )
        rows = await self._db.fetch_all(
            f"""
            SELECT e.status, COUNT(*) AS n, SUM(e.duration_ms) AS total_ms, COUNT(e.duration_ms) AS timed
            FROM executions e WHERE {await mine_of(self._db, user)} GROUP BY e.status
            """,
            {"user": user},
        )
        timed = sum(row["timed"] for row in rows)
        return Summary(
            jobs_total=jobs[0]["n"],
            jobs_enabled=jobs[0]["enabled"],
            executions=dict.fromkeys(Status, 0) | {Status(row["status"]): row["n"] for row in rows},
            avg_duration_ms=float(sum(row["total_ms"] or 0 for row in rows) / timed) if timed else 0.0,
        )

    async def counts(self) -> dict[Status, int]:
        """How many executions are queued, running and dead, over all accounts; for operators."""
        # Each condition is word for word that of a partial index; otherwise the index would not be used.
        dead = "status = 'dead_letter'"
        if await self._db.fetch_one(f"SELECT 1 AS one FROM jobs j WHERE {IS_DELETED} LIMIT 1"):
            dead += f" AND {_JOB_IS_LIVE}"
        rows = [
            *await self._db.fetch_all(
                "SELECT status, COUNT(*) AS n FROM executions WHERE status IN ('queued', 'running') GROUP BY status"
            ),
            *await self._db.fetch_all(f"SELECT status, COUNT(*) AS n FROM executions e WHERE {dead} GROUP BY status"),
        ]
        return {Status(row["status"]): row["n"] for row in rows}


async def mine_of(db: Database, user: str, *, to_change: bool = False) -> str:
    """The condition for the executions ``e`` that ``:user`` sees: those of their accounts, but for deleted jobs.

    ``to_change``: only those of accounts in which the user may change something.
    """
    mine = _MINE_TO_CHANGE if to_change else _MINE
    return f"{mine} AND {_JOB_IS_LIVE}" if await has_deleted_jobs(db, user) else mine


async def fetch_page(
    db: Database, conditions: list[str], params: dict[str, Any], *, skip: int, limit: int, after: str | None
) -> Page[Execution]:
    """One page of the executions that meet all conditions, newest first."""
    page = await select_page(
        db,
        _COLUMNS,
        f"FROM executions e WHERE {' AND '.join(conditions)}",
        params,
        order="e.id DESC",  # ids are time-ordered, so the newest come from the end of an index without sorting
        skip=skip,
        limit=limit,
        after=after,
        decode=EXECUTIONS.decode,
    )
    return replace(page, items=await with_reasons(db, page.items))


def conditions_of(filter: ExecutionFilter, *, time_column: str) -> tuple[list[str], dict[str, Any]]:  # noqa: A002
    """The SQL conditions for the fields of the filter that are set; no others, so that each can use its index."""
    wanted: list[tuple[str, str, Any]] = [
        ("e.account_id = :account_id", "account_id", filter.account_id),
        ("e.job_id = :job_id", "job_id", filter.job_id),
        ("e.run_id = :run_id", "run_id", filter.run_id),
        ("e.webhook_id = :webhook_id", "webhook_id", filter.webhook_id),
        ("e.error_code = :error_code", "error_code", filter.failure.code.value if filter.failure else None),
        ("e.response_code = :response_code", "response_code", filter.failure.response_code if filter.failure else None),
        (_ERROR_OF_RUN, "error", filter.error and containing(filter.error)),
        (f"{time_column} >= :since_at", "since_at", filter.since_at),
        (f"{time_column} < :until_at", "until_at", filter.until_at),
    ]
    present = [(condition, name, value) for condition, name, value in wanted if value is not None]
    conditions, params = [condition for condition, _, _ in present], {name: value for _, name, value in present}
    if filter.statuses:
        statuses, found = in_list((status.value for status in filter.statuses), name="status")
        conditions.append(f"e.status IN ({statuses})")
        params |= found
    return conditions, params
