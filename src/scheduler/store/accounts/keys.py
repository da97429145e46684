"""API keys, of which only digests are stored. A key is a member of its account until it is revoked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from scheduler.domain.accounts.api_key import ApiKey, Scope
from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, KeysRevoked
from scheduler.store.accounts.audit import record
from scheduler.store.accounts.invitations import lock_account, withdraw_of
from scheduler.store.accounts.quotas import over_quota
from scheduler.store.database import Database, Page, Row, Transaction
from scheduler.store.rows import Codec, Table
from scheduler.store.sql import select_page

_KNOWN_SCOPES = {scope.value: scope for scope in Scope}
_SCOPES = Codec(
    encode=json.dumps,
    # a scope of another version permits nothing
    decode=lambda text: tuple(_KNOWN_SCOPES[scope] for scope in json.loads(text) if scope in _KNOWN_SCOPES),
)
_KEYS = Table(ApiKey, codecs={"scopes": _SCOPES})
_COLUMNS = _KEYS.columns("k")


class KeyStore:
    """Adds, finds and revokes API keys; writes when they were last used."""

    def __init__(self, db: Database, events: Events) -> None:
        self._db = db
        self._events = events
        self._used: dict[str, Instant] = {}

    async def insert(self, key: ApiKey, digest: str, *, by: Actor | None = None, most: int = 0) -> None:
        """Add a key and make it a member of its account, which must exist.

        Raises ``RATE_LIMITED`` when the account would have more than ``most`` valid keys; 0 is no limit.
        """

        async def insert(tx: Transaction) -> SchedulerError | None:
            if refusal := await over_quota(tx, "keys", {key.account_id: 1}, most=most, now=key.created_at):
                return refusal
            values = _KEYS.encode(key) | {"digest": digest}
            await tx.execute(f"INSERT INTO api_keys {_KEYS.values(digest=':digest')}", values)
            await tx.execute(
                """
                INSERT INTO members (account_id, user_id, role, created_at, key_id)
                VALUES (:account_id, :user, :role, :created_at, :id)
                """,
                {
                    "account_id": key.account_id,
                    "user": key.principal,
                    "role": key.role.value,
                    "created_at": key.created_at,
                    "id": key.id,
                },
            )
            audited = AuditedAction(action=Action.KEY_CREATED, subject_id=key.id, subject_name=key.name)
            await record(tx, by, key.account_id, [audited])
            return None

        if refusal := await self._db.transaction(insert):
            raise refusal

    async def find(self, digest: str) -> ApiKey | None:
        """The key with this digest, valid or not."""
        row = await self._db.fetch_one(
            f"SELECT {_COLUMNS} FROM api_keys k WHERE k.digest = :digest", {"digest": digest}
        )
        return self._decode(row) if row else None

    async def get(self, key_id: str) -> ApiKey | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} FROM api_keys k WHERE k.id = :id", {"id": key_id})
        return self._decode(row) if row else None

    async def page(
        self, user: str, *, account_id: str | None = None, skip: int, limit: int, after: str | None = None
    ) -> Page[ApiKey]:
        """The keys of the accounts ``user`` belongs to, or of one of them, oldest first; revoked ones too."""
        scope = """
            FROM api_keys k JOIN members m ON m.account_id = k.account_id
            WHERE m.user_id = :user AND (CAST(:account_id AS TEXT) IS NULL OR k.account_id = :account_id)
        """
        params = {"user": user, "account_id": account_id}
        return await select_page(
            self._db, _COLUMNS, scope, params, order="k.id", skip=skip, limit=limit, after=after, decode=self._decode
        )

    async def revoke(self, key_id: str, now: Instant, *, by: Actor | None = None) -> bool:
        """Revoke the key and end its membership; false when it is unknown or already revoked."""

        async def revoke(tx: Transaction) -> list[str]:
            row = await tx.fetch_one("SELECT account_id FROM api_keys WHERE id = :id", {"id": key_id})
            if row is None or not await lock_account(tx, row["account_id"]):
                return []
            return await revoke_keys(tx, [key_id], now, by=by)

        revoked = await self._db.transaction(revoke)
        if revoked:
            self._events.tell(KeysRevoked(key_ids=revoked))
        return bool(revoked)

    def used(self, key_id: str, now: Instant) -> None:
        """Record in memory that the key was used; ``write_uses`` stores it."""
        self._used[key_id] = now

    async def write_uses(self) -> None:
        """Store when keys were last used; to be called once a minute."""
        used, self._used = self._used, {}
        if not used:
            return

        async def write(tx: Transaction) -> None:
            await tx.execute_many(
                "UPDATE api_keys SET last_used_at = :at WHERE id = :id AND COALESCE(last_used_at, 0) < :at",
                [{"id": key_id, "at": at} for key_id, at in sorted(used.items())],
            )

        try:
            await self._db.transaction(write)
        except BaseException:
            self._used = used | self._used
            raise

    def _decode(self, row: Row) -> ApiKey:
        """The key of a row of ``_COLUMNS``, with its last use, stored or not yet."""
        key, used_at = _KEYS.decode(row), self._used.get(row["id"])
        if used_at is None or (key.last_used_at is not None and used_at <= key.last_used_at):
            return key
        return replace(key, last_used_at=used_at)


async def keys_made_by(tx: Transaction, account_id: str, user: str) -> list[str]:
    """The ids of the keys that ``user`` made in the account, and of those that were made with these, and so on.

    Revoked ones are included: keys that were made with them may be in force.
    """
    rows = await tx.fetch_all(
        """
        WITH RECURSIVE made (id, principal) AS (
          SELECT k.id, 'key:' || k.prefix FROM api_keys k WHERE k.account_id = :account_id AND k.created_by = :user
          UNION
          SELECT k.id, 'key:' || k.prefix FROM api_keys k JOIN made ON k.created_by = made.principal
          WHERE k.account_id = :account_id
        )
        SELECT id FROM made ORDER BY id
        """,
        {"account_id": account_id, "user": user},
    )
    return [row["id"] for row in rows]


async def revoke_keys(tx: Transaction, key_ids: Sequence[str], now: Instant, *, by: Actor | None) -> list[str]:
    """Revoke keys of an account, which is locked; returns the ids of those that were not revoked yet.

    Their memberships end, and the invitations that were made with them are taken back.
    """
    revoked = []
    for key_id in key_ids:
        row = await tx.fetch_one(
            """
            UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL
            RETURNING account_id, name, 'key:' || prefix AS principal
            """,
            {"id": key_id, "now": now},
        )
        if row is not None:
            await withdraw_of(tx, row["account_id"], row["principal"], by=by)
            audited = AuditedAction(action=Action.KEY_REVOKED, subject_id=key_id, subject_name=row["name"])
            await record(tx, by, row["account_id"], [audited])
            revoked.append(key_id)
        await tx.execute("DELETE FROM members WHERE key_id = :id", {"id": key_id})
    return revoked
