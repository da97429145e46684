"""Webhooks; header values and signing secrets are sealed before they touch the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction, audited_webhook_change
from scheduler.domain.clock import Instant
from scheduler.domain.events import Events, ExecutionsEnded
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.runs.execution import Status
from scheduler.domain.webhooks.webhook import FormerSecret, Webhook
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Database, Page, Row, Transaction
from scheduler.store.vault import Vault, binding_of

COLUMNS = (
    "w.id, w.job_id, w.url, w.method, w.headers, w.query_params, w.body_template, w.content_type, w.timeout_s, "
    "w.signing_secret, w.former_secrets, w.enabled, w.disabled_by, w.disabled_reason, w.created_at, "
    "w.updated_at"
)
_INSERT = """
INSERT INTO webhooks (
  id, job_id, url, method, headers, query_params, body_template, content_type, timeout_s, signing_secret,
  former_secrets, enabled, disabled_by, disabled_reason, created_at, updated_at
) VALUES (
  :id, :job_id, :url, :method, :headers, :query_params, :body_template, :content_type, :timeout_s, :signing_secret,
  :former_secrets, :enabled, :disabled_by, :disabled_reason, :created_at, :updated_at
)
"""
_UPDATE = """
UPDATE webhooks SET
  url = :url, method = :method, headers = :headers, query_params = :query_params, body_template = :body_template,
  content_type = :content_type, timeout_s = :timeout_s, signing_secret = :signing_secret,
  former_secrets = :former_secrets, enabled = :enabled, disabled_by = :disabled_by,
  disabled_reason = :disabled_reason, updated_at = :updated_at
