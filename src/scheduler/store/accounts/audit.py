"""The audit on disk. Each record is written by the transaction that does what it tells of: both happen, or neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.domain.accounts.audit import Action, Actor, AuditEntry, Deed
from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Page, Row, Transaction
from scheduler.store.ids import new_id

_COLUMNS = """
  a.id, a.account_id, a.at, a.actor, a.action, a.subject_id, a.subject_name, a.address, a.request_id, a.changes,
  a.subjects
"""
_INSERT = f"""
INSERT INTO audit ({_COLUMNS.replace("a.", "")}) VALUES (
  :id, :account_id, :at, :actor, :action, :subject_id, :subject_name, :address, :request_id, :changes, :subjects
)
"""
_INSERT_OF_JOB = f"""
INSERT INTO audit ({_COLUMNS.replace("a.", "")})
SELECT :id, j.account_id, :at, :actor, :action, :subject_id, COALESCE(:subject_name, j.name), :address, :request_id,
  :changes, :subjects
FROM jobs j WHERE j.id = :job_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which records; what is ``None`` does not narrow. ``since_at`` is included, ``until_at`` is not."""

    account_id: str | None = None
    actor: str | None = None
    action: Action | None = None
    subject_id: str | None = None
    since_at: Instant | None = None
    until_at: Instant | None = None


async def record(tx: Transaction, by: Actor | None, account_id: str, deeds: Sequence[Deed]) -> None:
    """Put on record what ``by`` does in an account; without an actor it is no deed of anybody's."""
    if by is not None:
        await tx.execute_many(_INSERT, [_row(by, deed, account_id=account_id) for deed in deeds])


async def record_on_jobs(tx: Transaction, by: Actor | None, deeds: Sequence[tuple[str, Deed]]) -> None:
    """Put on record what ``by`` does to jobs, or to what they own: pairs of the job's id and the deed.

    The job must still be there: it has the account, and the name where the subject has none.
    """
    if by is not None:
        await tx.execute_many(_INSERT_OF_JOB, [_row(by, deed, job_id=job_id) for job_id, deed in deeds])


class AuditStore:
    """The audit of all accounts, for those who own them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, user: str, chosen: AuditFilter, *, skip: int, limit: int) -> Page[AuditEntry]:
        """What is on record in the accounts that ``user`` owns, newest first."""
        wanted: list[tuple[str, str, Any]] = [
            ("a.account_id = :account_id", "account_id", chosen.account_id),
            ("a.actor = :actor", "actor", chosen.actor),
            ("a.action = :action", "action", chosen.action.value if chosen.action else None),
            ("a.subject_id = :subject_id", "subject_id", chosen.subject_id),
            ("a.at >= :since_at", "since_at", chosen.since_at),
            ("a.at < :until_at", "until_at", chosen.until_at),
        ]
        mine = "a.account_id IN (SELECT account_id FROM members WHERE user_id = :user AND role = 'owner')"
        where = " AND ".join([mine, *(condition for condition, _, value in wanted if value is not None)])
        params = {"user": user} | {name: value for _, name, value in wanted if value is not None}
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM audit a WHERE {where} ORDER BY a.id DESC LIMIT :limit OFFSET :skip",
            {**params, "limit": limit, "skip": skip},
        )
        counted = await self._db.fetch_all(f"SELECT COUNT(*) AS n FROM audit a WHERE {where}", params)
        return Page([_decode(row) for row in rows], counted[0]["n"])


def _row(by: Actor, deed: Deed, **place: str) -> dict[str, Any]:
    return {
        "id": new_id(by.at),
        "at": by.at,
        "actor": by.name,
        "action": deed.action.value,
        "subject_id": deed.subject_id,
        "subject_name": deed.subject_name,
        "address": by.address,
        "request_id": by.request_id,
        "changes": json.dumps(deed.changes),
        "subjects": deed.subjects,
        **place,
    }


def _decode(row: Row) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        account_id=row["account_id"],
        actor=Actor(name=row["actor"], at=row["at"], address=row["address"], request_id=row["request_id"]),
        deed=Deed(
            action=Action(row["action"]),
            subject_id=row["subject_id"],
            subject_name=row["subject_name"],
            changes=tuple(json.loads(row["changes"])),
            subjects=row["subjects"],
        ),
    )
