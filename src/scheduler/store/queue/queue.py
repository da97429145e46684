"""The queue: enqueue, claim, settle, rescue. Each transition of an execution is one guarded UPDATE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scheduler.domain.clock import Instant
from scheduler.domain.events import AttemptsSettled, Disabled, Events, WorkReady
from scheduler.domain.jobs.auto_disable import DisabledItem
from scheduler.domain.runs.execution import Execution, Hold, Settlement, Status
from scheduler.domain.runs.firing import Firing
from scheduler.domain.slots import SlotLimits, Slots
from scheduler.domain.webhooks.claim import Claim
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.ids import new_id
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.queue.attempts import QUEUED, enqueue, next_attempt
from scheduler.store.queue.auto_disable import apply_auto_disable
from scheduler.store.queue.claiming import Claimer
from scheduler.store.queue.claims import CLAIM_COLUMNS, CLAIMED_FROM, WEBHOOK_AT, decode_claim
from scheduler.store.queue.holds import RELEASE_BUFFERED
from scheduler.store.sql import in_list

# The guard: only the worker that claimed the attempt may end it, and only once.
_SETTLE = """
UPDATE executions SET
  status = :status, finished_at = :finished_at, duration_ms = :duration_ms, response_code = :response_code,
  response_body = :response_body, response_headers = :response_headers, body_truncated = :body_truncated,
  warnings = :warnings, error_code = :error_code, error = :error, reason = :reason
