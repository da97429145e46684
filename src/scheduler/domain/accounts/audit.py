"""The audit log: who took which action on what, when, and from where; with names of fields, never their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.webhooks.webhook import Webhook

SERVICE = "scheduler"
"""The name of the actor where the service acts by itself."""

_UNAUDITED = frozenset(
    {
        "updated_at",
        "next_run_at",
        "last_run_at",
        "run_count",
        "disabled_by",
        "disabled_reason",
        "one_off_ended_at",
        "former_secrets",
        "replaces_names",
    }
)
"""Fields that no person changes directly: the service sets them, or they follow from others."""
_API_NAMES = {"anchor_at": "anchor"}


class Action(StrEnum):
    """An action; the word before the dot is the type of its subject."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_UPDATED = "account.updated"
    MEMBER_INVITED = "member.invited"
    MEMBER_WITHDRAWN = "member.withdrawn"
    """An invitation was taken back."""
    MEMBER_DECLINED = "member.declined"
    MEMBER_ADDED = "member.added"
    """An invitation was accepted."""
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"
    MEMBER_LEFT = "member.left"
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
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 - the name of an action, no secret
    WEBHOOK_DELETED = "webhook.deleted"
    EXECUTION_RETRIED = "execution.retried"
    EXECUTION_CANCELLED = "execution.cancelled"
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven"
    DEAD_LETTER_PURGED = "dead_letter.purged"

    @property
    def subject_type(self) -> str:
        """The type of the subject; the subject of actions on dead letters is their job."""
        kind = self.value.partition(".")[0]
        return "job" if kind == "dead_letter" else kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who acts, when, and from where."""

    name: str
    """The user, the principal of a key, or ``SERVICE``."""
    at: Instant
    address: str | None = None
    """The client's; ``None`` for the service itself."""
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditedAction:
    """One action on one subject."""

    action: Action
    subject_id: str
    """An id; of a member the user."""
    subject_name: str | None = None
    changes: tuple[str, ...] = ()
    """The names of the fields that have changed, as in the API."""
    subjects: int = 1
    """How many executions were started, redriven or purged; 1 for all other actions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One action as it is stored, with its actor."""

    id: str
    account_id: str
    actor: Actor
    audited: AuditedAction


def audited_job_change(before: Job, after: Job) -> AuditedAction | None:
    """The action that turned ``before`` into ``after``; ``None`` when no audited field differs."""
    changes = tuple(_changes(before, after))
    if not changes:
        return None
    action = Action.JOB_UPDATED
    if before.enabled != after.enabled:
        action = Action.JOB_ENABLED if after.enabled else Action.JOB_DISABLED
    return AuditedAction(action=action, subject_id=after.id, changes=changes)


def audited_webhook_change(before: Webhook, after: Webhook, *, rotates: bool) -> AuditedAction | None:
    """The action that turned ``before`` into ``after``; ``None`` when no audited field differs.

    ``rotates``: the change is a rotation of the signing secret.
    """
    changes = tuple(_changes(before, after))
    if not changes:
        return None
    action = Action.WEBHOOK_SECRET_ROTATED if rotates else Action.WEBHOOK_UPDATED
    if before.enabled != after.enabled:
        action = Action.WEBHOOK_ENABLED if after.enabled else Action.WEBHOOK_DISABLED
    return AuditedAction(action=action, subject_id=after.id, changes=changes)


def _changes(before: Job | Webhook | Timing, after: Job | Webhook | Timing) -> Iterator[str]:
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in _UNAUDITED or old == new:
            continue
        if isinstance(old, Timing):
            yield from _changes(old, new)
        else:
            yield _API_NAMES.get(field.name, field.name)
