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
    """The schema of a database does not fit this program; the message is one sentence that says what to do."""


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
    """The migrations of this program, in order."""
    folder = resources.files("scheduler.store") / "migrations"
    found = [
        Migration(version=int(match[1]), name=entry.name, sql=entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _FILE_NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


async def migrate(db: Database, now: Instant, migrations: list[Migration] | None = None) -> list[str]:
    """Apply the pending migrations in one transaction; returns their names.

    Raises ``MigrationError``, and changes nothing, when the database is newer than the program or a released file was
    edited.
    """
    known = packaged_migrations() if migrations is None else migrations

    async def apply(tx: Transaction) -> list[str]:
        await tx.advisory_lock("migrate")
        await tx.execute(_CREATE_LEDGER)
        # raises where nothing can be written: opening a read-only file does not
        await tx.execute("UPDATE schema_migrations SET name = name")
        rows = await tx.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        applied = {row["version"]: row for row in rows}
        _require_known(applied, known)
        pending = [migration for migration in known if migration.version not in applied]
        for migration in pending:
            await _apply_one(tx, migration, now)
        return [migration.name for migration in pending]

    return await db.transaction(apply, without_time_limit=True)


async def pending_migrations(reader: Reader) -> list[Migration]:
    """The migrations that are not applied yet, by reading only; all of them for a database without our tables.

    Raises ``MigrationError`` as ``migrate`` does.
    """
    known = packaged_migrations()
    if not await reader.has_table("schema_migrations"):
        return known
    rows = await reader.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    applied = {row["version"]: row for row in rows}
    _require_known(applied, known)
    return [migration for migration in known if migration.version not in applied]


def _require_known(applied: Mapping[int, Row], known: list[Migration]) -> None:
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
    """The statements of a script without its comments. No literal of a migration contains ``;`` or ``--``."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]