WHERE id = :id AND status = 'running' AND worker_id = :worker_id
"""
_SETTLED = """
SELECT id FROM executions
WHERE id = :id AND status = :status AND worker_id = :worker_id AND finished_at = :finished_at
"""
# Queued only if this settlement took effect: a cancelled attempt has no next one.
_RETRY = f"""
{next_attempt("retry", uncounted=":uncounted", after_stale=":after_stale")}
WHERE e.id = :id AND e.status = :status AND e.worker_id = :worker_id AND e.finished_at = :finished_at
ON CONFLICT (run_id, attempt) DO NOTHING
"""
_CHUNK = 500
BY_NEWER_RUN = "overlap: cancelled by a newer run"
"""The reason of executions that were cancelled for a newer run of their job."""


class ExecutionQueue:
    """The executions for the engine. ``worker_id`` is the id of this process as a node, see ``NodeStore``."""

    def __init__(self, db: Database, webhooks: WebhookStore, events: Events, *, worker_id: str) -> None:
        self._db = db
        self._decode_webhook = webhooks.decoder(WEBHOOK_AT)
        self._events = events
        self.worker_id = worker_id
        self._claimer = Claimer(db)
        self._with_failures: set[str] = set()
        """The executions in flight whose job had failed runs when they were claimed: their success resets its count."""

    def work_as(self, worker_id: str) -> None:
        """Claim under this id from now on; what was claimed before is settled under its former id."""
        self.worker_id = worker_id

    async def enqueue(self, tx: Transaction, executions: Sequence[Execution], *, buffered: bool = False) -> None:
        """Add executions, queued or final from the start (skipped, no webhook). Attempts that exist stay as they are.

        ``buffered`` ones wait until their job has no other active execution.
        """
        statement = enqueue(Hold.BUFFERED if buffered else Hold.NONE)
        for start in range(0, len(executions), _CHUNK):
            chunk = executions[start : start + _CHUNK]
            await tx.execute_many(statement, [QUEUED.encode(execution) for execution in chunk])

    async def apply(self, tx: Transaction, firings: Sequence[Firing], now: Instant) -> list[str]:
        """Insert the executions of these firings; returns the ids of those that were cancelled for a newer run."""
        cancelled = [
            execution_id
            for firing in firings
            if firing.cancels_active
            for execution_id in await self._cancel_active(tx, firing.job.id, now)
        ]
        await self.enqueue(tx, [execution for firing in firings for execution in firing.executions])
        await self.enqueue(tx, [execution for firing in firings for execution in firing.buffered], buffered=True)
        return cancelled

    async def last_attempts(self, tx: Transaction, run_ids: Sequence[str]) -> dict[str, tuple[int, Status]]:
        """The last attempt and its status, for each of these runs that exists."""
        found: dict[str, tuple[int, Status]] = {}
        for start in range(0, len(run_ids), _CHUNK):
            placeholders, params = in_list(run_ids[start : start + _CHUNK])
            rows = await tx.fetch_all(
                f"SELECT run_id, attempt, status FROM executions WHERE run_id IN ({placeholders}) ORDER BY attempt",
                params,
            )
            found.update({row["run_id"]: (row["attempt"], Status(row["status"])) for row in rows})
        return found

    async def next_ready_at(self) -> Instant | None:
        """When the next queued execution may start; ``None`` when nothing is queued."""
        row = await self._db.fetch_one(
            f"SELECT MIN(available_at) AS ready_at FROM executions WHERE status = 'queued' AND held = {Hold.NONE}"
        )
        return row["ready_at"] if row else None

    async def claim(self, now: Instant, limit: int, slots: Slots | None = None) -> list[Claim]:
        """Mark up to ``limit`` executions that may start at ``now`` as ``running`` and this worker's.

        The oldest go first, as far as ``slots`` have room. Committed before it returns, so nothing is sent for an
        attempt that is not on disk. Raises ``SERVICE_UNAVAILABLE`` when this worker has lost its lease.
        """
        slots = slots or Slots(SlotLimits(size=limit, account_concurrency=limit))
        worker_id = self.worker_id
        rows = await self._claimer.claim(now, limit, slots, worker_id=worker_id)
        self._with_failures.update(row["id"] for row in rows if row["dead_count"])
        return [self._decode(row, worker_id=worker_id, started_at=now) for row in rows]

    @property
    def has_deferred(self) -> bool:
        """Do executions wait that may start once a slot is given back?"""
        return self._claimer.has_deferred

    async def next_start_at(self, slots: Slots, now: Instant) -> Instant | None:
        """When to claim again at the latest, without a slot being given back; ``None`` when nothing is planned."""
        times = [self._claimer.opens_at(slots, now)]
        if not self._claimer.leaves_ready:
            times.append(await self.next_ready_at())
        return min((at for at in times if at is not None), default=None)

    async def settle(
        self, settlements: Sequence[Settlement], now: Instant, *, rescued: bool = False
    ) -> list[Settlement]:
        """Write how attempts ended and queue their next ones, all in one transaction; returns what took effect.

        A row that was cancelled, deleted or rescued meanwhile stays as it is. A dead letter may disable its webhook or
        its job. ``rescued``: the attempts were interrupted by the end of their process.
        """

        async def settle(tx: Transaction) -> tuple[list[Settlement], bool, list[DisabledItem]]:
            if self._db.is_shared:
                await self._lock_jobs(tx, settlements)
            changed, _, released = await tx.execute_batch(
                [
                    (_SETTLE, [_settled_row(settlement) for settlement in settlements]),
                    (_RETRY, [_retry_row(settlement, now) for settlement in settlements if settlement.retry]),
                    (RELEASE_BUFFERED, [{}]),
                ]
            )
            took = list(settlements)
            if changed != len(settlements):
                took = [one for one in settlements if await tx.fetch_one(_SETTLED, _settled_row(one))]
            return took, released > 0, await apply_auto_disable(tx, took, now, with_failures=self._with_failures)

        settled, released, disabled = await self._db.transaction(settle)
        self._with_failures.difference_update(one.execution.id for one in settlements)
        self._events.tell(AttemptsSettled(settlements=settled, rescued=rescued))
        if released:
            self._events.tell(WorkReady())
        if disabled:
            self._events.tell(Disabled(items=disabled))
        return settled

    async def _lock_jobs(self, tx: Transaction, settlements: Sequence[Settlement]) -> None:
        """Lock the jobs that get a retry or another failure count, so that a pause waits and sees the retry."""
        ids = {
            one.execution.job_id
            for one in settlements
            if one.retry or one.status is Status.DEAD_LETTER or one.execution.id in self._with_failures
        }
        if ids:
            placeholders, params = in_list(sorted(ids))
            await tx.execute(f"SELECT id FROM jobs WHERE id IN ({placeholders}) ORDER BY id FOR NO KEY UPDATE", params)

    async def _cancel_active(self, tx: Transaction, job_id: str, now: Instant) -> list[str]:
        """Cancel the queued and running executions of a job for a newer run; returns their ids."""
        rows = await tx.fetch_all(
            """
            UPDATE executions SET status = 'cancelled', reason = :reason, finished_at = :now
            WHERE job_id = :job_id AND status IN ('queued', 'running') RETURNING id
            """,
            {"job_id": job_id, "reason": BY_NEWER_RUN, "now": now},
        )
        return [row["id"] for row in rows]

    async def claimed(self) -> list[Claim]:
        """The executions that are ``running`` for this worker."""
        rows = await self._db.fetch_all(
            f"SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM} WHERE e.status = 'running' AND e.worker_id = :worker_id",
            {"worker_id": self.worker_id},
        )
        return [self._decode(row, worker_id=row["worker_id"], started_at=row["started_at"]) for row in rows]

    async def orphans(self, limit: int) -> list[Claim]:
        """Executions that are ``running`` for a worker whose process ended or lost its lease, up to ``limit``."""
        rows = await self._db.fetch_all(
            f"""
            SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM}
            WHERE e.status = 'running' AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = e.worker_id) LIMIT :limit
            """,
            {"limit": limit},
        )
        return [self._decode(row, worker_id=row["worker_id"], started_at=row["started_at"]) for row in rows]

    def _decode(self, row: Row, *, worker_id: str, started_at: Instant) -> Claim:
        return decode_claim(row, self._decode_webhook, worker_id=worker_id, started_at=started_at)


def _settled_row(settlement: Settlement) -> dict[str, Any]:
    outcome = settlement.outcome
    return {
        "id": settlement.execution.id,
        "worker_id": settlement.execution.worker_id,
        "status": settlement.status.value,
        "finished_at": settlement.finished_at,
        "duration_ms": settlement.duration_ms,
        "response_code": outcome.response_code,
        "response_body": outcome.response_body,
        "response_headers": json.dumps(dict(outcome.response_headers)) if outcome.response_headers else None,
        "body_truncated": int(outcome.body_truncated),
        "warnings": json.dumps(list(outcome.warnings)) if outcome.warnings else None,
        "error_code": settlement.error_code,
        "error": settlement.error,
        "reason": settlement.reason,
    }


def _retry_row(settlement: Settlement, now: Instant) -> dict[str, Any]:
    retry = settlement.retry
    assert retry is not None  # noqa: S101 - the caller keeps only these
    return {
        "new_id": new_id(now),
        "now": now,
        "id": settlement.execution.id,
        "worker_id": settlement.execution.worker_id,
        "status": settlement.status.value,
        "finished_at": settlement.finished_at,
        "attempt": retry.attempt,
        "available_at": retry.available_at,
        "uncounted": retry.uncounted,
        "after_stale": int(retry.after_stale),
    }
