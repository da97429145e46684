"""The people who are members of accounts. An account keeps at least one owner. API keys are members, too; not here."""

from __future__ import annotations

from enum import Enum, auto

from scheduler.domain.accounts.account import Member, Role
from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.store.accounts.audit import record
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.rows import Table
from scheduler.store.sql import select_page

_MEMBERS = Table(Member, renamed={"user": "user_id"})
_PEOPLE = "m.account_id = :account_id AND m.key_id IS NULL"


class Refusal(Enum):
    """Why a change of the members of an account was refused."""

    NO_MEMBER = auto()
    LAST_OWNER = auto()


class MemberStore:
    """Adds, changes and removes members."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, account_id: str, *, skip: int, limit: int) -> Page[Member]:
        """The people of one account, by name."""
        return await select_page(
            self._db,
            _MEMBERS.columns("m"),
            f"FROM members m WHERE {_PEOPLE}",
            {"account_id": account_id},
            order="m.user_id",
            skip=skip,
            limit=limit,
            decode=_MEMBERS.decode,
        )

    async def add(
        self, account_id: str, user: str, role: Role, now: Instant, *, by: Actor | None = None
    ) -> Member | None:
        """Make ``user`` a member; ``None`` when they are one already. The account must exist."""

        async def insert(tx: Transaction) -> Member | None:
            row = await tx.fetch_one(
                f"""
                INSERT INTO members (account_id, user_id, role, created_at) VALUES (:account_id, :user, :role, :now)
                ON CONFLICT (account_id, user_id) DO NOTHING RETURNING {_MEMBERS.columns()}
                """,
                {"account_id": account_id, "user": user, "role": role.value, "now": now},
            )
            if row is None:
                return None
            await record(
                tx, by, account_id, [AuditedAction(action=Action.MEMBER_ADDED, subject_id=user, changes=("role",))]
            )
            return _MEMBERS.decode(row)

        return await self._db.transaction(insert)

    async def change(self, account_id: str, user: str, role: Role, *, by: Actor | None = None) -> Member | Refusal:
        """Give a member another role."""

        async def update(tx: Transaction) -> Member | Refusal:
            if role is not Role.OWNER and (refusal := await _refusal(tx, account_id, user)):
                return refusal
            row = await tx.fetch_one(
                f"""
                UPDATE members SET role = :role WHERE account_id = :account_id AND user_id = :user AND key_id IS NULL
                RETURNING {_MEMBERS.columns()}
                """,
                {"account_id": account_id, "user": user, "role": role.value},
            )
            if row is None:
                return Refusal.NO_MEMBER
            await record(
                tx, by, account_id, [AuditedAction(action=Action.MEMBER_CHANGED, subject_id=user, changes=("role",))]
            )
            return _MEMBERS.decode(row)

        return await self._db.transaction(update)

    async def remove(self, account_id: str, user: str, *, by: Actor | None = None) -> Refusal | None:
        """End a membership; ``None`` when it has ended."""

        async def delete(tx: Transaction) -> Refusal | None:
            if refusal := await _refusal(tx, account_id, user):
                return refusal
            await tx.execute(
                "DELETE FROM members WHERE account_id = :account_id AND user_id = :user AND key_id IS NULL",
                {"account_id": account_id, "user": user},
            )
            await record(tx, by, account_id, [AuditedAction(action=Action.MEMBER_REMOVED, subject_id=user)])
            return None

        return await self._db.transaction(delete)


async def _refusal(tx: Transaction, account_id: str, user: str) -> Refusal | None:
    """Why this member may not cease to be an owner; ``None`` when they may."""
    # Locks the account: when two owners demote each other at the same time, one must be refused.
    await tx.execute("UPDATE accounts SET id = id WHERE id = :account_id", {"account_id": account_id})
    params = {"account_id": account_id, "user": user}
    row = await tx.fetch_one(f"SELECT m.role FROM members m WHERE {_PEOPLE} AND m.user_id = :user", params)
    if row is None:
        return Refusal.NO_MEMBER
    other = await tx.fetch_one(
        f"SELECT 1 AS one FROM members m WHERE {_PEOPLE} AND m.role = 'owner' AND m.user_id <> :user LIMIT 1", params
    )
    return Refusal.LAST_OWNER if row["role"] == Role.OWNER and other is None else None
