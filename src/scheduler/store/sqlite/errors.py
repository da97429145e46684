"""Classifies the errors of SQLite, and turns them into ``SchedulerError``."""

from __future__ import annotations

import sqlite3

from scheduler.domain.errors import SchedulerError

_UNCERTAIN = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_OF_THE_FILE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}


def is_uncertain(error: BaseException) -> bool:
    """Did the disk not confirm a write? A page may be lost even if the next write of it succeeds."""
    return _code(error) in _UNCERTAIN


def is_of_the_file(error: BaseException) -> bool:
    """Will every other transaction fail with the same error now? Not with a full disk, where a smaller one may succeed,
    nor with a broken page, which another may not read.
    """
    return _code(error) & 0xFF in _OF_THE_FILE


def is_busy(error: BaseException) -> bool:
    """Has another process locked the file?"""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def scheduler_error(error: sqlite3.Error) -> SchedulerError:
    """The error for the caller of a store."""
    if isinstance(error, sqlite3.OperationalError):
        return SchedulerError("SERVICE_UNAVAILABLE", f"the database cannot be used right now: {error}")
    if _code(error) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return SchedulerError("CONFLICT", "what this belongs to has just been deleted")
    return SchedulerError("DATABASE_ERROR", f"the database refused the statement: {error}")


def _code(error: BaseException) -> int:
    """The extended result code; 0 for an error that is not from SQLite."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
