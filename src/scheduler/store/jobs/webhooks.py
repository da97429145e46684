"""Webhooks. Header values and signing secrets are stored encrypted (sealed)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction, audited_webhook_change
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, ExecutionsEnded
from scheduler.domain.runs.execution import Status
from scheduler.domain.webhooks.success import Success
from scheduler.domain.webhooks.webhook import FormerSecret, TlsOptions, Webhook
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Page, Row, Transaction
from scheduler.store.jobs.job_table import IS_LIVE
from scheduler.store.rows import MAP, TEXT, Codec, Table
from scheduler.store.sql import select_page
from scheduler.store.vault import Vault, binding_of

WEBHOOKS = Table(Webhook)
"""The columns of webhooks. Secrets among them are sealed: a ``WebhookStore`` can read and write them."""
_UPDATE = f"UPDATE webhooks SET {WEBHOOKS.assignments(fixed=('id', 'job_id', 'created_at'))} WHERE id = :id"
_DELETED = "the webhook was deleted"
_MOST_CANCELLED = 500
"""Executions that one transaction cancels."""
_GET = f"SELECT {WEBHOOKS.columns('w')} FROM webhooks w WHERE w.id = :id"


class WebhookStore:
    """The webhooks of all jobs."""

    def __init__(self, db: Database, vault: Vault, events: Events) -> None:
        self._db = db
        self._events = events
        sealed = {column: _sealed(vault, column, codec) for column, codec in _SEALED.items()}
        self._rows = Table(Webhook, codecs={"query_params": MAP, "success": _SUCCESS, **sealed})

    async def insert(self, webhook: Webhook, *, by: Actor | None = None) -> None:
        """Add a webhook to its job. Raises ``CONFLICT`` when there is no such job."""

        async def insert(tx: Transaction) -> bool:
            job = f"SELECT j.id FROM jobs j WHERE j.id = :id AND {IS_LIVE} FOR KEY SHARE"
            if await tx.fetch_one(job, {"id": webhook.job_id}) is None:
                return False
            await self.insert_many(tx, [webhook], by=by)
            return True

        if not await self._db.transaction(insert):
            raise SchedulerError("CONFLICT", "what this belongs to has just been deleted")

    async def insert_many(self, tx: Transaction, webhooks: list[Webhook], *, by: Actor | None = None) -> None:
        """Add webhooks as part of a transaction; their jobs must exist."""
        await tx.execute_many(
            f"INSERT INTO webhooks {WEBHOOKS.values()}", [self._rows.encode(webhook) for webhook in webhooks]
        )
        done = [(one.job_id, AuditedAction(action=Action.WEBHOOK_CREATED, subject_id=one.id)) for one in webhooks]
        await record_on_jobs(tx, by, done)

    async def get(self, webhook_id: str) -> Webhook | None:
        row = await self._db.fetch_one(_GET, {"id": webhook_id})
        return self._rows.decode(row) if row else None

    async def account_of(self, webhook_id: str) -> str | None:
        """The account that owns the webhook's job; ``None`` for an unknown id."""
        row = await self._db.fetch_one(
            "SELECT j.account_id FROM webhooks w JOIN jobs j ON j.id = w.job_id WHERE w.id = :id", {"id": webhook_id}
        )
        return row["account_id"] if row else None

    async def page(
        self, user: str, *, job_id: str | None = None, skip: int, limit: int, after: str | None = None
    ) -> Page[Webhook]:
        """The webhooks of the accounts ``user`` belongs to, or of one of their jobs, oldest first."""
        scope = """
            FROM webhooks w JOIN jobs j ON j.id = w.job_id JOIN members m ON m.account_id = j.account_id
            WHERE m.user_id = :user AND (CAST(:job_id AS TEXT) IS NULL OR w.job_id = :job_id)
        """
        return await select_page(
            self._db,
            WEBHOOKS.columns("w"),
            scope,
            {"user": user, "job_id": job_id},
            order="w.id",
            skip=skip,
            limit=limit,
            after=after,
            decode=self._rows.decode,
        )

    def decoder(self, start: int) -> Callable[[Row], Webhook]:
        """A function that decodes a row in which the columns of ``WEBHOOKS`` begin at position ``start``.

        It raises ``WrongKeyError`` when the secrets are sealed with an unknown key.
        """
        return self._rows.decoder(start)

    async def change(
        self,
        webhook_id: str,
        change: Callable[[Webhook], Webhook],
        *,
        by: Actor | None = None,
        rotates: bool = False,
    ) -> Webhook | None:
        """Read a webhook, apply ``change``, write it, in one transaction; ``None`` when there is no such webhook.

        ``by`` is who changes it; with ``rotates`` the audit names it a rotation of the signing secret.
        """

        async def update(tx: Transaction) -> Webhook | None:
            row = await tx.fetch_one(f"{_GET} FOR NO KEY UPDATE", {"id": webhook_id})
            if row is None:
                return None
            before = self._rows.decode(row)
            webhook = change(before)
            await tx.execute(_UPDATE, self._rows.encode(webhook))
            audited = audited_webhook_change(before, webhook, rotates=rotates)
            await record_on_jobs(tx, by, [(webhook.job_id, audited)] if audited else [])
            return webhook

        return await self._db.transaction(update)

    async def delete(self, webhook_id: str, now: Instant, *, by: Actor | None = None) -> bool:
        """Delete the webhook and cancel what is queued for it; its history stays. False for an unknown webhook.

        Nothing is sent from the first transaction on; when much is queued it is cancelled in several.
        """

        async def delete(tx: Transaction) -> tuple[str, int] | None:
            gone = await tx.fetch_one("DELETE FROM webhooks WHERE id = :id RETURNING id, job_id", {"id": webhook_id})
            if gone is None:
                return None
            audited = AuditedAction(action=Action.WEBHOOK_DELETED, subject_id=webhook_id)
            await record_on_jobs(tx, by, [(gone["job_id"], audited)])
            return gone["job_id"], await _cancel_some(tx, gone["job_id"], webhook_id, now)

        deleted = await self._db.transaction(delete)
        if deleted is None:
            return False
        job_id, count = deleted
        cancelled = count
        while count:
            count = await self._db.transaction(lambda tx: _cancel_some(tx, job_id, webhook_id, now))
            cancelled += count
        if cancelled:
            self._events.tell(ExecutionsEnded(status=Status.CANCELLED, count=cancelled, cause=_DELETED))
        return True


