"""Reads, copies, checks and locks an SQLite file that a service may be using, without changing it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from scheduler.store.database import DatabaseInUseError, DatabaseUnusableError, Params, Row
from scheduler.store.sqlite.network_fs import network_file_system

HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
_UNWRITTEN = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR_WRITE: errno.EIO}


class SqliteFile:
    """A consistent view of the file, for as long as the context is open. Raises ``DatabaseUnusableError``.

    Neither the file nor its write-ahead log is changed, also when a running service uses them or a killed one left
    them.
    """

    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with _errors_of(self._path):
            self._connection = self._open.enter_context(_connected(self._path))
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        with _errors_of(self._path):
            return cast("Sequence[Row]", self._connection.execute(sql, params or {}).fetchall())

    async def has_table(self, name: str) -> bool:
        return bool(await self.fetch_all(HAS_TABLE, {"name": name}))

    @property
    def size(self) -> int:
        """Bytes on disk, those of the write-ahead log included."""
        parts = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())


async def back_up(source: Path, target: Path) -> None:
    """Write the content of ``source`` at this moment to the new or empty file ``target``, compacted, and check it.

    A service may use ``source`` meanwhile. Can be cancelled at any moment. Raises ``DatabaseUnusableError``, and
    ``OSError`` when the target cannot be written.
    """
    with _errors_of(source), _connected(source) as connection:
        try:
            await _interruptibly(connection, lambda: connection.execute("VACUUM INTO ?", (str(target),)))
        except sqlite3.Error as error:
            if (code := _UNWRITTEN.get(error.sqlite_errorcode)) is None:
                raise
            raise OSError(code, os.strerror(code)) from error
    with _errors_of(target), _connected(target) as connection:
        await _interruptibly(connection, lambda: _require_sound(connection, target))


def require_sound(path: Path) -> None:
    """Raises ``DatabaseUnusableError`` unless every page and every reference of the file is sound."""
    with _errors_of(path), _connected(path) as connection:
        _require_sound(connection, path)


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
    problems += [f"broken reference in {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")][:3]
    if problems:
        raise DatabaseUnusableError(f"{path} is damaged: {'; '.join(problems)}")


async def _interruptibly(connection: sqlite3.Connection, work: Callable[[], object]) -> None:
    """Run ``work`` in a thread; when the caller is cancelled, it is interrupted and has ended before this returns."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        connection.interrupt()
        with contextlib.suppress(sqlite3.Error, DatabaseUnusableError):
            await working
        raise


def lock_file(path: Path) -> IO[bytes]:
    """Lock ``<database>.lock`` until the process ends, however it ends; makes the database file when there is none.

    Raises ``DatabaseInUseError`` when another process has it, and ``DatabaseUnusableError``.
    """
    if (kind := network_file_system(path)) is not None:
        raise DatabaseUnusableError(
            f"the database {path} is on a network file system ({kind}), where SQLite loses data: choose a local disk "
            "with --data-dir, or PostgreSQL with --database-url"
        )
    try:
        # made here with mode 0600, which SQLite gives its other files as well
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
def locked(path: Path) -> Iterator[None]:
    """Lock the file, so that no service starts on it. Raises ``DatabaseInUseError`` while one is running."""
    lock = path.resolve().with_name(path.resolve().name + ".lock")
    if not lock.exists():  # no service has ever used it: a backup, say, beside which no file shall be made
        yield
        return
    descriptor = os.open(lock, os.O_RDONLY)  # on a read-only file system as well
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatabaseInUseError(f"a service is running on {path}: stop it first") from None
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Is a service running on this file?"""
    try:
        with locked(path):
            return False
    except DatabaseInUseError:
        return True


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the file and its write-ahead log; both may be on a read-only file system."""
    path = path.resolve()
    if not path.is_file():
        raise DatabaseUnusableError(f"there is no database {path}")
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    with contextlib.ExitStack() as stack:
        if os.access(path.parent, os.W_OK):
            # A last connection that may write would copy a log into the database when it closes. Where there is none
            # one must be made, and only a connection that may write removes it again.
            mode = "ro" if log.exists() else "rw"
        elif log.exists() and index.exists():
            mode = "ro"
        elif log.exists() and log.stat().st_size:
            path, mode = stack.enter_context(_copied(path, log)), "ro"  # the log is read by an index, to be made first
        else:
            mode = "ro&immutable=1"  # there is no log, and none can be made
        uri = f"{path.as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        stack.callback(connection.close)
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        yield connection


@contextlib.contextmanager
def _copied(path: Path, log: Path) -> Iterator[Path]:
    """A copy of the file and its log in a directory of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="scheduler-") as directory:
        for part in (path, log):
            shutil.copyfile(part, Path(directory, part.name))
        yield Path(directory, path.name)


def problem_with_file(path: Path, error: sqlite3.Error) -> str:
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
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseUnusableError(problem_with_file(path, error)) from error
