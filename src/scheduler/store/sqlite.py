"""SQLite as the database: one writer with group commit, one connection for short reads, one for lists.

Transactions that are handed in while the disk is busy with the last commit share the next one, and answer only when it
is on disk. One that fails takes no other with it: then each is run again by itself. Failing is rare, so that costs less
than a savepoint for each, which is two more trips to the writer's thread.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import aiosqlite

from scheduler.domain.clock import Instant, SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.store.database import DatabaseUnusableError, Params, Row
from scheduler.store.sqlite_file import HAS_TABLE, SqliteFile, lock_file, unusable

T = TypeVar("T")

_GROUP_LIMIT = 500
_LOG_LIMIT = 64 * 1024 * 1024
"""The write-ahead log is cut back to this, in bytes, once a long reader that made it grow is gone."""
_SHARED_PRAGMAS = ("busy_timeout = 5000", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -16000")
_UNCERTAIN = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
"""After these a page may be lost although the next attempt to write it succeeds."""
_NO_PARAMS: Params = {}
_ROW_LOCKS = re.compile(r"\bFOR (?:NO KEY |KEY )?(?:UPDATE|SHARE)\b(?: OF \w+(?:, \w+)*)?(?: SKIP LOCKED)?")


@dataclass(slots=True)
class _Work:
    run: Callable[[SqliteTransaction], Awaitable[Any]]
    done: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class SqliteTransaction:
    """Statements on the writer connection. Each call is one trip to its thread; the first begins the transaction.

    A trip costs more than most statements, so what needs no answer in between travels together (``execute_batch``).
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

    async def take_turn(self, name: str) -> None:
        """Nothing to wait for: transactions of the one writer take turns anyway."""

    async def _trip(self, call: Callable[[sqlite3.Connection], T]) -> T:
        raw = self._connection._conn

        def run() -> T:
            if not self.begun:
                raw.execute("BEGIN IMMEDIATE")
                self.begun = True
            return call(raw)

        # aiosqlite's own way to its thread; its public calls take one statement each
        return cast("T", await self._connection._execute(run))  # type: ignore[no-untyped-call]


