"""``scheduler db status`` and ``scheduler db migrate``: reads the state of a database, and applies migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import Instant, SystemClock
from scheduler.ops.data_dir import last_backup_at
from scheduler.ops.open_database import connect, sentences
from scheduler.store.copy import count_rows, unfinished
from scheduler.store.database import Reader, Row
from scheduler.store.migrate import migrate, packaged_migrations, pending_migrations
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.sqlite.file import SqliteFile, is_locked


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a database."""

    name: str
    version: str
    schema: int
    pending: tuple[str, ...]
    """Migrations of this program that are not applied yet."""
    size: int
    """Bytes."""
    rows: Mapping[str, int]
    """By table."""
    executions: Mapping[str, int]
    """By status."""
    nodes: int
    """Services that use it."""
    last_backup_at: Instant | None
    unfinished_copy: str | None


async def bring_up_to_date(config: Config) -> list[str]:
    """Apply the pending migrations; returns their names. Raises ``StartError``."""
    with sentences(config):
        db = await connect(config)
        try:
            return await migrate(db, SystemClock().now())
        finally:
            await db.close()


async def state_of(config: Config) -> State:
    """The state of the configured database, which is only read. Raises ``StartError``."""
    with sentences(config):
        if database_dsn(config) is None:
            path = database_path(config)
            with SqliteFile(path) as file:
                return await _state(config, file, version=file.version, size=file.size, nodes=int(is_locked(path)))
        db = await connect(config)
        try:
            (row,) = await db.fetch_all("SELECT pg_database_size(current_database()) AS size")
            nodes = len(await NodeStore(db).alive()) if await db.has_table("nodes") else 0
            return await _state(config, db, version=db.version, size=row["size"], nodes=nodes)
        finally:
            await db.close()


async def _state(config: Config, reader: Reader, *, version: str, size: int, nodes: int) -> State:
    known = packaged_migrations()
    pending = [migration.name for migration in await pending_migrations(reader)]
    statuses: Sequence[Row] = []
    if len(pending) < len(known):
        statuses = await reader.fetch_all(
            "SELECT status, COUNT(*) AS n FROM executions GROUP BY status ORDER BY status"
        )
    return State(
        name=database_name(config),
        version=version,
        schema=max((migration.version for migration in known if migration.name not in pending), default=0),
        pending=tuple(pending),
        size=size,
        rows=await count_rows(reader),
        executions={row["status"]: row["n"] for row in statuses},
        nodes=nodes,
        last_backup_at=last_backup_at(config),
        unfinished_copy=await unfinished(reader) if await reader.has_table("copies") else None,
    )
