"""What a claim is made of: one row with everything that an attempt needs, read at once."""

from __future__ import annotations

from typing import Any

from scheduler.domain.clock import Instant
from scheduler.domain.runs.execution import Execution, Status, Trigger
from scheduler.domain.webhooks.claim import Claim
from scheduler.store.database import Row
from scheduler.store.jobs.job_rows import decode_policy
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.vault import WrongKeyError

CLAIM_COLUMNS = """
  e.id, e.run_id, e.job_id, e.account_id, e.webhook_id, e.attempt, e.trigger_kind, e.scheduled_at, e.available_at,
  e.covers, e.covers_from, e.budget_from, e.budget_at, e.prior_errors, e.worker_id, e.started_at, e.created_at,
  e.is_scheduled, j.name AS job_name, j.retry, j.delivery, j.catchup_window_s, j.dead_count,
  w.id AS w_id, w.job_id AS w_job_id, w.url AS w_url, w.method AS w_method, w.headers AS w_headers,
  w.query_params AS w_query_params, w.body_template AS w_body_template, w.content_type AS w_content_type,
  w.timeout_s AS w_timeout_s, w.signing_secret AS w_signing_secret,
  w.former_secrets AS w_former_secrets, w.enabled AS w_enabled, w.disabled_by AS w_disabled_by,
  w.disabled_reason AS w_disabled_reason, w.created_at AS w_created_at, w.updated_at AS w_updated_at
"""
"""Those of the webhook are null once it is deleted."""
CLAIMED_FROM = "executions e JOIN jobs j ON j.id = e.job_id LEFT JOIN webhooks w ON w.id = e.webhook_id"


def decode_claim(row: Row, webhooks: WebhookStore, *, worker_id: str, started_at: Instant) -> Claim:
    """A row of ``CLAIM_COLUMNS`` as a claim."""
    execution = Execution(
        id=row["id"],
        run_id=row["run_id"],
        job_id=row["job_id"],
        account_id=row["account_id"],
        webhook_id=row["webhook_id"],
        status=Status.RUNNING,
        attempt=row["attempt"],
        trigger=Trigger(row["trigger_kind"]),
        scheduled_at=row["scheduled_at"],
        available_at=row["available_at"],
        created_at=row["created_at"],
        covers=row["covers"],
        covers_from=row["covers_from"],
        budget_from=row["budget_from"],
        budget_at=row["budget_at"],
        prior_errors=row["prior_errors"],
        worker_id=worker_id,
        started_at=started_at,
        is_scheduled=bool(row["is_scheduled"]),
    )
    webhook, unreadable = None, None
    try:
        webhook = webhooks.decode(_WebhookColumns(row)) if row["w_id"] is not None else None
    except WrongKeyError as error:
        unreadable = str(error)  # the end of this attempt, not of the claims around it
    return Claim(
        execution=execution,
        job_name=row["job_name"],
        policy=decode_policy(row["retry"]),
        at_most_once=row["delivery"] == "at_most_once",
        catchup_window_s=row["catchup_window_s"],
        webhook=webhook,
        unreadable=unreadable,
    )


class _WebhookColumns:
    """The ``w_`` columns of a claimed row under the names that a webhook row has."""

    __slots__ = ("_row",)

    def __init__(self, row: Row) -> None:
        self._row = row

    def __getitem__(self, column: str) -> Any:
        return self._row[f"w_{column}"]