class SqliteDatabase:
    """A SQLite file, owned by this process alone while it is open."""

    is_shared = False
    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(
        self,
        *,
        path: Path,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        lister: aiosqlite.Connection,
        lock: IO[bytes],
        on_commit: Callable[[float], None],
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._lister = lister
        self._lock = lock
        self._on_commit = on_commit
        self._waiting: deque[_Work] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._failing = False
        self._broken = False
        self.on_broken: Callable[[str], None] = lambda _: None
        self._writing = asyncio.create_task(self._write(), name="sqlite-writer")

    @classmethod
    async def open(
        cls, path: Path, *, durability: str = "full", on_commit: Callable[[float], None] = lambda _: None
    ) -> SqliteDatabase:
        """Open or create the file. ``durability`` is ``full`` (survives a power cut) or ``normal``.

        ``on_commit`` hears how many seconds each commit took, from BEGIN on.

        Raises ``DatabaseUnusableError``, also when another process has it.
        """
        lock = lock_file(path)
        opened: list[aiosqlite.Connection] = []
        try:
            writer = await _connect(path.as_uri(), opened)
            await writer.execute_fetchall("PRAGMA journal_mode = WAL")
            await writer.execute_fetchall(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            await writer.execute_fetchall("PRAGMA wal_autocheckpoint = 4000")
            await writer.execute_fetchall(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
            await writer.execute_fetchall("SELECT COUNT(*) FROM sqlite_master")  # whether there is sense in it
            reader = await _connect(f"{path.as_uri()}?mode=ro", opened)
            lister = await _connect(f"{path.as_uri()}?mode=ro", opened)
        except BaseException as error:
            for connection in opened:
                await connection.close()
            lock.close()
            if isinstance(error, sqlite3.Error):
                raise DatabaseUnusableError(unusable(path, error)) from error
            raise
        return cls(path=path, writer=writer, reader=reader, lister=lister, lock=lock, on_commit=on_commit)

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        rows = await _read(self._reader, sql, params)
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        return await _read(self._lister, sql, params)

    async def transaction(self, work: Callable[[SqliteTransaction], Awaitable[T]], *, patient: bool = False) -> T:
        if self._closing or self._broken:
            raise SchedulerError("SERVICE_UNAVAILABLE", "the database is closed: the service is stopping")
        item = _Work(run=work, done=asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return cast("T", await item.done)

    async def close(self) -> None:
        self._closing = True
        self._arrived.set()
        await self._writing
        for connection in (self._lister, self._reader, self._writer):
            await connection.close()
        self._lock.close()

    async def has_table(self, name: str) -> bool:
        return bool(await self.fetch_all(HAS_TABLE, {"name": name}))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteFile]:
        with SqliteFile(self._path) as file:
            yield file

    async def settle_in(self) -> None:
        """Nothing to do: the plans of our queries do not depend on what is in the tables."""

    async def now(self) -> Instant:
        return SystemClock().now()

    def announce(self, notice: str) -> None:
        """Nobody to tell: the file is this process's alone."""

    def hear(self, listener: Callable[[str], None]) -> None:
        """Nobody to hear."""

    async def ping(self) -> None:
        # As long as the last write failed only another one can tell: a full disk still lets transactions begin.
        writes = self._failing

        async def ask(tx: SqliteTransaction) -> None:
            # A change: SQLite does not write a row that stays as it is. The lease of the one node means nothing.
            await tx.execute("UPDATE nodes SET expires_at = expires_at + 1" if writes else "SELECT 1")

        await self.transaction(ask)
        if writes:
            self._failing = False

    async def compact(self) -> None:
        """Write the file anew without what was deleted or replaced, and empty the write-ahead log.

        For a database that nobody else uses meanwhile; needs as much free space as the file is large.
        """
        for statement in ("PRAGMA temp_store = FILE", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            await _read(self._writer, statement, None)

    async def maintain(self) -> None:
        """Copy the write-ahead log into the database file, as far as readers allow, so that it cannot grow for ever."""
        await _read(self._writer, "PRAGMA wal_checkpoint(PASSIVE)", None)

    async def _write(self) -> None:
        """The one writer: take what has gathered, commit it together, answer, repeat."""
        while not (self._closing and not self._waiting):
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP_LIMIT))]
                group = [item for item in taken if not item.done.cancelled()]
                await self._commit(group)
                _answer(group)

    async def _commit(self, group: list[_Work]) -> None:
        """One transaction for the whole group; on return each item has its result or its error.

        When one of several fails, all of it is rolled back and each gets a transaction of its own.
        """
        tx = SqliteTransaction(self._writer)
        started = time.perf_counter()
        try:
            for item in group:
                item.result = await item.run(tx)
            if tx.begun:
                await self._writer.commit()
            self._on_commit(time.perf_counter() - started)
        except Exception as error:
            if isinstance(error, sqlite3.OperationalError):
                self._failing = True
                if error.sqlite_errorcode in _UNCERTAIN and not self._broken:
                    self._broken = True
                    self.on_broken(f"the disk did not confirm what was written ({error})")
            if self._writer.in_transaction:
                await self._writer.rollback()
            if len(group) == 1:
                group[0].error = error
                return
            for item in group:
                await self._commit([item])


@lru_cache(maxsize=512)
def without_locks(sql: str) -> str:
    """The statement without its row locks: SQLite has one writer, whose transactions have it for themselves."""
    return _ROW_LOCKS.sub("", sql)


async def _connect(uri: str, opened: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(uri, uri=True, isolation_level=None, cached_statements=256)
    opened.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in _SHARED_PRAGMAS:
        await connection.execute_fetchall(f"PRAGMA {pragma}")
    return connection


async def _read(connection: aiosqlite.Connection, sql: str, params: Params | None) -> Sequence[Row]:
    try:
        return cast("Sequence[Row]", await connection.execute_fetchall(sql, params or _NO_PARAMS))
    except sqlite3.Error as error:
        raise _refusal(error) from error


def _answer(group: list[_Work]) -> None:
    for item in group:
        if item.done.cancelled():
            continue
        if item.error is None:
            item.done.set_result(item.result)
        else:
            item.done.set_exception(_refusal(item.error) if isinstance(item.error, sqlite3.Error) else item.error)


def _refusal(error: sqlite3.Error) -> SchedulerError:
    if isinstance(error, sqlite3.OperationalError):
        return SchedulerError("SERVICE_UNAVAILABLE", f"the database cannot be used right now: {error}")
    if isinstance(error, sqlite3.IntegrityError) and "FOREIGN KEY" in str(error):
        return SchedulerError("CONFLICT", "what this belongs to has just been deleted")
    return SchedulerError("DATABASE_ERROR", f"the database refused the statement: {error}")
