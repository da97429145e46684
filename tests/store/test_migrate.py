"""Migrations: in order, once, and never onto a database that does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.store.migrate import Migration, MigrationError, migrate, packaged_migrations
from scheduler.store.sqlite.database import SqliteDatabase
from tests.conftest import SetClock

NEXT = Migration(
    version=9000, name="9000_more.sql", sql="CREATE TABLE more (id BIGINT); -- why; not\nCREATE INDEX i ON more (id)"
)


async def test_a_second_start_applies_nothing(db: SqliteDatabase, clock: SetClock) -> None:
    assert await migrate(db, clock.now()) == []


async def test_new_files_are_applied_in_order(db: SqliteDatabase, clock: SetClock) -> None:
    assert await migrate(db, clock.now(), [*packaged_migrations(), NEXT]) == ["9000_more.sql"]
    assert await db.fetch_all("SELECT id FROM more") == []


async def test_a_newer_database_is_refused(db: SqliteDatabase, clock: SetClock) -> None:
    await migrate(db, clock.now(), [*packaged_migrations(), NEXT])
    with pytest.raises(MigrationError, match="schema 9000"):
        await migrate(db, clock.now())


async def test_an_edited_file_is_refused(db: SqliteDatabase, clock: SetClock) -> None:
    first, *later = packaged_migrations()
    with pytest.raises(MigrationError, match="never edited"):
        await migrate(db, clock.now(), [replace(first, sql=first.sql + "\n-- edited"), *later])


async def test_a_failing_file_leaves_nothing_behind(db: SqliteDatabase, clock: SetClock) -> None:
    broken = replace(NEXT, sql="CREATE TABLE half (id BIGINT); CREATE TABLE half (id BIGINT)")
    with pytest.raises(Exception, match="half"):
        await migrate(db, clock.now(), [*packaged_migrations(), broken])
    assert await db.fetch_all("SELECT name FROM sqlite_master WHERE name = 'half'") == []
