"""Nodes: the processes that use this database. Each is one for as long as it renews its lease.

A lease ends by the database's clock, and the row of the node is deleted. Its executions are then rescued by others. A
process that still runs joins again under a new id, and what it writes under the old one has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import Instant, seconds
from scheduler.store.database import Database, Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One process and its lease, which ends at ``expires_at`` by the database's clock."""

    id: str
    started_at: Instant
    expires_at: Instant


class NodeStore:
    """The nodes of this database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def join(self, node_id: str, *, lease_s: float) -> None:
        """Insert a node with a new id.

        All others are deleted from a database that one process at a time works on (SQLite).
        """
        now = await self._db.now()

        async def join(tx: Transaction) -> None:
            if not self._db.is_shared:
                await tx.execute("DELETE FROM nodes")
            await tx.execute(
                "INSERT INTO nodes (id, started_at, expires_at) VALUES (:id, :now, :expires_at)",
                {"id": node_id, "now": now, "expires_at": now + seconds(lease_s)},
            )

        await self._db.transaction(join)

    async def renew(self, node_id: str, *, lease_s: float) -> Instant | None:
        """Extend the lease to ``lease_s`` from now; returns the database's time, or ``None`` when the lease is lost."""
        now = await self._db.now()

        async def renew(tx: Transaction) -> Instant | None:
            row = await tx.fetch_one(
                "UPDATE nodes SET expires_at = :expires_at WHERE id = :id RETURNING id",
                {"id": node_id, "expires_at": now + seconds(lease_s)},
            )
            return None if row is None else now

        return await self._db.transaction(renew)

    async def remove_expired(self) -> list[str]:
        """Delete the nodes whose lease has ended, and return their ids; their executions are orphans from then on."""
        now = await self._db.now()
        if await self._db.fetch_one("SELECT 1 AS one FROM nodes WHERE expires_at < :now LIMIT 1", {"now": now}) is None:
            return []

        async def remove(tx: Transaction) -> list[str]:
            rows = await tx.fetch_all("DELETE FROM nodes WHERE expires_at < :now RETURNING id", {"now": now})
            return sorted(row["id"] for row in rows)

        return await self._db.transaction(remove)

    async def leave(self, node_id: str) -> None:
        """Delete the node."""

        async def leave(tx: Transaction) -> None:
            await tx.execute("DELETE FROM nodes WHERE id = :id", {"id": node_id})

        await self._db.transaction(leave)

    async def alive(self) -> list[Node]:
        """The nodes whose lease has not ended, a hundred at most."""
        rows = await self._db.fetch_all(
            "SELECT id, started_at, expires_at FROM nodes WHERE expires_at >= :now ORDER BY id LIMIT 100",
            {"now": await self._db.now()},
        )
        return [Node(id=row["id"], started_at=row["started_at"], expires_at=row["expires_at"]) for row in rows]


async def is_member(tx: Transaction, node_id: str) -> bool:
    """Does this node have its lease? Its row is locked, so that it has it until the transaction ends."""
    row = await tx.fetch_one("SELECT id FROM nodes WHERE id = :id FOR KEY SHARE", {"id": node_id})
    return row is not None
