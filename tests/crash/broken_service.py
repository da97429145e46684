"""The service with a deliberate bug, to prove that the checker sees it: a checker that never failed proves nothing.

``python -m tests.crash.broken_service NAME serve …`` is ``scheduler serve …`` with the bug ``NAME``. The bugs live here
and replace parts of the real service before its command line runs; the product has no switch for them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scheduler import cli
from scheduler.domain.clock import SECOND, SystemClock
from scheduler.domain.events import Fired, WorkReady
from scheduler.engine import recorder
from scheduler.engine.firing import Firer
from scheduler.engine.upkeep.rescue import Rescuer
from scheduler.ops import open_database as opening
from scheduler.store.database import Transaction
from scheduler.store.jobs.jobs import JobStore
from scheduler.store.queue import queue
from scheduler.store.queue.queue import ExecutionQueue
from scheduler.store.sqlite.database import SqliteDatabase

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
    turn = asyncio.Lock()
    claim, settle = ExecutionQueue.claim, ExecutionQueue.settle

    async def claim_and_unmark(self: Any, now: int, limit: int, *_: Any) -> list[Any]:
        unmark = "UPDATE executions SET status = 'queued', worker_id = NULL, started_at = NULL WHERE id = :id"
        async with turn:
            claims = await claim(self, now, limit + len(taken))
            await _write_many(self._db, unmark, [{"id": one.execution.id} for one in claims])
            fresh = [one for one in claims if one.execution.id not in taken][:limit]
            taken.update(one.execution.id for one in fresh)
        return fresh

    async def mark_and_settle(self: Any, settlements: Sequence[Any], *rest: Any, **named: Any) -> Any:
        mark = """
            UPDATE executions SET status = 'running', worker_id = :worker_id, started_at = :started_at
            WHERE id = :id AND status = 'queued'
        """
        rows = [
            {"id": one.execution.id, "worker_id": self.worker_id, "started_at": one.execution.started_at}
            for one in settlements
        ]
        async with turn:
            await _write_many(self._db, mark, rows)
            settled = await settle(self, settlements, *rest, **named)
            taken.difference_update(row["id"] for row in rows)
        return settled

    async def nothing_ready(_self: Any) -> None:
        return None

    _put(ExecutionQueue, "claim", claim_and_unmark)
    _put(ExecutionQueue, "settle", mark_and_settle)
    _put(ExecutionQueue, "next_ready_at", nothing_ready)


def new_id_on_retry() -> None:
    """A retry gets a ``webhook-id`` of its own."""
    _change_sql("_RETRY", "SELECT :new_id, e.run_id", "SELECT :new_id, :new_id")


def no_unique_index() -> None:
    """Executions first, the job's next time in another transaction, and no index that forgives it."""
    _split_firing(executions_first=True)
    migrate: Any = vars(opening)["migrate"]

    async def migrate_and_drop(db: Any, now: int) -> None:
        await migrate(db, now)

        async def drop(tx: Transaction) -> None:
            await tx.execute("DROP INDEX executions_by_run")
            await tx.execute("CREATE INDEX executions_by_run ON executions (run_id, attempt)")

        await db.transaction(drop)

    _put(opening, "migrate", migrate_and_drop)
    forgives = "ON CONFLICT (run_id, attempt) DO NOTHING"
    _change_sql("_RETRY", forgives, "")
    enqueue = vars(queue)["enqueue"]
    _put(queue, "enqueue", lambda hold: _changed(enqueue(hold), forgives, ""))


def next_time_first() -> None:
    """The job's next time is committed before the executions of the present one."""
    _split_firing(executions_first=False)


def timer_retry() -> None:
    """A retry is a timer of the process, and a row only once the timer fires."""
    settle = ExecutionQueue.settle

    async def settle_and_arm(self: Any, settlements: Sequence[Any], *rest: Any, **named: Any) -> Any:
        settled = await settle(self, settlements, *rest, **named)
        for one in settlements:
            if one.retry is not None:
                row = await self._db.transaction(lambda tx, one=one: take(tx, one))
                if row is not None:
                    _later((row["available_at"] - SystemClock().now()) / SECOND, put_back(self, dict(row)))
        return settled

    async def take(tx: Transaction, settlement: Any) -> Any:
        return await tx.fetch_one(
            "DELETE FROM executions WHERE run_id = :run_id AND attempt = :attempt AND status = 'queued' RETURNING *",
            {"run_id": settlement.execution.run_id, "attempt": settlement.execution.attempt + 1},
        )

    async def put_back(self: Any, row: dict[str, Any]) -> None:
        placeholders = ", ".join(f":{name}" for name in row)
        await _write_many(self._db, f"INSERT INTO executions ({', '.join(row)}) VALUES ({placeholders})", [row])

    _put(ExecutionQueue, "settle", settle_and_arm)


