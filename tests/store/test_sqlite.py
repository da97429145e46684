"""The SQLite driver: group commit, isolation of what fails, one process per file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Committed, Events
from scheduler.store.database import DatabaseUnusableError, Transaction
from scheduler.store.sqlite.database import SqliteDatabase
from tests.event_log import EventLog


@pytest.fixture
async def table(db: SqliteDatabase) -> SqliteDatabase:
    async def create(tx: Transaction) -> None:
        await tx.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")

    await db.transaction(create)
    return db


async def _ids(db: SqliteDatabase) -> list[int]:
    return [row["id"] for row in await db.fetch_all("SELECT id FROM things ORDER BY id")]


def _insert(number: int, *, fail: bool = False) -> Callable[[Transaction], Awaitable[int]]:
    async def insert(tx: Transaction) -> int:
        await tx.execute("INSERT INTO things (id) VALUES (:id)", {"id": number})
        if fail:
            raise SchedulerError("CONFLICT", "on purpose")
        return number

    return insert


async def test_transactions_that_gather_share_a_commit_and_each_gets_its_own_result(
    table: SqliteDatabase, events: Events
) -> None:
    commits = EventLog(events, Committed)
    results = await asyncio.gather(*(table.transaction(_insert(number)) for number in range(50)))
    assert results == list(range(50))
    assert await _ids(table) == list(range(50))
    assert len(commits.told) < 50


async def test_one_that_fails_in_a_group_takes_no_other_with_it(table: SqliteDatabase) -> None:
    works = [_insert(1), _insert(2, fail=True), _insert(3), _insert(1)]
    results = await asyncio.gather(*(table.transaction(work) for work in works), return_exceptions=True)
    assert await _ids(table) == [1, 3]
    assert results[0] == 1 and results[2] == 3
    assert isinstance(results[1], SchedulerError) and results[1].code == "CONFLICT"
    assert isinstance(results[3], SchedulerError) and results[3].code == "DATABASE_ERROR"


async def test_one_that_fails_alone_rolls_back(table: SqliteDatabase) -> None:
    with pytest.raises(SchedulerError, match="on purpose"):
        await table.transaction(_insert(7, fail=True))
    assert await _ids(table) == []
    assert await table.transaction(_insert(8)) == 8


async def test_a_cancelled_caller_leaves_no_transaction_open(table: SqliteDatabase) -> None:
    for number in range(40):
        task = asyncio.create_task(table.transaction(_insert(number)))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await table.transaction(_insert(1000)) == 1000
    assert 1000 in await _ids(table)


async def test_synchronous_is_full_unless_asked_otherwise(tmp_path: Path) -> None:
    for durability, level in (("full", 2), ("normal", 1)):
        database = await SqliteDatabase.open(tmp_path / f"{durability}.db", durability=durability)

        async def level_of(tx: Transaction) -> int:
            row = await tx.fetch_one("SELECT synchronous AS level FROM pragma_synchronous")
            assert row is not None
            return int(row["level"])

        try:
            assert await database.transaction(level_of) == level
        finally:
            await database.close()


async def test_a_second_owner_of_the_file_is_refused(tmp_path: Path) -> None:
    first = await SqliteDatabase.open(tmp_path / "one.db")
    try:
        with pytest.raises(DatabaseUnusableError, match="in use by another scheduler process"):
            await SqliteDatabase.open(tmp_path / "one.db")
    finally:
        await first.close()
    again = await SqliteDatabase.open(tmp_path / "one.db")
    await again.close()


async def test_a_connection_that_reads_cannot_write(table: SqliteDatabase) -> None:
    with pytest.raises(SchedulerError):
        await table.fetch_all("INSERT INTO things (id) VALUES (1)")


async def test_no_other_user_may_read_the_files(table: SqliteDatabase, tmp_path: Path) -> None:
    await table.transaction(_insert(1))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600} and "scheduler.db-wal" in modes, modes
