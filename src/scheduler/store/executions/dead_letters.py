"""Dead letters: runs that are not tried again; they are listed, redriven (queued again) or purged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.events import Events, WorkReady
from scheduler.domain.runs.execution import Execution, Status
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.executions.executions import (
    EXECUTIONS,
    ExecutionFilter,
    conditions_of,
    fetch_page,
    mine_of,
)
from scheduler.store.ids import new_id
from scheduler.store.queue.attempts import next_attempt

# A dead letter that was redriven has a later attempt and is not listed, redriven or purged any more.
STILL_DEAD = """e.status = 'dead_letter' AND NOT EXISTS (
  SELECT 1 FROM executions n WHERE n.run_id = e.run_id AND n.attempt = e.attempt + 1
)"""
"""The condition for the dead letters ``e`` of runs that have no later attempt."""
_REDRIVE = f"""
{next_attempt("redrive", available_at=":now", budget_from=":attempt", budget_at=":now")}
WHERE e.id = :id AND (e.webhook_id IS NULL OR EXISTS (SELECT 1 FROM webhooks w WHERE w.id = e.webhook_id))
FOR NO KEY UPDATE OF j, e
ON CONFLICT (run_id, attempt) DO NOTHING RETURNING {EXECUTIONS.columns()}
"""
_CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Dead letters, by their ids or by a filter."""

    ids: tuple[str, ...] | None = None
    filter: ExecutionFilter | None = None


class DeadLetterStore:
    """Dead letters of all accounts; every call is limited to those that one user may see, or change."""

    def __init__(self, db: Database, events: Events) -> None:
        self._db = db
        self._events = events

    async def page(
        self,
        user: str,
        filter: ExecutionFilter,  # noqa: A002
        *,
        skip: int,
        limit: int,
        after: str | None = None,
    ) -> Page[Execution]:
        """The dead letters of the accounts of ``user``, newest first; the filter's times are those of their end."""
        conditions, params = conditions_of(filter, time_column="e.finished_at")
        mine = await mine_of(self._db, user)
        return await fetch_page(
            self._db, [STILL_DEAD, mine, *conditions], {"user": user, **params}, skip=skip, limit=limit, after=after
        )

    async def redrive(
        self, user: str, selection: Selection, now: Instant, *, dry_run: bool, by: Actor | None = None
    ) -> int:
        """Queue the next attempt of each selected dead letter; returns how many. ``dry_run`` only counts."""

        async def redrive(ids: Sequence[str], tx: Transaction) -> int:
            queued = await _redrive(tx, await _dead(tx, ids), now)
            await _record(tx, by, Action.DEAD_LETTER_REDRIVEN, queued)
            return len(queued)

        chosen, count = await self._chosen(user, selection), 0
        if dry_run:
            return len(chosen)
        for chunk in _chunks(chosen):
            count += await self._db.transaction(partial(redrive, chunk))
            self._events.tell(WorkReady())
        return count

    async def purge(self, user: str, selection: Selection, *, dry_run: bool, by: Actor | None = None) -> int:
        """Delete the runs of the selected dead letters with all of their attempts; returns how many runs."""

        async def purge(ids: Sequence[str], tx: Transaction) -> int:
            dead = await _dead(tx, ids)
            await tx.execute_many(
                "DELETE FROM executions WHERE run_id = :run_id",
                [{"run_id": execution.run_id} for execution in dead],
            )
            await _record(tx, by, Action.DEAD_LETTER_PURGED, dead)
            return len(dead)

        chosen = await self._chosen(user, selection)
        if dry_run:
            return len(chosen)
        return sum([await self._db.transaction(partial(purge, chunk)) for chunk in _chunks(chosen)])

    async def retry(self, execution_id: str, now: Instant, *, by: Actor | None = None) -> Execution | None:
        """Queue the next attempt of a run that ended as dead letter, cancelled or skipped; ``None`` for any other."""

        async def retry(tx: Transaction) -> Execution | None:
            row = await tx.fetch_one(
                f"SELECT {EXECUTIONS.columns('e')} FROM executions e WHERE e.id = :id",
                {"id": execution_id},
            )
            permitted = (Status.DEAD_LETTER, Status.CANCELLED, Status.SKIPPED)
            if row is None or row["status"] not in permitted:
                return None
            queued = await _redrive(tx, [EXECUTIONS.decode(row)], now)
            if not queued:
                return None
            audited = AuditedAction(action=Action.EXECUTION_RETRIED, subject_id=execution_id)
            await record_on_jobs(tx, by, [(queued[0].job_id, audited)])
            return queued[0]

        queued = await self._db.transaction(retry)
        if queued is not None:
            self._events.tell(WorkReady())
        return queued

    async def _chosen(self, user: str, selection: Selection) -> list[str]:
        """The ids of the selected dead letters that are still dead and that ``user`` may change."""
        mine = await mine_of(self._db, user, to_change=True)
        if selection.ids is not None:
            chosen = []
            for execution_id in dict.fromkeys(selection.ids):
                row = await self._db.fetch_one(
                    f"SELECT e.id FROM executions e WHERE e.id = :id AND {STILL_DEAD} AND {mine}",
                    {"id": execution_id, "user": user},
                )
                chosen += [row["id"]] if row else []
            return chosen
        conditions, params = conditions_of(selection.filter or ExecutionFilter(), time_column="e.finished_at")
        where = " AND ".join([STILL_DEAD, mine, *conditions])
        rows = await self._db.fetch_all(
            f"SELECT e.id FROM executions e WHERE {where} ORDER BY e.id",
            {"user": user, **params},
        )
        return [row["id"] for row in rows]


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]


async def _record(tx: Transaction, by: Actor | None, action: Action, executions: Iterable[Execution]) -> None:
    """Write one audit entry for each job that had dead letters among them."""
    jobs = Counter(execution.job_id for execution in executions)
    done = [(job_id, AuditedAction(action=action, subject_id=job_id, subjects=count)) for job_id, count in jobs.items()]
    await record_on_jobs(tx, by, done)


async def _dead(tx: Transaction, ids: Sequence[str]) -> list[Execution]:
    """Those of ``ids`` that are still dead inside this transaction."""
    found = []
    for execution_id in ids:
        row = await tx.fetch_one(
            f"SELECT {EXECUTIONS.columns('e')} FROM executions e WHERE e.id = :id AND {STILL_DEAD}",
            {"id": execution_id},
        )
        found += [EXECUTIONS.decode(row)] if row else []
    return found


async def _redrive(tx: Transaction, ended: Sequence[Execution], now: Instant) -> list[Execution]:
    """Queue the next attempt of each run with a fresh budget.

    A run that already has a next attempt is left out, and so is one whose webhook was deleted.
    """
    queued = []
    for execution in ended:
        attempt = execution.attempt + 1
        row = await tx.fetch_one(
            _REDRIVE,
            {
                "new_id": new_id(now),
                "attempt": attempt,
                "now": now,
                "id": execution.id,
            },
        )
        queued += [EXECUTIONS.decode(row)] if row else []
    return queued
