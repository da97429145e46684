"""The service on a disk that does not confirm the commit of a new job.

``python -m tests.crash.broken_disk serve …`` is ``scheduler serve …`` on it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import aiosqlite

from scheduler import cli
from scheduler.store.jobs.jobs import JobStore


def main() -> None:
    commit, insert = aiosqlite.Connection.commit, JobStore.insert

    async def fail(_: Any) -> None:
        aiosqlite.Connection.commit = commit  # type: ignore[method-assign]
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    async def insert_and_fail(store: JobStore, *args: Any, **named: Any) -> None:
        aiosqlite.Connection.commit = fail  # type: ignore[method-assign, assignment]
        await insert(store, *args, **named)

    JobStore.insert = insert_and_fail  # type: ignore[method-assign, assignment]
    cli.main()


if __name__ == "__main__":
    main()
