"""SQLite on files that are locked, full, not writable, not confirmed, or kept in use by a long reader."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import DatabaseBroken, Events
from scheduler.store.database import Row, Transaction
from scheduler.store.sqlite.database import LOG_LIMIT, SqliteDatabase
from scheduler.store.sqlite.file import require_sound
from scheduler.store.sqlite.writer import BUSY_MS
from tests.checks import present
from tests.event_log import EventLog


@pytest.fixture
async def table(db: SqliteDatabase) -> SqliteDatabase:
    async def create(tx: Transaction) -> None:
        await tx.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT)")

    await db.transaction(create)
    return db


@pytest.fixture
def writer(table: SqliteDatabase, sqlite_connections: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    """The connection of ``table`` that writes."""
    return sqlite_connections[0]


async def pragma(db: SqliteDatabase, text: str) -> Row:
    """Set or read a pragma of the connection that writes."""
    return present(await db.transaction(lambda tx: tx.fetch_one(f"PRAGMA {text}")))


def insert(size: int) -> Callable[[Transaction], Awaitable[None]]:
    async def work(tx: Transaction) -> None:
        await tx.execute("INSERT INTO things (text) VALUES (:text)", {"text": "x" * size})

    return work


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


async def test_a_full_disk_refuses_and_is_back_when_there_is_room(table: SqliteDatabase) -> None:
    pages = (await pragma(table, "page_count"))["page_count"]
    await pragma(table, f"max_page_count = {pages + 2}")
    with pytest.raises(SchedulerError, match="full") as refusal:
        await table.transaction(insert(100_000))
    assert refusal.value.code == "SERVICE_UNAVAILABLE"
    with pytest.raises(SchedulerError):
        await table.transaction(insert(100_000))
    assert await table.fetch_all("SELECT id FROM things") == []
    await pragma(table, "max_page_count = 1073741823")
    await table.ping()
    await table.transaction(insert(100_000))
    assert [row["n"] for row in await table.fetch_all("SELECT COUNT(*) AS n FROM things")] == [1]


async def test_a_locked_file_refuses_after_its_time_and_is_back(table: SqliteDatabase, tmp_path: Path) -> None:
    await pragma(table, "busy_timeout = 50")
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
    table: SqliteDatabase, writer: aiosqlite.Connection, events: Events, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    broken = EventLog(events, DatabaseBroken)

    async def unconfirmed() -> None:
        raise failure(code)

    monkeypatch.setattr(writer, "commit", unconfirmed)
    results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(3)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert len(broken.told) == 1 and "did not confirm" in broken.told[0].why
    monkeypatch.undo()
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))
    assert await table.fetch_all("SELECT id FROM things") == []


async def test_what_waits_when_a_disk_does_not_confirm_is_not_written(
    table: SqliteDatabase, writer: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed confirmation is enough, even if the next would succeed."""

    async def unconfirmed_once() -> None:
        monkeypatch.undo()
        raise failure(sqlite3.SQLITE_IOERR_FSYNC)

    monkeypatch.setattr(writer, "commit", unconfirmed_once)
    results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(600)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert await table.fetch_all("SELECT id FROM things") == []


async def test_a_checkpoint_that_is_not_confirmed_ends_all_writing(
    table: SqliteDatabase, writer: aiosqlite.Connection, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EventLog(events, DatabaseBroken)

    async def unconfirmed(_: str) -> None:
        raise failure(sqlite3.SQLITE_IOERR_FSYNC)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "execute_fetchall", unconfirmed)
        with pytest.raises(SchedulerError):
            await table.maintain()
    assert len(broken.told) == 1
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))


async def test_what_waits_for_a_locked_file_waits_together(
    table: SqliteDatabase, writer: aiosqlite.Connection, tmp_path: Path
) -> None:
    await pragma(table, "busy_timeout = 50")
    begun: list[str] = []
    await writer.set_trace_callback(begun.append)
    with closing(sqlite3.connect(tmp_path / "scheduler.db", isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(table.transaction(insert(1)) for _ in range(100)), return_exceptions=True)
        intruder.execute("ROLLBACK")
    assert {getattr(result, "code", None) for result in results} == {"SERVICE_UNAVAILABLE"}
    assert begun.count("BEGIN IMMEDIATE") <= 2
    await table.transaction(insert(1))
    assert (await pragma(table, "busy_timeout"))["timeout"] == BUSY_MS


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


async def test_other_errors_of_the_disk_do_not_end_all_writing(
    table: SqliteDatabase, writer: aiosqlite.Connection, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EventLog(events, DatabaseBroken)

    async def refused() -> None:
        raise failure(sqlite3.SQLITE_IOERR_WRITE)

    monkeypatch.setattr(writer, "commit", refused)
    with pytest.raises(SchedulerError):
        await table.transaction(insert(1))
    monkeypatch.undo()
    await table.transaction(insert(1))
    assert broken.told == []


async def test_a_log_that_a_reader_kept_is_cut_back_when_it_is_gone(
    table: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 1024 * 1024
    await pragma(table, f"journal_size_limit = {limit}")
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
    require_sound(tmp_path / "scheduler.db")


async def test_the_log_has_a_limit_to_which_it_is_cut_back(table: SqliteDatabase) -> None:
    assert (await pragma(table, "journal_size_limit"))["journal_size_limit"] == LOG_LIMIT
