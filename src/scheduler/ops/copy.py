"""``scheduler db copy``: copies a database to an empty one and compares the two row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import SystemClock
from scheduler.ops.open_database import connect, sentences
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.store.copy import (
    TABLES,
    Fingerprint,
    begin,
    copy_tables,
    count_rows,
    fingerprint,
    finish,
    unfinished,
)
from scheduler.store.database import Database, DatabaseInUseError, Reader
from scheduler.store.migrate import MigrationError, migrate, packaged_migrations, pending_migrations
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.sqlite.file import SqliteFile, locked


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A copy that has the same rows as its source."""

    tables: Mapping[str, Fingerprint]
    resumed: bool
    """It continued an interrupted copy."""


async def copy_database(
    config: Config, source_url: str, target_url: str, progress: Callable[[int], Callable[[int], None]]
) -> Copied:
    """Copy everything from one database to another that is empty, and compare them row by row.

    An interrupted copy continues where it stopped. ``progress`` is called once with the number of rows to process; the
    function that it returns is called with the number of rows of each batch. Raises ``StartError``.
    """
    source_config, target_config = (at(config, url) for url in (source_url, target_url))
    name = _full_name(source_config)
    if name == _full_name(target_config):
        raise StartError("--from and --to are the same database", exit_code=ExitCode.CONFIGURATION)
    async with _source(source_config) as (source, require_idle), _target(target_config) as target:
        resumed = await _prepare(target, target_config, name)
        counts = await count_rows(source)
        on_batch = progress(3 * sum(counts.values()))
        with sentences(target_config):
            await copy_tables(source, target, on_batch)
            tables = {table: await _compared(source, target, table, on_batch) for table in TABLES}
            await target.refresh_statistics()
            await require_idle()
            await finish(target, name, SystemClock().now())
    return Copied(tables=tables, resumed=resumed)


@asynccontextmanager
async def _source(config: Config) -> AsyncIterator[tuple[Reader, Callable[[], Awaitable[None]]]]:
    """A consistent view of a database that no service uses and whose schema is that of this program.

    The function beside it raises ``DatabaseInUseError`` if a service has started on the database meanwhile.
    """
    with sentences(config):
        if database_dsn(config) is None:
            path = database_path(config)
            with locked(path), SqliteFile(path) as file:
                await require_schema(file, database_name(config))
                yield file, _is_locked
            return
        db = await connect(config)
        try:
            await require_schema(db, database_name(config))
            await _require_idle(db, config)
            async with db.snapshot() as snapshot:
                yield snapshot, partial(_require_idle, db, config)
        finally:
            await db.close()


async def _require_idle(db: Database, config: Config) -> None:
    if await NodeStore(db).alive():
        name = database_name(config)
        raise DatabaseInUseError(f"a service is running on {name}: stop it first (a killed one ends with its lease)")


async def _is_locked() -> None:
    """Nothing to check: no service can start on a file while it is locked."""


@asynccontextmanager
async def _target(config: Config) -> AsyncIterator[Database]:
    with sentences(config):
        db = await connect(config)
        try:
            yield db
        finally:
            await db.close()


async def require_schema(reader: Reader, name: str) -> None:
    """Raises ``MigrationError`` for a schema of another version, or an unfinished copy into the database."""
    if pending := await pending_migrations(reader):
        raise MigrationError(f"{name} lacks {len(pending)} migrations: run `scheduler db migrate` on it first")
    if source := await unfinished(reader):
        raise MigrationError(f"{name} has itself only a part of {source}: finish that `scheduler db copy` first")


async def _prepare(target: Database, config: Config, source_name: str) -> bool:
    """Create the schema of an empty target; returns whether the target has an unfinished copy of this source."""
    name = database_name(config)
    if len(await pending_migrations(target)) == len(packaged_migrations()):
        await migrate(target, SystemClock().now())
    elif await pending_migrations(target):
        raise StartError(
            f"{name} is in use for an older version: name a new database", exit_code=ExitCode.CONFIGURATION
        )
    under_way = await unfinished(target)
    if under_way == source_name:
        return True
    if under_way is not None:
        sentence = f"{name} has a part of {under_way}: finish that copy, or name a new database"
        raise StartError(sentence, exit_code=ExitCode.CONFIGURATION)
    if any((await count_rows(target)).values()):
        raise StartError(f"{name} is not empty: name a new database", exit_code=ExitCode.CONFIGURATION)
    await begin(target, source_name, SystemClock().now())
    return False


async def _compared(source: Reader, target: Database, table: str, on_batch: Callable[[int], None]) -> Fingerprint:
    ours = await fingerprint(source, table, on_batch)
    theirs = await fingerprint(target, table, on_batch)
    if ours != theirs:
        raise StartError(
            f"the copy of {table} differs ({theirs.rows} rows, {theirs.checksum}) from its source ({ours.rows} rows, "
            f"{ours.checksum}): throw the copy away and begin anew",
            exit_code=ExitCode.FAILURE,
        )
    return ours


def at(config: Config, url: str) -> Config:
    """The configuration with another database."""
    return replace(config, database=replace(config.database, url=url))


def _full_name(config: Config) -> str:
    """A name of the database that does not depend on the working directory."""
    return database_name(config) if database_dsn(config) else str(database_path(config).resolve())
