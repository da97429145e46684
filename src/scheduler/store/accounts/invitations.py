"""Invitations: memberships that are offered, without any effect until the invited user accepts.

Each change locks the account first, so that an invitation is either accepted, declined or taken back.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from scheduler.domain.accounts.account import Account, Invitation, Member, MemberState, Role
from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.store.accounts.audit import record
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.ids import new_id
from scheduler.store.rows import Table
from scheduler.store.sql import select_page

MOST_INVITATIONS = 100
"""Open invitations of one account."""

_INVITATIONS = Table(Invitation, renamed={"user": "user_id"}, without=("account_name",))
_LISTED = Table(Invitation, renamed={"user": "user_id"})
_COLUMNS = ", ".join("a.name" if name == "account_name" else f"i.{name}" for name in _LISTED.names)
_OPEN = "FROM invitations i JOIN accounts a ON a.id = i.account_id AND a.deleted_at IS NULL"
_RETRY_AFTER_S = 60
"""Arbitrary: only an answer, or taking one back, makes room."""


class NotInvited(Enum):
    """Why an invitation was refused."""

    NO_ACCOUNT = auto()
    MEMBER = auto()
    INVITED = auto()


class InvitationStore:
    """Makes, lists and answers invitations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def invite(
        self, account_id: str, user: str, role: Role, now: Instant, *, invited_by: str, by: Actor | None = None
    ) -> Member | NotInvited:
        """Offer ``user`` a membership. Raises ``RATE_LIMITED`` when too many of the account are not answered yet."""
        invitation = Invitation(
            id=new_id(now),
            account_id=account_id,
            account_name="",
            user=user,
            role=role,
            invited_by=invited_by,
            created_at=now,
        )

        async def insert(tx: Transaction) -> Member | NotInvited | SchedulerError:
            if not await lock_account(tx, account_id):
                return NotInvited.NO_ACCOUNT
            if refusal := await _refusal(tx, account_id, user):
                return refusal
            await tx.execute(f"INSERT INTO invitations {_INVITATIONS.values()}", _INVITATIONS.encode(invitation))
            invited = AuditedAction(action=Action.MEMBER_INVITED, subject_id=user, changes=("role",))
            await record(tx, by, account_id, [invited])
            return Member(user=user, role=role, created_at=now, state=MemberState.INVITED)

        done = await self._db.transaction(insert)
        if isinstance(done, SchedulerError):
            raise done
        return done

    async def page(self, user: str, *, skip: int, limit: int, after: str | None = None) -> Page[Invitation]:
        """The invitations of ``user`` that are not answered yet, oldest first."""
        return await select_page(
            self._db,
            _COLUMNS,
            f"{_OPEN} WHERE i.user_id = :user",
            {"user": user},
            order="i.id",
            skip=skip,
            limit=limit,
            after=after,
            decode=_LISTED.decode,
        )

    async def get(self, invitation_id: str) -> Invitation | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} {_OPEN} WHERE i.id = :id", {"id": invitation_id})
        return _LISTED.decode(row) if row else None

    async def accept(self, invitation: Invitation, now: Instant, *, by: Actor | None = None) -> Account | None:
        """Make the invited user a member; ``None`` when the invitation is no longer open."""

        async def accept(tx: Transaction) -> Account | None:
            if not await _close(tx, invitation):
                return None
            params = {"account_id": invitation.account_id, "user": invitation.user}
            await tx.execute(
                """
                INSERT INTO members (account_id, user_id, role, created_at) VALUES (:account_id, :user, :role, :now)
                """,
                {**params, "role": invitation.role.value, "now": now},
            )
            added = AuditedAction(action=Action.MEMBER_ADDED, subject_id=invitation.user, changes=("role",))
            await record(tx, by, invitation.account_id, [added])
            account = await tx.fetch_one(
                "SELECT id, name, created_at, updated_at FROM accounts WHERE id = :account_id", params
            )
            assert account is not None  # noqa: S101 - it is locked
            return Account(
                id=account["id"],
                name=account["name"],
                role=invitation.role,
                created_at=account["created_at"],
                updated_at=account["updated_at"],
            )

        return await self._db.transaction(accept)

    async def decline(self, invitation: Invitation, *, by: Actor | None = None) -> bool:
        """Turn the invitation down; False when it is no longer open.

        The audit entry has no client address, since the user does not become a member.
        """
        stranger = replace(by, address=None, request_id=None) if by else None

        async def decline(tx: Transaction) -> bool:
            if not await _close(tx, invitation):
                return False
            declined = AuditedAction(action=Action.MEMBER_DECLINED, subject_id=invitation.user)
            await record(tx, stranger, invitation.account_id, [declined])
            return True

        return await self._db.transaction(decline)


async def lock_account(tx: Transaction, account_id: str) -> bool:
    """Let no other transaction change the members of the account; False when there is no such account."""
    locked = "SELECT id FROM accounts WHERE id = :id AND deleted_at IS NULL FOR NO KEY UPDATE"
    return await tx.fetch_one(locked, {"id": account_id}) is not None


async def withdraw(tx: Transaction, account_id: str, user: str, *, by: Actor | None) -> bool:
    """Take back the invitation of ``user``; False when they are not invited. The account is locked."""
    row = await tx.fetch_one(
        "DELETE FROM invitations WHERE account_id = :account_id AND user_id = :user RETURNING id",
        {"account_id": account_id, "user": user},
    )
    if row is None:
        return False
    await record(tx, by, account_id, [AuditedAction(action=Action.MEMBER_WITHDRAWN, subject_id=user)])
    return True


async def withdraw_of(tx: Transaction, account_id: str, inviter: str, *, by: Actor | None) -> None:
    """Take back the invitations made by one who is no owner any more. The account is locked."""
    rows = await tx.fetch_all(
        "DELETE FROM invitations WHERE account_id = :account_id AND invited_by = :inviter RETURNING user_id",
        {"account_id": account_id, "inviter": inviter},
    )
    withdrawn = [AuditedAction(action=Action.MEMBER_WITHDRAWN, subject_id=row["user_id"]) for row in rows]
    await record(tx, by, account_id, withdrawn)


async def _refusal(tx: Transaction, account_id: str, user: str) -> NotInvited | SchedulerError | None:
    """Why the user cannot be invited; ``None`` when they can. Returned, not raised, as in ``over_quota``."""
    params = {"account_id": account_id, "user": user}
    for table, reason in (("members", NotInvited.MEMBER), ("invitations", NotInvited.INVITED)):
        found = f"SELECT 1 AS one FROM {table} WHERE account_id = :account_id AND user_id = :user"
        if await tx.fetch_one(found, params) is not None:
            return reason
    row = await tx.fetch_one("SELECT COUNT(*) AS n FROM invitations WHERE account_id = :account_id", params)
    if row is None or row["n"] < MOST_INVITATIONS:
        return None
    return SchedulerError(
        "RATE_LIMITED",
        f"account {account_id} has {MOST_INVITATIONS} invitations that are not answered, which is the most: "
        "take some back first",
        retry_after_s=_RETRY_AFTER_S,
    )


async def _close(tx: Transaction, invitation: Invitation) -> bool:
    """Delete the invitation with its account locked; False when it is gone already."""
    if not await lock_account(tx, invitation.account_id):
        return False
    row = await tx.fetch_one("DELETE FROM invitations WHERE id = :id RETURNING id", {"id": invitation.id})
    return row is not None
