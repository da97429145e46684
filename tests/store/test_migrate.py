"""Migrations: in order, once, and never onto a database that does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.store.migrate import Migration, MigrationError, migrate, packaged_migrations
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from tests.conftest import SetClock
from tests.factories import add_job, read_job

NEXT = Migration(
    version=9000, name="9000_more.sql", sql="CREATE TABLE more (id BIGINT); -- why; not\nCREATE INDEX i ON more (id)"
)


def test_the_migrations_are_numbered_without_a_gap_or_a_repetition() -> None:
    versions = [migration.version for migration in packaged_migrations()]
    assert versions == list(range(1, len(versions) + 1))


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


async def test_one_offs_of_older_versions_are_marked_when_they_were_through(
    db: SqliteDatabase, stores: Stores, clock: SetClock
) -> None:
    now = clock.now()
    over: dict[str, Any] = {"enabled": False, "disabled_by": DisabledBy.THROUGH}
    schedules = {
        "@AT 2026-05-01T00:00:00Z": now - 5,
        "@at 2026-05-01T00:00:00Z\n@every 1h": None,
        "* * * * *": None,
    }
    jobs = {text: await add_job(stores, now, schedule=text, last_run_at=now - 5, **over) for text in schedules}
    await add_job(stores, now, schedule="@at 2026-05-01T00:00:00Z", enabled=False)
    (marking,) = [one for one in packaged_migrations() if "one_offs" in one.name]
    update = next(part for part in marking.sql.split(";") if "UPDATE" in part)
    await db.transaction(lambda tx: tx.execute(update))
    assert {text: (await read_job(stores, job.id)).one_off_ended_at for text, job in jobs.items()} == schedules
    (counted,) = await db.fetch_all("SELECT COUNT(one_off_ended_at) AS n FROM jobs")
    assert counted["n"] == 1
