"""The service with a deliberate bug, to prove that the checker sees it: a checker that never failed proves nothing.

``python -m tests.crash.broken_service NAME serve …`` is ``scheduler serve …`` with the bug ``NAME``. The bugs live here
and replace parts of the real service before its command line runs; the product has no switch for them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from scheduler import app, cli
from scheduler.domain.clock import SECOND, SystemClock
from scheduler.engine import recorder
from scheduler.engine.maintenance import Maintenance
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.store import queue
from scheduler.store.jobs import JobStore
from scheduler.store.queue import ExecutionQueue

_PAUSE_S = 0.4
"""How long a gap between two commits is held open that ought to be one."""

_background: set[asyncio.Task[None]] = set()


class Bug(NamedTuple):
    """What is wrong, which invariants it breaks at the least, and what plants it."""

    what: str
    breaks: set[str]
    plant: Callable[[], None]


def claim_after_send() -> None:
    """The queue hands out rows that it marks as ``running`` only when their outcome is known."""
    taken: set[str] = set()
    settle = ExecutionQueue.settle

    async def claim(self: Any, now: int, limit: int) -> list[Any]:
        rows = await self._db.fetch_all(
            f"SELECT {queue._CLAIM_COLUMNS} FROM {queue._CLAIMED_FROM} WHERE e.status = 'queued' AND e.held = 0 "
            "AND e.available_at <= :now ORDER BY e.available_at LIMIT :limit",
            {"now": now, "limit": limit + len(taken)},
        )
        fresh = [row for row in rows if row["id"] not in taken][:limit]
        taken.update(row["id"] for row in fresh)
        return [self._decode(row, worker_id=self.worker_id, started_at=now) for row in fresh]

    async def mark_then_settle(self: Any, settlements: Sequence[Any]) -> Any:
        async def mark(tx: Any) -> None:
            await tx.execute_many(
                "UPDATE executions SET status = 'running', worker_id = :worker_id, started_at = :now "
                "WHERE id = :id AND status = 'queued'",
                [
                    {"id": one.execution.id, "worker_id": self.worker_id, "now": one.execution.started_at}
                    for one in settlements
                ],
            )

        await self._db.transaction(mark)
        settled = await settle(self, settlements)
        taken.difference_update(one.execution.id for one in settlements)
        return settled

    async def nothing_ready(_self: Any) -> None:
        return None

    _put(ExecutionQueue, "claim", claim)
    _put(ExecutionQueue, "settle", mark_then_settle)
    _put(ExecutionQueue, "next_ready_at", nothing_ready)


def new_id_on_retry() -> None:
    """A retry gets a ``webhook-id`` of its own."""
    _change_sql("_RETRY", "SELECT :new_id, e.run_id", "SELECT :new_id, :new_id")


def no_unique_index() -> None:
    """Executions first, the job's next time in another transaction, and no index that forgives it."""
    _split_firing(executions_first=True)
    migrate: Any = vars(app)["migrate"]

    async def migrate_and_drop(db: Any, now: int) -> None:
        await migrate(db, now)

        async def drop(tx: Any) -> None:
            await tx.execute("DROP INDEX executions_by_run")
            await tx.execute("CREATE INDEX executions_by_run ON executions (run_id, attempt)")

        await db.transaction(drop)

    _put(app, "migrate", migrate_and_drop)
    for name in ("_ENQUEUE", "_RETRY"):
        _change_sql(name, "ON CONFLICT (run_id, attempt) DO NOTHING", "")


def next_time_first() -> None:
    """The job's next time is committed before the executions of the present one."""
    _split_firing(executions_first=False)


def timer_retry() -> None:
    """A retry is a timer of the process, and a row only once the timer fires."""
    settle = ExecutionQueue.settle

    async def settle_and_arm(self: Any, settlements: Sequence[Any]) -> Any:
        settled = await settle(self, [replace(one, retry=None) for one in settlements])
        for one in settlements:
            if one.retry is not None:
                _later((one.retry.available_at - SystemClock().now()) / SECOND, insert(self, one))
        return settled

    async def insert(self: Any, settlement: Any) -> None:
        await self._db.transaction(lambda tx: tx.execute_many(queue._RETRY, [queue._retry_row(settlement)]))

    _put(ExecutionQueue, "settle", settle_and_arm)


def orphans_stay() -> None:
    """Nobody closes what a crash left ``running``."""

    async def rescue(_self: Any) -> int:
        return 0

    _put(Maintenance, "rescue", rescue)


def settles_late() -> None:
    """Outcomes are gathered for one and a half seconds before they are written."""
    _put(recorder, "_GATHER_S", 1.5)


def retries_at_start() -> None:
    """A start lets all waiting retries go at once, whatever they were planned for."""
    rescue = Maintenance.rescue

    async def rescue_and_hurry(self: Any) -> int:
        now = SystemClock().now()
        await self._stores.db.transaction(
            lambda tx: tx.execute(
                "UPDATE executions SET available_at = :now WHERE status = 'queued' AND trigger_kind = 'retry'",
                {"now": now},
            )
        )
        return await rescue(self)

    _put(Maintenance, "rescue", rescue_and_hurry)


def answers_before_commit() -> None:
    """The API says 201 to a job while the job is still on its way to the disk."""
    insert = JobStore.insert

    async def insert_later(self: Any, entries: Sequence[Any], *, by: str) -> None:
        if [job.name for job, _ in entries] == ["acknowledged"]:
            _later(_PAUSE_S, insert(self, entries, by=by))
        else:
            await insert(self, entries, by=by)

    _put(JobStore, "insert", insert_later)


BUGS = {
    bug.__name__: Bug((bug.__doc__ or "").strip(), breaks, bug)
    for bug, breaks in (
        (claim_after_send, {"I2", "I3"}),
        (new_id_on_retry, {"I6"}),
        (no_unique_index, {"I1"}),
        (next_time_first, {"I1"}),
        (timer_retry, {"I6"}),
        (orphans_stay, {"I6"}),
        (settles_late, {"I4"}),
        (retries_at_start, {"I8"}),
        (answers_before_commit, {"I9"}),
    )
}


def _split_firing(*, executions_first: bool) -> None:
    async def write(self: Any, make: Any, now: int) -> Any:
        async def first(tx: Any) -> Any:
            firings = await make(tx)
            await step(tx, firings, is_first=True)
            return firings

        async def step(tx: Any, firings: Any, *, is_first: bool) -> None:
            if is_first is executions_first:
                await self._stores.queue.apply(tx, firings, now)
            else:
                await self._stores.jobs.advance(tx, firings, now)

        firings = await self._stores.db.transaction(first)
        if firings:
            self._pool.wake()
            await asyncio.sleep(_PAUSE_S)
            await self._stores.db.transaction(lambda tx: step(tx, firings, is_first=False))
            self._telemetry.fired(firings)
            self._pool.wake()
        return firings

    _put(TriggerLoop, "_write", write)


def _change_sql(name: str, before: str, after: str) -> None:
    text = vars(queue)[name]
    assert before in text, f"{name} of the store has changed: adapt this bug"
    _put(queue, name, text.replace(before, after))


def _put(owner: Any, name: str, part: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: adapt this bug"
    setattr(owner, name, part)


def _later(delay_s: float, work: Any) -> None:
    async def run() -> None:
        await asyncio.sleep(max(0.0, delay_s))
        await work

    task = asyncio.create_task(run())
    _background.add(task)
    task.add_done_callback(_background.discard)


if __name__ == "__main__":
    BUGS[sys.argv.pop(1)].plant()
    cli.main()
