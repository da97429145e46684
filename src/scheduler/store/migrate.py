"""Schema migrations: numbered SQL files, applied once and in order, never edited after release."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Reader, Row, Transaction

_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")
_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL
)
"""


class MigrationError(Exception):
    """The database does not fit this program; the sentence says what to do. Nothing was changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One numbered SQL file of the package."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """The migrations that this program brings, in order."""
    folder = resources.files("scheduler.store") / "migrations"
    found = [
        Migration(version=int(match[1]), name=entry.name, sql=entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _FILE_NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


async def migrate(db: Database, now: Instant, migrations: list[Migration] | None = None) -> list[str]:
    """Bring the schema up to date in one transaction; returns the names of what was applied.

    Raises ``MigrationError`` when the database is newer than the program or a released file was changed.
    """
    known = packaged_migrations() if migrations is None else migrations

    async def apply(tx: Transaction) -> list[str]:
        await tx.take_turn("migrate")
        await tx.execute(_CREATE_LEDGER)
        # Proves that we may write, before anything relies on it: a read-only file opens without a word.
        await tx.execute("UPDATE schema_migrations SET name = name")
        rows = await tx.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        applied = {row["version"]: row for row in rows}
        _refuse_strangers(applied, known)
        pending = [migration for migration in known if migration.version not in applied]
        for migration in pending:
            await _apply_one(tx, migration, now)
        return [migration.name for migration in pending]

    return await db.transaction(apply, patient=True)


async def pending_migrations(reader: Reader) -> list[Migration]:
    """What the database behind ``reader`` lacks, without a change to it; all of them where it is no database of ours.

    Raises ``MigrationError`` as ``migrate`` does.
    """
    known = packaged_migrations()
    if not await reader.has_table("schema_migrations"):
        return known
    rows = await reader.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    applied = {row["version"]: row for row in rows}
    _refuse_strangers(applied, known)
    return [migration for migration in known if migration.version not in applied]


def _refuse_strangers(applied: Mapping[int, Row], known: list[Migration]) -> None:
    newest = known[-1].version if known else 0
    if applied and max(applied) > newest:
        raise MigrationError(
            f"the database has schema {max(applied)}, this program knows up to {newest}: install the newer version "
            "again, or restore the backup made before the upgrade"
        )
    for migration in known:
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise MigrationError(
                f"{migration.name} differs from what was applied to this database: released migrations are never "
                "edited; install an unmodified version"
            )


async def _apply_one(tx: Transaction, migration: Migration, now: Instant) -> None:
    for statement in _statements(migration.sql):
        await tx.execute(statement)
    await tx.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (:version, :name, :checksum, :now)",
        {"version": migration.version, "name": migration.name, "checksum": migration.checksum, "now": now},
    )


def _statements(sql: str) -> list[str]:
    """The statements of a script; comments end with their line, and no literal in a migration holds a semicolon."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]