WHERE id = :id
"""
_DELETED = "the webhook was deleted"
_GET = f"SELECT {COLUMNS} FROM webhooks w WHERE w.id = :id"


class WebhookStore:
    """The webhooks of all jobs."""

    def __init__(self, db: Database, vault: Vault, events: Events) -> None:
        self._db = db
        self._vault = vault
        self._events = events

    async def insert(self, webhook: Webhook, *, by: Actor | None = None) -> None:
        """Add a webhook to its job, which must exist."""

        async def insert(tx: Transaction) -> None:
            await self.insert_many(tx, [webhook], by=by)

        await self._db.transaction(insert)

    async def insert_many(self, tx: Transaction, webhooks: list[Webhook], *, by: Actor | None = None) -> None:
        """Add webhooks inside a transaction that somebody else began."""
        await tx.execute_many(_INSERT, [self._row(webhook) for webhook in webhooks])
        done = [(one.job_id, AuditedAction(action=Action.WEBHOOK_CREATED, subject_id=one.id)) for one in webhooks]
        await record_on_jobs(tx, by, done)

    async def get(self, webhook_id: str) -> Webhook | None:
        row = await self._db.fetch_one(_GET, {"id": webhook_id})
        return self.decode(row) if row else None

    async def account_of(self, webhook_id: str) -> str | None:
        """The account that owns the webhook's job; ``None`` for an unknown id."""
        row = await self._db.fetch_one(
            "SELECT j.account_id FROM webhooks w JOIN jobs j ON j.id = w.job_id WHERE w.id = :id", {"id": webhook_id}
        )
        return row["account_id"] if row else None

    async def page(self, user: str, *, job_id: str | None = None, skip: int, limit: int) -> Page[Webhook]:
        """The webhooks of the accounts ``user`` belongs to, or of one of their jobs, oldest first."""
        scope = """
            FROM webhooks w JOIN jobs j ON j.id = w.job_id JOIN members m ON m.account_id = j.account_id
            WHERE m.user_id = :user AND (CAST(:job_id AS TEXT) IS NULL OR w.job_id = :job_id)
        """
        params = {"user": user, "job_id": job_id}
        rows = await self._db.fetch_all(
            f"SELECT {COLUMNS} {scope} ORDER BY w.id LIMIT :limit OFFSET :skip",
            {**params, "limit": limit, "skip": skip},
        )
        counted = await self._db.fetch_all(f"SELECT COUNT(*) AS n {scope}", params)
        return Page([self.decode(row) for row in rows], counted[0]["n"])

    async def change(
        self,
        webhook_id: str,
        change: Callable[[Webhook], Webhook],
        *,
        by: Actor | None = None,
        rotates: bool = False,
    ) -> Webhook | None:
        """Read, apply ``change``, write, in one transaction; ``None`` when there is no such webhook.

        ``by`` is who is on record for it; with ``rotates``, for a new signing secret.
        """

        async def update(tx: Transaction) -> Webhook | None:
            row = await tx.fetch_one(f"{_GET} FOR NO KEY UPDATE", {"id": webhook_id})
            if row is None:
                return None
            before = self.decode(row)
            webhook = change(before)
            await tx.execute(_UPDATE, self._row(webhook))
            audited = audited_webhook_change(before, webhook, rotates=rotates)
            await record_on_jobs(tx, by, [(webhook.job_id, audited)] if audited else [])
            return webhook

        return await self._db.transaction(update)

    async def delete(self, webhook_id: str, now: Instant, *, by: Actor | None = None) -> bool:
        """Delete the webhook; what was queued for it is cancelled, its history stays. False: no such webhook."""

        async def delete(tx: Transaction) -> int | None:
            gone = await tx.fetch_one("DELETE FROM webhooks WHERE id = :id RETURNING id, job_id", {"id": webhook_id})
            if gone is None:
                return None
            audited = AuditedAction(action=Action.WEBHOOK_DELETED, subject_id=webhook_id)
            await record_on_jobs(tx, by, [(gone["job_id"], audited)])
            cancelled = await tx.fetch_all(
                """
                UPDATE executions SET status = 'cancelled', reason = :reason, finished_at = :now
                WHERE job_id = :job_id AND webhook_id = :id AND status = 'queued' RETURNING id
                """,
                {"id": webhook_id, "job_id": gone["job_id"], "reason": _DELETED, "now": now},
            )
            return len(cancelled)

        cancelled = await self._db.transaction(delete)
        if cancelled:
            self._events.tell(ExecutionsEnded(status=Status.CANCELLED, count=cancelled, cause=_DELETED))
        return cancelled is not None

    def decode(self, row: Row) -> Webhook:
        """The webhook of a row that has ``COLUMNS``."""
        webhook_id = row["id"]
        headers, query, secret = row["headers"], row["query_params"], row["signing_secret"]
        formers = row["former_secrets"]
        return Webhook(
            id=webhook_id,
            job_id=row["job_id"],
            url=row["url"],
            method=row["method"],
            headers=json.loads(self._open(headers, webhook_id, "headers")) if headers else None,
            query_params=json.loads(query) if query else None,
            body_template=row["body_template"],
            content_type=row["content_type"],
            timeout_s=row["timeout_s"],
            signing_secret=self._open(secret, webhook_id, "signing_secret") if secret else None,
            former_secrets=_formers(self._open(formers, webhook_id, "former_secrets")) if formers else (),
            enabled=bool(row["enabled"]),
            disabled_by=DisabledBy(row["disabled_by"]) if row["disabled_by"] else None,
            disabled_reason=row["disabled_reason"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def _open(self, sealed: str, webhook_id: str, column: str) -> str:
        return self._vault.open(sealed, binding=binding_of("webhooks", webhook_id, column))

    def _seal(self, text: str | None, webhook_id: str, column: str) -> str | None:
        return None if text is None else self._vault.seal(text, binding=binding_of("webhooks", webhook_id, column))

    def _row(self, webhook: Webhook) -> dict[str, Any]:
        headers = None if webhook.headers is None else json.dumps(dict(webhook.headers))
        query = None if webhook.query_params is None else json.dumps(dict(webhook.query_params))
        formers = json.dumps([[former.secret, former.until_at] for former in webhook.former_secrets])
        return {
            "id": webhook.id,
            "job_id": webhook.job_id,
            "url": webhook.url,
            "method": webhook.method,
            "headers": self._seal(headers, webhook.id, "headers"),
            "query_params": query,
            "body_template": webhook.body_template,
            "content_type": webhook.content_type,
            "timeout_s": webhook.timeout_s,
            "signing_secret": self._seal(webhook.signing_secret, webhook.id, "signing_secret"),
            "former_secrets": self._seal(formers if webhook.former_secrets else None, webhook.id, "former_secrets"),
            "enabled": int(webhook.enabled),
            "disabled_by": webhook.disabled_by,
            "disabled_reason": webhook.disabled_reason,
            "created_at": webhook.created_at,
            "updated_at": webhook.updated_at,
        }


def _formers(text: str) -> tuple[FormerSecret, ...]:
    return tuple(FormerSecret(secret=secret, until_at=until_at) for secret, until_at in json.loads(text))