def orphans_stay() -> None:
    """Nobody closes what a crash left ``running``."""

    async def rescue(_self: Any) -> int:
        return 0

    _put(Rescuer, "rescue", rescue)


def settles_late() -> None:
    """Outcomes are gathered for one and a half seconds before they are written."""
    _put(recorder, "_GATHER_S", 1.5)


def retries_at_start() -> None:
    """A start lets all waiting retries go at once, whatever they were planned for."""
    rescue = Rescuer.rescue

    async def rescue_and_hurry(self: Any) -> int:
        now = SystemClock().now()
        await self._queue._db.transaction(
            lambda tx: tx.execute(
                "UPDATE executions SET available_at = :now WHERE status = 'queued' AND trigger_kind = 'retry'",
                {"now": now},
            )
        )
        return await rescue(self)

    _put(Rescuer, "rescue", rescue_and_hurry)


def answers_before_commit() -> None:
    """The API says 201 to a job while the job is still on its way to the disk."""
    insert = JobStore.insert

    async def insert_later(self: Any, entries: Sequence[Any], **named: Any) -> None:
        if [job.name for job, _ in entries] == ["acknowledged"]:
            _later(_PAUSE_S, insert(self, entries, **named))
        else:
            await insert(self, entries, **named)

    _put(JobStore, "insert", insert_later)


def synchronous_off() -> None:
    """The database takes a commit for done when it is in the page cache."""
    open_it: Any = SqliteDatabase.open

    async def open_and_relax(*args: Any, **named: Any) -> Any:
        db = await open_it(*args, **named)
        await db._writer.execute_fetchall("PRAGMA synchronous = OFF")
        return db

    _put(SqliteDatabase, "open", open_and_relax)


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


POWER_CUT_BUGS = {
    bug.__name__: Bug((bug.__doc__ or "").strip(), breaks, bug) for bug, breaks in ((synchronous_off, {"I2", "I9"}),)
}
"""What no kill can show, because the page cache survives it; ``tests.crash.test_durability`` does."""


def _split_firing(*, executions_first: bool) -> None:
    async def write(self: Any, make: Any, now: int, **_: Any) -> Any:
        async def first(tx: Transaction) -> Any:
            firings = await make(tx)
            await step(tx, firings, is_first=True)
            return firings

        async def step(tx: Transaction, firings: Any, *, is_first: bool) -> None:
            if is_first is executions_first:
                await self._stores.queue.apply(tx, firings, now)
            else:
                await self._stores.due_jobs.advance(tx, firings, now)

        firings = await self._stores.db.transaction(first)
        if firings:
            self._events.tell(WorkReady())
            await asyncio.sleep(_PAUSE_S)
            await self._stores.db.transaction(lambda tx: step(tx, firings, is_first=False))
            self._events.tell(Fired(firings=firings))
        return firings

    _put(Firer, "_write", write)


def _change_sql(name: str, before: str, after: str) -> None:
    _put(queue, name, _changed(vars(queue)[name], before, after))


def _changed(text: str, before: str, after: str) -> str:
    assert before in text, f"a statement of the queue has no {before} any more: adapt this bug"
    return text.replace(before, after)


def _put(owner: Any, name: str, part: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: adapt this bug"
    setattr(owner, name, part)


async def _write_many(db: Any, sql: str, rows: Sequence[Any]) -> None:
    await db.transaction(lambda tx: tx.execute_many(sql, rows))


def _later(delay_s: float, work: Any) -> None:
    async def run() -> None:
        await asyncio.sleep(max(0.0, delay_s))
        await work

    task = asyncio.create_task(run())
    _background.add(task)
    task.add_done_callback(_background.discard)


if __name__ == "__main__":
    (BUGS | POWER_CUT_BUGS)[sys.argv.pop(1)].plant()
    cli.main()
