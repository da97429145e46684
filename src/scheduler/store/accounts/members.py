"""The people who are members of accounts, of whom at least one is an owner. The API keys among members are in
``keys``."""

from __future__ import annotations

from enum import Enum, auto

from scheduler.domain.accounts.account import Member, Role
from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.events import Events, KeysRevoked
from scheduler.store.accounts.audit import record
from scheduler.store.accounts.invitations import lock_account, withdraw, withdraw_of
from scheduler.store.accounts.keys import keys_made_by, revoke_keys
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.rows import Table
from scheduler.store.sql import select_page

_MEMBERS = Table(Member, renamed={"user": "user_id"}, without=("state",))
_LISTED = Table(Member, renamed={"user": "user_id"})
_PEOPLE = "m.account_id = :account_id AND m.key_id IS NULL"
_INVITED = "i.account_id = :account_id"
_OF_ACCOUNT = f"""
FROM (
  SELECT {_MEMBERS.columns("m")}, 'active' AS state FROM members m WHERE {_PEOPLE}
  UNION ALL
  SELECT {_MEMBERS.columns("i")}, 'invited' AS state FROM invitations i WHERE {_INVITED}
) p WHERE user_id IS NOT NULL
"""


class Refusal(Enum):
    """Why a change of the members of an account was refused."""

    NO_MEMBER = auto()
    LAST_OWNER = auto()


class MemberStore:
    """Lists, changes and removes members."""

    def __init__(self, db: Database, events: Events) -> None:
        self._db = db
        self._events = events

    async def page(self, account_id: str, *, skip: int, limit: int, after: str | None = None) -> Page[Member]:
        """The people of one account, and those who are invited, by name."""
        return await select_page(
            self._db,
            _LISTED.columns("p"),
            _OF_ACCOUNT,
            {"account_id": account_id},
            order="user_id",
            skip=skip,
            limit=limit,
            after=after,
            decode=_LISTED.decode,
        )

    async def change(self, account_id: str, user: str, role: Role, *, by: Actor | None = None) -> Member | Refusal:
        """Give a member another role. The invitations of one who is no owner any more are taken back."""

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
            if role is not Role.OWNER:
                await withdraw_of(tx, account_id, user, by=by)
            await record(
                tx, by, account_id, [AuditedAction(action=Action.MEMBER_CHANGED, subject_id=user, changes=("role",))]
            )
            return _MEMBERS.decode(row)

        return await self._db.transaction(update)

    async def remove(
        self, account_id: str, user: str, now: Instant, *, keep_keys: bool = False, by: Actor | None = None
    ) -> Refusal | None:
        """End a membership, or take an invitation back; returns why not, when it was refused.

        Unless ``keep_keys``, the keys that the member made are revoked, those that were made with these keys, and so
        on. The invitations that the member made are taken back.
        """

        async def delete(tx: Transaction) -> list[str] | Refusal:
            if refusal := await _refusal(tx, account_id, user):
                is_withdrawn = refusal is Refusal.NO_MEMBER and await withdraw(tx, account_id, user, by=by)
                return [] if is_withdrawn else refusal
            await tx.execute(
                "DELETE FROM members WHERE account_id = :account_id AND user_id = :user AND key_id IS NULL",
                {"account_id": account_id, "user": user},
            )
            action = Action.MEMBER_LEFT if by is not None and by.name == user else Action.MEMBER_REMOVED
            await record(tx, by, account_id, [AuditedAction(action=action, subject_id=user)])
            await withdraw_of(tx, account_id, user, by=by)
            keys = [] if keep_keys else await keys_made_by(tx, account_id, user)
            return await revoke_keys(tx, keys, now, by=by)

        revoked = await self._db.transaction(delete)
        if isinstance(revoked, Refusal):
            return revoked
        if revoked:
            self._events.tell(KeysRevoked(key_ids=revoked))
        return None


async def _refusal(tx: Transaction, account_id: str, user: str) -> Refusal | None:
    """Why this member must stay an owner; ``None`` when they need not."""
    # Locks the account: when two owners demote each other at the same time, one must be refused.
    await lock_account(tx, account_id)
    params = {"account_id": account_id, "user": user}
    row = await tx.fetch_one(f"SELECT m.role FROM members m WHERE {_PEOPLE} AND m.user_id = :user", params)
    if row is None:
        return Refusal.NO_MEMBER
    other = await tx.fetch_one(
        f"SELECT 1 AS one FROM members m WHERE {_PEOPLE} AND m.role = 'owner' AND m.user_id <> :user LIMIT 1", params
    )
    return Refusal.LAST_OWNER if row["role"] == Role.OWNER and other is None else None
