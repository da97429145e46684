"""Accounts, as their members see them."""

from __future__ import annotations

from scheduler.domain.accounts.account import Account, Role
from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.store.accounts.audit import record
from scheduler.store.accounts.quotas import over_quota
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.ids import new_id
from scheduler.store.rows import Table
from scheduler.store.sql import select_page

_ACCOUNTS = Table(Account)
_COLUMNS = ", ".join("m.role" if name == "role" else f"a.{name}" for name in _ACCOUNTS.names)
_OF_MEMBERS = "FROM accounts a JOIN members m ON m.account_id = a.id AND a.deleted_at IS NULL"
_OLDEST_MADE = f"""
SELECT {_COLUMNS} {_OF_MEMBERS} WHERE m.user_id = :user AND m.role = 'owner' AND a.created_by = :user
ORDER BY a.id LIMIT 1
"""


class AccountStore:
    """Creates, reads and changes accounts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, *, name: str, user: str, now: Instant, by: Actor | None = None, most: int = 0) -> Account:
        """A new account with ``user`` as its owner; ``by`` is who creates it.

        Raises ``RATE_LIMITED`` when the user would have made more than ``most`` that still exist; 0 is no limit.
        """

        async def insert(tx: Transaction) -> Account | SchedulerError:
            refusal = await over_quota(tx, "accounts", {user: 1}, most=most)
            return refusal or await _insert(tx, name=name, user=user, now=now, by=by)

        return _unless_refused(await self._db.transaction(insert))

    async def personal(self, *, user: str, now: Instant, by: Actor | None = None, most: int = 0) -> Account:
        """The oldest account that ``user`` made and still owns; one is made when there is none, see ``create``.

        An account that somebody else made is not taken, even if ``user`` is an owner: its members would see the new
        job.
        """
        row = await self._db.fetch_one(_OLDEST_MADE, {"user": user})
        if row is not None:
            return _ACCOUNTS.decode(row)

        async def find_or_insert(tx: Transaction) -> Account | SchedulerError:
            # read again under the lock, so that two first requests of a user do not make two accounts
            await tx.advisory_lock(f"the personal account of {user}")
            found = await tx.fetch_one(_OLDEST_MADE, {"user": user})
            if found is not None:
                return _ACCOUNTS.decode(found)
            refusal = await over_quota(tx, "accounts", {user: 1}, most=most)
            return refusal or await _insert(tx, name="Personal", user=user, now=now, by=by)

        return _unless_refused(await self._db.transaction(find_or_insert))

    async def get(self, account_id: str, user: str) -> Account | None:
        """The account, if ``user`` belongs to it."""
        row = await self._db.fetch_one(
            f"SELECT {_COLUMNS} {_OF_MEMBERS} WHERE a.id = :id AND m.user_id = :user",
            {"id": account_id, "user": user},
        )
        return _ACCOUNTS.decode(row) if row else None

    async def exists(self, account_id: str) -> bool:
        """Whether there is an account with this id, whoever owns it."""
        exists = "SELECT 1 AS one FROM accounts WHERE id = :id AND deleted_at IS NULL"
        return await self._db.fetch_one(exists, {"id": account_id}) is not None

    async def role_of(self, account_id: str, user: str) -> Role | None:
        """The role of ``user`` in the account; ``None`` when they are no member."""
        row = await self._db.fetch_one(
            "SELECT role FROM members WHERE account_id = :id AND user_id = :user", {"id": account_id, "user": user}
        )
        return Role(row["role"]) if row else None

    async def page(self, user: str, *, skip: int, limit: int, after: str | None = None) -> Page[Account]:
        """The accounts ``user`` belongs to, oldest first."""
        return await select_page(
            self._db,
            _COLUMNS,
            f"{_OF_MEMBERS} WHERE m.user_id = :user",
            {"user": user},
            order="a.id",
            skip=skip,
            limit=limit,
            after=after,
            decode=_ACCOUNTS.decode,
        )

    async def rename(self, account_id: str, name: str, now: Instant, *, by: Actor | None = None) -> None:
        """Give the account another name. It must exist."""

        async def update(tx: Transaction) -> None:
            renamed = await tx.fetch_all(
                "UPDATE accounts SET name = :name, updated_at = :now WHERE id = :id AND name <> :name RETURNING id",
                {"name": name, "now": now, "id": account_id},
            )
            if not renamed:
                return
            audited = AuditedAction(
                action=Action.ACCOUNT_UPDATED, subject_id=account_id, subject_name=name, changes=("name",)
            )
            await record(tx, by, account_id, [audited])

        await self._db.transaction(update)


def _unless_refused(made: Account | SchedulerError) -> Account:
    if isinstance(made, SchedulerError):
        raise made
    return made


async def _insert(tx: Transaction, *, name: str, user: str, now: Instant, by: Actor | None) -> Account:
    account = Account(id=new_id(now), name=name, role=Role.OWNER, created_at=now, updated_at=now)
    await tx.execute(
        "INSERT INTO accounts (id, name, created_at, updated_at, created_by) VALUES (:id, :name, :now, :now, :user)",
        {"id": account.id, "name": name, "now": now, "user": user},
    )
    await tx.execute(
        "INSERT INTO members (account_id, user_id, role, created_at) VALUES (:id, :user, 'owner', :now)",
        {"id": account.id, "user": user, "now": now},
    )
    audited = AuditedAction(action=Action.ACCOUNT_CREATED, subject_id=account.id, subject_name=name)
    await record(tx, by, account.id, [audited])
    return account
