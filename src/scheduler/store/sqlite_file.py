"""A SQLite file as it is: read beside whoever uses it, or copied, without ever being changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from scheduler.store.database import DatabaseInUseError, DatabaseUnusableError, Params, Row
from scheduler.store.mounts import network_file_system

HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"


class SqliteFile:
    """One consistent view of the file, for as long as the context is open. Raises ``DatabaseUnusableError``.

    Nothing here is written, and nothing checkpointed as long as a service has the file, too.
    """

    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        if not self._path.is_file():
            raise DatabaseUnusableError(f"there is no database {self._path}")
        with _unusable(self._path):
            # Not read-only: where no log is left beside the file, that could not be opened.
            self._connection = _connect(self._path)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        with _unusable(self._path):
            return cast("Sequence[Row]", self._connection.execute(sql, params or {}).fetchall())

    async def has_table(self, name: str) -> bool:
        return bool(await self.fetch_all(HAS_TABLE, {"name": name}))

    @property
    def size(self) -> int:
        """Bytes on disk, those of the write-ahead log included."""
        parts = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())


def back_up(source: Path, target: Path) -> None:
    """Write what ``source`` has at this moment to the new or empty file ``target``, compact, and check that.

    The service may go on with it meanwhile. Raises ``DatabaseUnusableError``.
    """
    with _unusable(source), contextlib.closing(_connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    check(target)


def check(path: Path) -> None:
    """Raises ``DatabaseUnusableError`` unless every page and every reference of the file is sound."""
    with _unusable(path), contextlib.closing(_connect(path)) as connection:
        complaints = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
        complaints += [f"broken reference in {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")][:3]
    if complaints:
        raise DatabaseUnusableError(f"{path} is damaged: {'; '.join(complaints)}")


def lock_file(path: Path) -> IO[bytes]:
    """Hold ``<database>.lock`` for the life of the process; the kernel lets go of it however the process ends.

    Makes the database file, too, when there is none.
    """
    if (kind := network_file_system(path)) is not None:
        raise DatabaseUnusableError(
            f"the database {path} is on a network file system ({kind}), where SQLite loses data: choose a local disk "
            "with --data-dir, or PostgreSQL with --database-url"
        )
    try:
        # Made by us, so that nobody else may read them: SQLite gives its other files the mode of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        lock = os.fdopen(os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600), "wb")
    except OSError as error:
        raise DatabaseUnusableError(f"the database {path} cannot be used: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DatabaseInUseError(
            f"{path} is in use by another scheduler process: stop that one, or give this one its own data directory"
        ) from None
    return lock


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep the service from starting on this file. Raises ``DatabaseInUseError`` while it runs."""
    lock = path.resolve().with_name(path.resolve().name + ".lock")
    if not lock.exists():  # never used by a service: a backup, say, which is not to get a file beside it
        yield
        return
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatabaseInUseError(f"a service is running on {path}: stop it first") from None
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Is a service running on this file?"""
    try:
        with held(path):
            return False
    except DatabaseInUseError:
        return True


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def unusable(path: Path, error: sqlite3.Error) -> str:
    """Why the file cannot be used, in one sentence that says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    remedy = {
        sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
        sqlite3.SQLITE_NOTADB: "it is no SQLite database; name another file, or restore it from a backup",
        sqlite3.SQLITE_FULL: "the disk is full; make room",
        sqlite3.SQLITE_IOERR: "the disk is full or broken; make room, or choose another with --data-dir",
        sqlite3.SQLITE_READONLY: "it cannot be written to; give it the right owner and mode",
        sqlite3.SQLITE_BUSY: "another program keeps it locked; end that one",
    }.get(code)
    return f"the database {path} cannot be used ({error})" + (f": {remedy}" if remedy else "")


@contextlib.contextmanager
def _unusable(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseUnusableError(unusable(path, error)) from error