async def _cancel_some(tx: Transaction, job_id: str, webhook_id: str, now: Instant) -> int:
    """Cancel what is queued for a deleted webhook, as much as one transaction may; returns how much that was."""
    cancelled = await tx.fetch_all(
        """
        UPDATE executions SET status = 'cancelled', reason = :reason, finished_at = :now
        WHERE id IN (
          SELECT e.id FROM executions e
          WHERE e.job_id = :job_id AND e.webhook_id = :id AND e.status = 'queued' LIMIT :most
        ) AND status = 'queued' RETURNING id
        """,
        {"id": webhook_id, "job_id": job_id, "reason": _DELETED, "now": now, "most": _MOST_CANCELLED},
    )
    return len(cancelled)


def _sealed(vault: Vault, column: str, codec: Codec = TEXT) -> Codec:
    """A codec that seals what ``codec`` makes of a value with ``vault``, bound to the column and the row's id."""

    def encode(value: Any, webhook_id: str) -> str | None:
        text = codec.encode(value)
        return None if text is None else vault.seal(text, binding=binding_of("webhooks", webhook_id, column))

    def decode(sealed: str | None, webhook_id: str) -> Any:
        text = None if sealed is None else vault.open(sealed, binding=binding_of("webhooks", webhook_id, column))
        return codec.decode(text)

    return Codec(encode=encode, decode=decode, takes_id=True)


def _former_secrets(text: str | None) -> tuple[FormerSecret, ...]:
    return tuple(FormerSecret(secret=secret, until_at=until_at) for secret, until_at in json.loads(text or "[]"))


@lru_cache(maxsize=1024)
def _success(text: str) -> Success:
    """The rule of a column; one that no answer fulfils where it cannot be read, rather than one that all do."""
    try:
        return Success.from_mapping(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Success(statuses=())


@lru_cache(maxsize=1024)
def _tls(text: str) -> TlsOptions:
    known = {"ca", "certificate", "key", "verify"}
    return TlsOptions(**{name: value for name, value in json.loads(text).items() if name in known})


_FORMER_SECRETS = Codec(
    encode=lambda formers: json.dumps([[one.secret, one.until_at] for one in formers]) if formers else None,
    decode=_former_secrets,
)
_TLS = Codec(encode=lambda tls: json.dumps(tls.to_mapping()), decode=_tls)
_SEALED = {"headers": MAP, "signing_secret": TEXT, "former_secrets": _FORMER_SECRETS, "tls": _TLS}
_SUCCESS = Codec(encode=lambda success: json.dumps(success.to_mapping()), decode=_success)
