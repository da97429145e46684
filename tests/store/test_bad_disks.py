"""SQLite on bad days: locked, full, not writable, not confirming, and with a reader that keeps its log."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import DatabaseBroken, Events
from scheduler.store.database import Transaction
from scheduler.store.sqlite import database as sqlite
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.sqlite.file import check
from scheduler.store.sqlite.writer import BUSY_MS


@pytest.fixture
async def table(db: SqliteDatabase) -> SqliteDatabase:
    async def create(tx: Transaction) -> None:
        await tx.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT)")

    await db.transaction(create)
    return db


def insert(size: int) -> Any:
    async def work(tx: Transaction) -> None:
        await tx.execute("INSERT INTO things (text) VALUES (:text)", {"text": "x" * size})

    return work


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


async def test_a_full_disk_refuses_and_is_back_when_there_is_room(table: SqliteDatabase) -> None:
    (pages,) = await table._writer.execute_fetchall("PRAGMA page_count")
    await table._writer.execute_fetchall(f"PRAGMA max_page_count = {pages[0] + 2}")
    with pytest.raises(SchedulerError, match="full") as refusal:
        await table.transaction(insert(100_000))
    assert refusal.value.code == "SERVICE_UNAVAILABLE"
    with pytest.raises(SchedulerError):
        await table.transaction(insert(100_000))
    await table._writer.execute_fetchall("PRAGMA max_page_count = 1073741823")
    await table.ping()
    await table.transaction(insert(100_000))
    assert [row["n"] for row in await table.fetch_all("SELECT COUNT(*) AS n FROM things")] == [1]


async def test_a_locked_file_refuses_after_its_time_and_is_back(table: SqliteDatabase, tmp_path: Path) -> None:
    await table._writer.execute_fetchall("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(tmp_path / "scheduler.db", isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SchedulerError, match="locked") as refusal:
            await table.transaction(insert(1))
        assert refusal.value.code == "SERVICE_UNAVAILABLE"
        with pytest.raises(SchedulerError):
            await table.ping()
        assert await table.fetch_all("SELECT id FROM things") == []  # reading goes on
        intruder.execute("ROLLBACK")
    await table.ping()
    await table.transaction(insert(1))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC])
async def test_a_disk_that_does_not_confirm_ends_all_writing(
    table: SqliteDatabase, events: Events, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    heard: list[DatabaseBroken] = []
    events.listen(DatabaseBroken, heard.append)
    commit = table._writer.commit

    async def unconfirmed() -> None:
        raise failure(code)

    monkeypatch.setattr(table._writer, "commit", unconfirmed)
    results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(3)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert len(heard) == 1 and "did not confirm" in heard[0].why
    monkeypatch.setattr(table._writer, "commit", commit)
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))
    assert await table.fetch_all("SELECT id FROM things") == []


async def test_what_waits_when_a_disk_does_not_confirm_is_not_written(
    table: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed confirmation is enough, even if the next would succeed."""
    commit = table._writer.commit

    async def unconfirmed_once() -> None:
        monkeypatch.setattr(table._writer, "commit", commit)
        raise failure(sqlite3.SQLITE_IOERR_FSYNC)

    monkeypatch.setattr(table._writer, "commit", unconfirmed_once)
    results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(600)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert await table.fetch_all("SELECT id FROM things") == []


async def test_a_checkpoint_that_is_not_confirmed_ends_all_writing(
    table: SqliteDatabase, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[DatabaseBroken] = []
    events.listen(DatabaseBroken, heard.append)

    async def unconfirmed(_: str) -> None:
        raise failure(sqlite3.SQLITE_IOERR_FSYNC)

    with monkeypatch.context() as patch:
        patch.setattr(table._writer, "execute_fetchall", unconfirmed)
        with pytest.raises(SchedulerError):
            await table.maintain()
    assert len(heard) == 1
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))


async def test_what_waits_for_a_locked_file_waits_together(table: SqliteDatabase, tmp_path: Path) -> None:
    await table._writer.execute_fetchall("PRAGMA busy_timeout = 50")
    begun: list[str] = []
    await table._writer.set_trace_callback(begun.append)
    with closing(sqlite3.connect(tmp_path / "scheduler.db", isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(100)), return_exceptions=True)
        intruder.execute("ROLLBACK")
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert begun.count("BEGIN IMMEDIATE") <= 2
    await table.transaction(insert(1))
    (patience,) = await table._writer.execute_fetchall("PRAGMA busy_timeout")
    assert patience[0] == BUSY_MS


async def test_a_file_that_was_taken_away_is_not_written_to(table: SqliteDatabase, tmp_path: Path) -> None:
    """Its descriptor would take everything, to lose it with the process."""
    path, elsewhere = tmp_path / "scheduler.db", tmp_path / "elsewhere.db"
    path.rename(elsewhere)
    for trial in (table.transaction(insert(1)), table.ping()):
        with pytest.raises(SchedulerError, match="put it back") as refusal:
            await trial
        assert refusal.value.code == "SERVICE_UNAVAILABLE"
    path.write_bytes(elsewhere.read_bytes())
    with pytest.raises(SchedulerError, match="replaced"):
        await table.ping()
    elsewhere.replace(path)
    await table.ping()
    await table.transaction(insert(1))


async def test_other_errors_of_the_disk_do_not(
    table: SqliteDatabase, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[DatabaseBroken] = []
    events.listen(DatabaseBroken, heard.append)
    commit = table._writer.commit

    async def refused() -> None:
        raise failure(sqlite3.SQLITE_IOERR_WRITE)

    monkeypatch.setattr(table._writer, "commit", refused)
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))
    monkeypatch.setattr(table._writer, "commit", commit)
    await table.transaction(insert(1))
    assert heard == []


async def test_a_log_that_a_reader_kept_is_cut_back_when_it_is_gone(
    table: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 1024 * 1024
    await table._writer.execute_fetchall(f"PRAGMA journal_size_limit = {limit}")
    log = tmp_path / "scheduler.db-wal"
    with closing(sqlite3.connect(tmp_path / "scheduler.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM things").fetchone()
        for _ in range(8):
            await table.transaction(insert(limit // 2))
            await table.maintain()
        assert log.stat().st_size > 2 * limit
        assert reader.execute("SELECT COUNT(*) FROM things").fetchone() == (0,)
    await table.maintain()
    await table.transaction(insert(1))  # the log begins anew, and only then is cut
    assert log.stat().st_size <= limit
    await table.close()
    check(tmp_path / "scheduler.db")


async def test_every_connection_that_writes_confirms(tmp_path: Path) -> None:
    for durability, level in (("full", 2), ("normal", 1)):
        db = await SqliteDatabase.open(tmp_path / f"{durability}.db", durability=durability)
        (found,) = await db._writer.execute_fetchall("PRAGMA synchronous")
        (limit,) = await db._writer.execute_fetchall("PRAGMA journal_size_limit")
        await db.close()
        assert (found[0], limit[0]) == (level, sqlite.LOG_LIMIT)
