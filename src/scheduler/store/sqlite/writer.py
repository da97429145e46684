"""The one writer of an SQLite file, with group commit.

Transactions that arrive during a commit share the next one, and return when it is on disk. When one of a group fails,
the group is rolled back and each is run again by itself. Failures are rare, so this costs less than a savepoint for
each, which takes two more calls to the thread of the connection. An error of the file itself fails all of them at once.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Committed, DatabaseBroken, Events
from scheduler.store.database import Params, Row
from scheduler.store.sqlite.errors import is_busy, is_of_the_file, is_uncertain, scheduler_error
from scheduler.store.sqlite.thread import on_thread_of

T = TypeVar("T")

BUSY_MS = 5000
"""How long a statement waits for a file that another process has locked."""
_STILL_BUSY_MS = 250
"""How long it waits after such a wait has failed, until one succeeds, so that callers get their error soon."""
_GROUP_LIMIT = 500
_NO_PARAMS: Params = {}
_ROW_LOCKS = re.compile(r"\bFOR (?:NO KEY |KEY )?(?:UPDATE|SHARE)\b(?: OF \w+(?:, \w+)*)?(?: SKIP LOCKED)?")


class SqliteTransaction:
    """Statements on the writer connection. Each method is one call to its thread; the first begins the transaction.
    Such a call costs more than most statements, so statements that do not depend on each other's results share one
    (``execute_batch``).
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.begun = False

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        text = without_locks(sql)
        return await self._trip(lambda raw: raw.execute(text, params or _NO_PARAMS).fetchall())

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        rows = await self.fetch_all(sql, params)
        return rows[0] if rows else None

    async def execute(self, sql: str, params: Params | None = None) -> None:
        await self.fetch_all(sql, params)

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> int:
        return (await self.execute_batch([(sql, rows)]))[0]

    async def execute_batch(self, steps: Sequence[tuple[str, Sequence[Params]]]) -> list[int]:
        if not any(rows for _, rows in steps):
            return [0 for _ in steps]
        bare = [(without_locks(sql), rows) for sql, rows in steps]
        return await self._trip(lambda raw: [raw.executemany(sql, rows).rowcount if rows else 0 for sql, rows in bare])

    async def advisory_lock(self, name: str) -> None:
        """Nothing to wait for: the one writer runs transactions one after the other."""

    async def _trip(self, call: Callable[[sqlite3.Connection], T]) -> T:
        def run(raw: sqlite3.Connection) -> T:
            if not self.begun:
                raw.execute("BEGIN IMMEDIATE")
                self.begun = True
            return call(raw)

        return await on_thread_of(self._connection, run)


@lru_cache(maxsize=512)
def without_locks(sql: str) -> str:
    """The statement without its row locks, which one writer does not need."""
    return _ROW_LOCKS.sub("", sql)


@dataclass(slots=True)
class _Work:
    run: Callable[[SqliteTransaction], Awaitable[Any]]
    done: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class GroupCommit:
    """Runs transactions on ``connection`` to the file ``path``, in groups.

    Tells ``Committed`` after each commit, and ``DatabaseBroken`` when the durability of one is unknown.
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path, *, events: Events) -> None:
        self._connection = connection
        self._path = path
        self._file = _identity(path)
        self._events = events
        self._waiting: deque[_Work] = deque()
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closing = False
        self._broken = False
        self._was_busy = False
        self.is_failing = False
        """The last write failed because of the file; reset by the caller of a write that succeeds."""
        self._writing = asyncio.create_task(self._write(), name="sqlite-writer")
        self._writing.add_done_callback(self._on_end)

    async def transaction(self, work: Callable[[SqliteTransaction], Awaitable[T]]) -> T:
        """The result of ``work``, once it is on disk. Raises what ``work`` raises, and ``SchedulerError``."""
        if self._closing or self._broken:
            raise SchedulerError("SERVICE_UNAVAILABLE", "the database is closed: the service is stopping")
        item = _Work(run=work, done=asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return cast("T", await item.done)

    async def execute_alone(self, statement: str) -> None:
        """Execute a statement that must not be part of a transaction. Raises ``SchedulerError``."""
        async with self._turn:
            try:
                await self._connection.execute_fetchall(statement)
            except sqlite3.Error as error:
                self._note(error)
                raise scheduler_error(error) from error

    async def close(self) -> None:
        """Finish the transactions that wait."""
        self._closing = True
        self._arrived.set()
        await self._writing

    async def _write(self) -> None:
        """Commit the transactions that wait, in groups, until closed."""
        while not (self._closing and not self._waiting):
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP_LIMIT))]
                group = [item for item in taken if not item.done.cancelled()]
                if group:
                    async with self._turn:
                        await self._commit(group)
                    _answer(group)

    async def _commit(self, group: list[_Work]) -> None:
        """One transaction for the whole group; on return each item has its result or its error.

        When one of several fails, all of it is rolled back and each gets a transaction of its own.
        """
        tx = SqliteTransaction(self._connection)
        started = time.perf_counter()
        try:
            self._require_file()
            for item in group:
                item.result = await item.run(tx)
            if tx.begun:
                await self._connection.commit()
        except Exception as error:
            self._note(error)
            await self._roll_back()
            if self._was_busy and is_busy(error):
                await self._wait_at_most(_STILL_BUSY_MS)
            if len(group) == 1 or self._broken or is_of_the_file(error):
                for item in group:
                    item.error = error
                return
            for item in group:
                await self._commit([item])
            return
        self._events.tell(Committed(seconds=time.perf_counter() - started))
        if self._was_busy and tx.begun:
            self._was_busy = False
            await self._wait_at_most(BUSY_MS)

    def _require_file(self) -> None:
        """Raises ``SERVICE_UNAVAILABLE`` when the file was deleted or replaced: what is written to it then would be
        lost."""
        if self._broken:
            raise SchedulerError("SERVICE_UNAVAILABLE", "it is not known what is on disk: the service is ending")
        if _identity(self._path) != self._file:
            self.is_failing = True
            message = f"{self._path} was deleted, moved or replaced: put it back, or restart the service"
            raise SchedulerError("SERVICE_UNAVAILABLE", message)

    def _note(self, error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError):
            self.is_failing = True
        if is_busy(error):
            self._was_busy = True
        if is_uncertain(error):
            self._break(f"the disk did not confirm what was written ({error})")

    def _break(self, why: str) -> None:
        if not self._broken:
            self._broken = True
            self._events.tell(DatabaseBroken(why=why))

    async def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                await self._connection.rollback()
        except sqlite3.Error as error:
            self._break(f"what was begun cannot be rolled back ({error})")

    async def _wait_at_most(self, milliseconds: int) -> None:
        await self._connection.execute_fetchall(f"PRAGMA busy_timeout = {milliseconds}")

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(f"the writer of the database ended ({error!r})")


def _answer(group: list[_Work]) -> None:
    for item in group:
        if item.done.cancelled():
            continue
        if item.error is None:
            item.done.set_result(item.result)
        else:
            item.done.set_exception(
                scheduler_error(item.error) if isinstance(item.error, sqlite3.Error) else item.error
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
