"""The statements of a PostgreSQL transaction, whose named ``:params`` become ``$1``, ``$2`` …"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import asyncpg

from scheduler.store.database import Params, Row

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

_NO_PARAMS: Params = {}
_PARAM = re.compile(r"'[^']*'|:([a-z_][a-z0-9_]*)")
HAS_TABLE = "SELECT 1 AS one FROM pg_tables WHERE schemaname = current_schema() AND tablename = :name"


class PostgresTransaction:
    """The statements of one transaction on one connection."""

    def __init__(self, connection: PoolConnectionProxy[asyncpg.Record]) -> None:
        self._connection = connection

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        text, names = translated(sql)
        given = params or _NO_PARAMS
        return cast("Sequence[Row]", await self._connection.fetch(text, *[given[name] for name in names]))

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        rows = await self.fetch_all(sql, params)
        return rows[0] if rows else None

    async def execute(self, sql: str, params: Params | None = None) -> None:
        text, names = translated(sql)
        given = params or _NO_PARAMS
        await self._connection.execute(text, *[given[name] for name in names])

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> int:
        if not rows:
            return 0
        text, names = translated(sql)
        # one round trip for all rows; RETURNING, because the driver does not count the changed rows of many
        values = [[row[name] for name in names] for row in rows]
        return len(await self._connection.fetchmany(f"{text} RETURNING 1", values))

    async def execute_batch(self, steps: Sequence[tuple[str, Sequence[Params]]]) -> list[int]:
        return [await self.execute_many(sql, rows) for sql, rows in steps]

    async def has_table(self, name: str) -> bool:
        return await self.fetch_all(HAS_TABLE, {"name": name}) != []

    async def advisory_lock(self, name: str) -> None:
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", key)


@lru_cache(maxsize=1024)
def translated(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with ``$1``, ``$2`` … for its ``:params``, and their names in that order."""
    placeholders: dict[str, str] = {}

    def placeholder(found: re.Match[str]) -> str:
        name = found[1]
        return found[0] if name is None else placeholders.setdefault(name, f"${len(placeholders) + 1}")

    return _PARAM.sub(placeholder, sql), tuple(placeholders)
