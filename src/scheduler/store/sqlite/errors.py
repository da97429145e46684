"""What the errors of SQLite mean to us and to the caller."""

from __future__ import annotations

import sqlite3

from scheduler.domain.errors import SchedulerError

_UNCERTAIN = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_OF_THE_FILE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}


def is_uncertain(error: BaseException) -> bool:
    """The disk did not confirm: a page may be lost although the next attempt to write it succeeds."""
    return _code(error) in _UNCERTAIN


def is_of_the_file(error: BaseException) -> bool:
    """Whatever else is written now meets the same error.

    Not so with a full disk, which may have room for less, nor with a page that is broken, as others are not.
    """
    return _code(error) & 0xFF in _OF_THE_FILE


def is_busy(error: BaseException) -> bool:
    """Another program has the file locked."""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def refusal_of(error: sqlite3.Error) -> SchedulerError:
    """The error for the caller."""
    if isinstance(error, sqlite3.OperationalError):
        return SchedulerError("SERVICE_UNAVAILABLE", f"the database cannot be used right now: {error}")
    if isinstance(error, sqlite3.IntegrityError) and "FOREIGN KEY" in str(error):
        return SchedulerError("CONFLICT", "what this belongs to has just been deleted")
    return SchedulerError("DATABASE_ERROR", f"the database refused the statement: {error}")


def _code(error: BaseException) -> int:
    """The extended result code; 0 for what SQLite did not say."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
