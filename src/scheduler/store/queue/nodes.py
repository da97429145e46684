"""The nodes: which processes work on this database, each for as long as it renews its lease.

The lease ends by the database's clock. A node whose row is gone has lost its lease, for good: what it held belongs to
others, and it goes on under a new id, so that nothing it still says under the old one counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import Instant, seconds
from scheduler.store.database import Database, Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One process, until ``expires_at`` by the database's clock."""

    id: str
    started_at: Instant
    expires_at: Instant


class NodeStore:
    """The nodes of this database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def join(self, node_id: str, *, lease_s: float) -> None:
        """Begin to work under this id, which nobody had before.

        A database that takes one process at a time has no other node than this from now on.
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
        """Have the lease end ``lease_s`` from now; returns what now is, or ``None`` when the lease is lost."""
        now = await self._db.now()

        async def renew(tx: Transaction) -> Instant | None:
            row = await tx.fetch_one(
                "UPDATE nodes SET expires_at = :expires_at WHERE id = :id RETURNING id",
                {"id": node_id, "expires_at": now + seconds(lease_s)},
            )
            return None if row is None else now

        return await self._db.transaction(renew)

    async def remove_expired(self) -> list[str]:
        """End the nodes that did not renew in time; from then on what they hold is anybody's."""
        now = await self._db.now()
        if await self._db.fetch_one("SELECT 1 AS one FROM nodes WHERE expires_at < :now LIMIT 1", {"now": now}) is None:
            return []

        async def remove(tx: Transaction) -> list[str]:
            rows = await tx.fetch_all("DELETE FROM nodes WHERE expires_at < :now RETURNING id", {"now": now})
            return sorted(row["id"] for row in rows)

        return await self._db.transaction(remove)

    async def leave(self, node_id: str) -> None:
        """Stop working under this id."""

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
    """Does this node hold its lease? It cannot lose it before the transaction ends."""
    row = await tx.fetch_one("SELECT id FROM nodes WHERE id = :id FOR KEY SHARE", {"id": node_id})
    return row is not None
