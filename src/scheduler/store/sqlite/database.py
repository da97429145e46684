"""SQLite as the database: one writer with group commit, one connection for short reads, one for lists."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeVar, cast

import aiosqlite

from scheduler.domain.clock import Instant, SystemClock
from scheduler.domain.events import Events
from scheduler.store.database import DatabaseUnusableError, Params, Row
from scheduler.store.sqlite.errors import scheduler_error
from scheduler.store.sqlite.file import HAS_TABLE, SqliteFile, lock_file, problem_with_file
from scheduler.store.sqlite.writer import BUSY_MS, GroupCommit, SqliteTransaction

T = TypeVar("T")

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes to which the write-ahead log is truncated after a long reader that made it grow has finished."""
_OCTET_LENGTH = re.compile(r"\bOCTET_LENGTH\(([\w.]+)\)")
_SHARED_PRAGMAS = (f"busy_timeout = {BUSY_MS}", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -16000")
_NO_PARAMS: Params = {}


class SqliteDatabase:
    """An SQLite file that only this process uses while it is open."""

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
        events: Events,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._lister = lister
        self._lock = lock
        self._group_commit = GroupCommit(writer, path, events=events)

    @classmethod
    async def open(cls, path: Path, *, durability: str = "full", events: Events | None = None) -> SqliteDatabase:
        """Open or create the file. ``durability`` is ``full`` (survives a power cut) or ``normal``.

        Raises ``DatabaseUnusableError``, also when another process has it.
        """
        lock = lock_file(path)
        opened: list[aiosqlite.Connection] = []
        try:
            writer = await _connect(path.as_uri(), opened)
            await writer.execute_fetchall("PRAGMA journal_mode = WAL")
            await writer.execute_fetchall(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            await writer.execute_fetchall("PRAGMA wal_autocheckpoint = 4000")
            await writer.execute_fetchall(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
            await writer.execute_fetchall("SELECT COUNT(*) FROM sqlite_master")  # raises for a damaged file
            reader = await _connect(f"{path.as_uri()}?mode=ro", opened)
            lister = await _connect(f"{path.as_uri()}?mode=ro", opened)
        except BaseException as error:
            for connection in opened:
                await connection.close()
            lock.close()
            if isinstance(error, sqlite3.Error):
                raise DatabaseUnusableError(problem_with_file(path, error)) from error
            raise
        return cls(path=path, writer=writer, reader=reader, lister=lister, lock=lock, events=events or Events())

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        rows = await _read(self._reader, sql, params)
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        return await _read(self._lister, _as_known(sql), params)

    async def transaction(
        self, work: Callable[[SqliteTransaction], Awaitable[T]], *, without_time_limit: bool = False
    ) -> T:
        return await self._group_commit.transaction(work)

    async def close(self) -> None:
        await self._group_commit.close()
        for connection in (self._lister, self._reader, self._writer):
            await connection.close()
        self._lock.close()

    async def has_table(self, name: str) -> bool:
        return bool(await self.fetch_all(HAS_TABLE, {"name": name}))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteFile]:
        with SqliteFile(self._path) as file:
            yield file

    async def refresh_statistics(self) -> None:
        """Nothing to do: our query plans do not depend on statistics."""

    async def now(self) -> Instant:
        return SystemClock().now()

    def notify(self, notice: str) -> None:
        """Nothing to do: no other process has the file open."""

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Nothing to do: no other process sends notices."""

    async def ping(self) -> None:
        # after a failed write only a write shows that the disk accepts them again: with a full disk transactions still
        # begin
        writes = self._group_commit.is_failing

        async def probe(tx: SqliteTransaction) -> None:
            # SQLite writes nothing for a row that stays the same; the lease of a single node is not used.
            await tx.execute("UPDATE nodes SET expires_at = expires_at + 1" if writes else "SELECT 1")

        await self.transaction(probe)
        if writes:
            self._group_commit.is_failing = False

    async def compact(self) -> None:
        """Write the file anew and empty the write-ahead log; needs as much free space as the file is large."""
        for statement in ("PRAGMA temp_store = FILE", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            await self._group_commit.execute_alone(statement)

    async def maintain(self) -> None:
        """Copy the write-ahead log into the database file, as far as readers allow, so that the log stays small."""
        await self._group_commit.execute_alone("PRAGMA wal_checkpoint(PASSIVE)")


async def _connect(uri: str, opened: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(uri, uri=True, isolation_level=None, cached_statements=256)
    opened.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in _SHARED_PRAGMAS:
        await connection.execute_fetchall(f"PRAGMA {pragma}")
    # SQLite's own LOWER changes the letters of ASCII only
    await connection.create_function("LOWER", 1, lambda text: text and text.lower(), deterministic=True)
    return connection


@lru_cache(maxsize=512)
def _as_known(sql: str) -> str:
    """The statement as this library knows it: before 3.43 there was no ``OCTET_LENGTH``.

    A function in Python in its place would be called for every value of every row, and wait for the event loop each
    time.
    """
    return sql if sqlite3.sqlite_version_info >= (3, 43) else _OCTET_LENGTH.sub(r"LENGTH(CAST(\1 AS BLOB))", sql)


async def _read(connection: aiosqlite.Connection, sql: str, params: Params | None) -> Sequence[Row]:
    try:
        return cast("Sequence[Row]", await connection.execute_fetchall(sql, params or _NO_PARAMS))
    except sqlite3.Error as error:
        raise scheduler_error(error) from error
