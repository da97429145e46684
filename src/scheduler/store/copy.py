"""Copies all rows from one database to another, unchanged, and compares the two afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, cast

import orjson

from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Reader, Row, Transaction

TABLES: Mapping[str, tuple[str, ...]] = {
    "accounts": ("id",),
    "api_keys": ("id",),
    "members": ("account_id", "user_id"),
    "invitations": ("id",),
    "jobs": ("id",),
    "job_history": ("id",),
    "webhooks": ("id",),
    "executions": ("id",),
    "key_check": ("id",),
    "audit": ("id",),
    "zones": ("name", "since_at"),
}
"""The copied tables with their primary keys; a table stands after those that it refers to."""
NOT_COPIED = frozenset({"schema_migrations", "nodes", "copies"})
"""Tables that describe the database itself."""

BATCH = 1000
"""How many rows are read, and written in one transaction, at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """The number of rows of a table and a checksum over them that does not depend on their order."""

    rows: int
    checksum: str


async def count_rows(source: Reader) -> dict[str, int]:
    """The number of rows by table, for the tables that exist."""
    counts = {}
    for table in TABLES:
        if not await source.has_table(table):
            continue
        (row,) = await source.fetch_all(f"SELECT COUNT(*) AS n FROM {table}")
        counts[table] = row["n"]
    return counts


async def copy_tables(source: Reader, target: Database, on_batch: Callable[[int], None]) -> None:
    """Add the rows to ``target`` that it lacks; ``on_batch`` is called with the number of rows of each batch.

    An interrupted copy continues after its last row: rows are read in the order of their primary keys.
    """
    for table, key in TABLES.items():
        after = await _last_key(target, table, key)
        if after is not None:
            (row,) = await target.fetch_all(f"SELECT COUNT(*) AS n FROM {table}")
            on_batch(row["n"])
        async for rows in _batches(source, table, key, after):
            await target.transaction(partial(_insert, table=table, rows=rows))
            on_batch(len(rows))


async def fingerprint(reader: Reader, table: str, on_batch: Callable[[int], None]) -> Fingerprint:
    """The fingerprint of a whole table; ``on_batch`` is called with the number of rows of each batch."""
    count, total = 0, 0
    async for rows in _batches(reader, table, TABLES[table], None):
        names = _names(rows)
        values = itemgetter(*(names.index(name) for name in sorted(names)))
        for row in rows:
            digest = hashlib.sha256(orjson.dumps(values(row))).digest()
            total = (total + int.from_bytes(digest[:16])) % 2**128
        count += len(rows)
        on_batch(len(rows))
    return Fingerprint(rows=count, checksum=f"{total:032x}")


async def begin(target: Database, source_name: str, now: Instant) -> None:
    """Record that a copy into ``target`` has begun: no service starts on it until ``finish``."""

    async def record(tx: Transaction) -> None:
        await tx.execute(
            """
            INSERT INTO copies (source, started_at) VALUES (:source, :now) ON CONFLICT (source) DO NOTHING
            """,
            {"source": source_name, "now": now},
        )

    await target.transaction(record)


async def finish(target: Database, source_name: str, now: Instant) -> None:
    """Record that the copy is complete."""

    async def record(tx: Transaction) -> None:
        await tx.execute(
            "UPDATE copies SET finished_at = :now WHERE source = :source", {"source": source_name, "now": now}
        )

    await target.transaction(record)


async def unfinished(db: Reader) -> str | None:
    """The source of the unfinished copy into this database; ``None`` when there is none."""
    rows = await db.fetch_all("SELECT source FROM copies WHERE finished_at IS NULL")
    source: str | None = rows[0]["source"] if rows else None
    return source


async def _last_key(target: Database, table: str, key: tuple[str, ...]) -> Mapping[str, Any] | None:
    order = ", ".join(f"{name} DESC" for name in key)
    rows = await target.fetch_all(f"SELECT {', '.join(key)} FROM {table} ORDER BY {order} LIMIT 1")
    # The order of user names depends on the collation of the server, so all rows of that table are inserted again.
    return {"k0": rows[0][key[0]]} if rows and len(key) == 1 else None


async def _batches(
    reader: Reader, table: str, key: tuple[str, ...], after: Mapping[str, Any] | None
) -> AsyncIterator[Sequence[Row]]:
    """The rows after a primary key, in the order of primary keys, a thousand at a time."""
    order = ", ".join(key)
    behind = f"{key[0]} > :k0" if len(key) == 1 else f"({key[0]} > :k0 OR ({key[0]} = :k0 AND {key[1]} > :k1))"
    while True:
        where = f"WHERE {behind}" if after else ""
        rows = await reader.fetch_all(f"SELECT * FROM {table} {where} ORDER BY {order} LIMIT {BATCH}", after)
        if not rows:
            return
        yield rows
        after = {f"k{number}": rows[-1][name] for number, name in enumerate(key)}


async def _insert(tx: Transaction, *, table: str, rows: Sequence[Row]) -> None:
    names = _names(rows)
    placeholders = ", ".join(f":{name}" for name in names)
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({placeholders}) ON CONFLICT DO NOTHING"
    await tx.execute_many(sql, [dict(zip(names, row, strict=True)) for row in cast("Sequence[Iterable[Any]]", rows)])


def _names(rows: Sequence[Row]) -> list[str]:
    """The columns, in the order of their values. Rows of both drivers are sequences, twice as fast as mappings."""
    return list(rows[0].keys())  # type: ignore[attr-defined]
