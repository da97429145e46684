"""The migration of accounts and members from a database without invitations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.accounts.account import MemberState
from scheduler.store.database import Database, Transaction
from scheduler.store.migrate import migrate, packaged_migrations
from scheduler.store.postgres.database import PostgresDatabase
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.conftest import SECRET_KEY
from tests.postgres import Server

MEMBERS: dict[str, list[tuple[str, str, int, str | None]]] = {
    "of the audit": [("eve", "owner", 1, None), ("ann", "owner", 2, None), ("key:sk_1", "owner", 0, "key")],
    "of nobody on record": [
        ("key:sk_2", "owner", 0, "key"),
        ("vera", "viewer", 1, None),
        ("bob", "owner", 3, None),
        ("ann", "owner", 2, None),
    ],
    "handed over": [("bob", "owner", 1, None), ("ann", "viewer", 0, None)],
    "of keys": [("key:sk_3", "owner", 0, "key")],
}
CREATORS = {"of the audit": "ann", "handed over": "ann"}
"""On record."""


@pytest.fixture(params=["sqlite", "postgres"])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the schema before the migration."""
    before = list(takewhile(lambda one: "consent" not in one.name, packaged_migrations()))
    if request.param == "sqlite":
        db: Database = await SqliteDatabase.open(tmp_path / "scheduler.db")
        await migrate(db, 0, before)
        yield db
        await db.close()
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = await server.create(migrated=False)
    db = await PostgresDatabase.open(url, pool_size=2)
    await migrate(db, 0, before)
    yield db
    await db.close()
    await server.drop(url)


async def test_who_made_an_account_is_found_and_members_stay_members(old: Database) -> None:
    await old.transaction(_fill)
    await migrate(old, 0)
    rows = await old.fetch_all("SELECT id, created_by FROM accounts")
    assert {row["id"]: row["created_by"] for row in rows} == {
        "of the audit": "ann",
        "of nobody on record": "ann",
        "handed over": "ann",
        "of keys": None,
    }
    stores = Stores.over(old, vault=Vault(SECRET_KEY), worker_id="one:1:1")
    for account_id, members in MEMBERS.items():
        listed = (await stores.members.page(account_id, skip=0, limit=10)).items
        people = sorted(user for user, _, _, key_id in members if key_id is None)
        assert [(one.user, one.state) for one in listed] == [(user, MemberState.ACTIVE) for user in people]
    assert (await stores.accounts.personal(user="ann", now=9)).id == "of nobody on record"
    assert (await stores.accounts.personal(user="eve", now=9)).name == "Personal"
    assert (await stores.invitations.page("ann", skip=0, limit=10)).total == 0


async def _fill(tx: Transaction) -> None:
    for account_id, members in MEMBERS.items():
        given: dict[str, Any] = {"id": account_id}
        await tx.execute("INSERT INTO accounts (id, name, created_at, updated_at) VALUES (:id, :id, 0, 0)", given)
        for user, role, at, kind in members:
            key_id = f"{kind} {user}" if kind else None
            values = {**given, "user": user, "role": role, "at": at, "key_id": key_id}
            if key_id:
                await tx.execute(
                    """
                    INSERT INTO api_keys (id, account_id, prefix, digest, name, scopes, created_by, created_at)
                    VALUES (:key_id, :id, :user, :user, 'key', '["admin"]', 'ann', 0)
                    """,
                    values,
                )
            await tx.execute(
                """
                INSERT INTO members (account_id, user_id, role, created_at, key_id)
                VALUES (:id, :user, :role, :at, :key_id)
                """,
                values,
            )
        for number, action in enumerate(("account.created", "account.updated")):
            if account_id in CREATORS:
                actor = "bob" if number else CREATORS[account_id]
                await tx.execute(
                    """
                    INSERT INTO audit (id, account_id, at, actor, action, subject_id, changes, subjects)
                    VALUES (:audit_id, :id, 0, :actor, :action, :id, '[]', 1)
                    """,
                    {**given, "audit_id": f"{account_id} {number}", "actor": actor, "action": action},
                )
