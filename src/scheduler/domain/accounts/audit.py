"""The audit: who did what to what, when, and from where. Names of fields, never their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.webhooks.webhook import Webhook

SERVICE = "scheduler"
"""Who is on record for what the service does by itself."""

_NOT_CHANGES = frozenset(
    {"updated_at", "next_run_at", "last_run_at", "run_count", "disabled_by", "disabled_reason", "former_secrets"}
)
"""What changes by itself, or along with what a person changes."""
_API_NAMES = {"anchor_at": "anchor"}


class Action(StrEnum):
    """What was done; the word before the dot says to what."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_UPDATED = "account.updated"
    MEMBER_ADDED = "member.added"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    JOB_CREATED = "job.created"
    JOB_UPDATED = "job.updated"
    JOB_ENABLED = "job.enabled"
    JOB_DISABLED = "job.disabled"
    JOB_DELETED = "job.deleted"
    JOB_TRIGGERED = "job.triggered"
    JOB_BACKFILLED = "job.backfilled"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_UPDATED = "webhook.updated"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 - no secret, but the name of what was done to one
    WEBHOOK_DELETED = "webhook.deleted"
    EXECUTION_RETRIED = "execution.retried"
    EXECUTION_CANCELLED = "execution.cancelled"
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven"
    DEAD_LETTER_PURGED = "dead_letter.purged"

    @property
    def subject_type(self) -> str:
        """What kind of thing the subject is; dead letters are on record by their job."""
        kind = self.value.partition(".")[0]
        return "job" if kind == "dead_letter" else kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who does something, when, and from where."""

    name: str
    """The user, the principal of a key, or ``SERVICE``."""
    at: Instant
    address: str | None = None
    """The client's; ``None`` for the service itself."""
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """What somebody does."""

    action: Action
    subject_id: str
    """An id; of a member the user."""
    subject_name: str | None = None
    changes: tuple[str, ...] = ()
    """The names of the fields that are different now, as the API calls them."""
    subjects: int = 1
    """How many things it is about: executions that were started, redriven or purged at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One deed as it stands on record."""

    id: str
    account_id: str
    actor: Actor
    deed: Deed


def deed_on_job(before: Job, after: Job) -> Deed | None:
    """What a change of a job comes to; ``None`` when nothing is different."""
    changes = tuple(_changes(before, after))
    if not changes:
        return None
    action = Action.JOB_UPDATED
    if before.enabled != after.enabled:
        action = Action.JOB_ENABLED if after.enabled else Action.JOB_DISABLED
    return Deed(action=action, subject_id=after.id, changes=changes)


def deed_on_webhook(before: Webhook, after: Webhook, *, rotates: bool) -> Deed | None:
    """What a change of a webhook comes to; ``None`` when nothing is different. ``rotates``: it is a new secret."""
    changes = tuple(_changes(before, after))
    if not changes:
        return None
    action = Action.WEBHOOK_SECRET_ROTATED if rotates else Action.WEBHOOK_UPDATED
    if before.enabled != after.enabled:
        action = Action.WEBHOOK_ENABLED if after.enabled else Action.WEBHOOK_DISABLED
    return Deed(action=action, subject_id=after.id, changes=changes)


def _changes(before: Job | Webhook, after: Job | Webhook) -> Iterator[str]:
    for field in fields(before):
        if field.name not in _NOT_CHANGES and getattr(before, field.name) != getattr(after, field.name):
            yield _API_NAMES.get(field.name, field.name)
