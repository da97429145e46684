"""The row of a claim: all that a delivery needs, read by one statement."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.domain.clock import Instant
from scheduler.domain.runs.execution import Status
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.store.database import Row
from scheduler.store.jobs.job_table import decode_policy
from scheduler.store.jobs.webhooks import WEBHOOKS
from scheduler.store.queue.attempts import QUEUED
from scheduler.store.vault import WrongKeyError

ACCOUNT_USER = "(SELECT COALESCE(a.created_by, a.id) FROM accounts a WHERE a.id = e.account_id) AS account_user"
"""The user who made the account of ``e``; the account itself where nobody knows.

No join: a planner could begin with the few accounts, and sort all their executions.
"""
_JOB_COLUMNS = (
    ACCOUNT_USER, "j.name AS job_name", "j.retry", "j.delivery", "j.catchup_window_s", "j.dead_count", "e.worker_id",
    "e.started_at",
)  # fmt: skip
_EXECUTION_AT = len(_JOB_COLUMNS)
WEBHOOK_AT = _EXECUTION_AT + len(QUEUED.names)
"""The position of the first column of the webhook; all of those are null once it is deleted."""
CLAIM_COLUMNS = f"{', '.join(_JOB_COLUMNS)}, {QUEUED.columns('e')}, {WEBHOOKS.columns('w', prefix='w_')}"
CLAIMED_FROM = "executions e JOIN jobs j ON j.id = e.job_id LEFT JOIN webhooks w ON w.id = e.webhook_id"


_decode_execution = QUEUED.decoder(_EXECUTION_AT, given=("status", "worker_id", "started_at"))


def decode_claim(row: Row, decode_webhook: Callable[[Row], Webhook], *, worker_id: str, started_at: Instant) -> Claim:
    """A row of ``CLAIM_COLUMNS`` as a claim."""
    webhook, unreadable = None, None
    try:
        webhook = decode_webhook(row) if row[WEBHOOK_AT] is not None else None
    except WrongKeyError as error:
        unreadable = str(error)  # ends this attempt, not the other claims
    except (ValueError, TypeError, KeyError) as error:
        unreadable = f"what is stored of the webhook cannot be read: {error}"
    return Claim(
        execution=_decode_execution(row, Status.RUNNING, worker_id, started_at),
        account_user=row["account_user"],
        job_name=row["job_name"],
        policy=decode_policy(row["retry"]),
        at_most_once=row["delivery"] == "at_most_once",
        catchup_window_s=row["catchup_window_s"],
        webhook=webhook,
        unreadable=unreadable,
    )
