"""Stores audit entries. Each is written in the transaction of the action that it records: both commit, or neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction, AuditEntry
from scheduler.domain.clock import Instant
from scheduler.store.database import Database, Page, Transaction
from scheduler.store.ids import new_id
from scheduler.store.rows import Codec, Table
from scheduler.store.sql import select_page

_CHANGES = Codec(encode=json.dumps, decode=lambda text: tuple(json.loads(text)))
_ENTRIES = Table(AuditEntry, codecs={"audited.changes": _CHANGES}, renamed={"actor.name": "actor"})
_INSERT = f"INSERT INTO audit {_ENTRIES.values()}"
_OF_JOB = {"account_id": "j.account_id", "subject_name": "COALESCE(:subject_name, j.name)"}
_INSERT_OF_JOB = f"""
INSERT INTO audit ({_ENTRIES.columns()}) SELECT {", ".join(_OF_JOB.get(name, f":{name}") for name in _ENTRIES.names)}
FROM jobs j WHERE j.id = :job_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which entries a page has; ``None`` does not narrow. ``since_at`` is included, ``until_at`` is not."""

    account_id: str | None = None
    actor: str | None = None
    action: Action | None = None
    subject_id: str | None = None
    since_at: Instant | None = None
    until_at: Instant | None = None


async def record(tx: Transaction, by: Actor | None, account_id: str, done: Sequence[AuditedAction]) -> None:
    """Write entries of what ``by`` has done in an account; none where ``by`` is ``None``."""
    if by is not None:
        await tx.execute_many(_INSERT, [_row(by, audited, account_id=account_id) for audited in done])


async def record_on_jobs(tx: Transaction, by: Actor | None, done: Sequence[tuple[str, AuditedAction]]) -> None:
    """Write entries of what ``by`` has done to jobs or to what they own, given as pairs of job id and action.

    None where ``by`` is ``None``. The job must still exist: the entry takes its account, and its name where the subject
    has none.
    """
    if by is not None:
        await tx.execute_many(_INSERT_OF_JOB, [_row(by, audited) | {"job_id": job_id} for job_id, audited in done])


class AuditStore:
    """Reads audit entries, for the owners of accounts, and deletes those that are not kept."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, user: str, chosen: AuditFilter, *, skip: int, limit: int, after: str | None = None
    ) -> Page[AuditEntry]:
        """The entries of all accounts that ``user`` owns, newest first."""
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
        return await select_page(
            self._db,
            _ENTRIES.columns("a"),
            f"FROM audit a WHERE {where}",
            params,
            order="a.id DESC",
            skip=skip,
            limit=limit,
            after=after,
            decode=_ENTRIES.decode,
        )

    async def prune(self, until_id: str, *, limit: int) -> int:
        """Delete up to ``limit`` entries with this id or an earlier one, the oldest first; returns how many.

        On a database that several nodes share, those that another node is deleting are left to it.
        """

        async def prune(tx: Transaction) -> int:
            deleted = await tx.fetch_all(
                """
                DELETE FROM audit WHERE id IN (
                  SELECT id FROM audit WHERE id <= :until_id ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
                ) RETURNING id
                """,
                {"until_id": until_id, "limit": limit},
            )
            return len(deleted)

        if await self._db.fetch_one("SELECT id FROM audit WHERE id <= :until_id LIMIT 1", {"until_id": until_id}):
            return await self._db.transaction(prune)
        return 0


def _row(by: Actor, audited: AuditedAction, *, account_id: str = "") -> dict[str, Any]:
    return _ENTRIES.encode(AuditEntry(id=new_id(by.at), account_id=account_id, actor=by, audited=audited))
