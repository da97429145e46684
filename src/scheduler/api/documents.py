"""Records as the JSON documents that answers carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from aiohttp import web

from scheduler.domain.account import Account, Member
from scheduler.domain.api_key import ApiKey
from scheduler.domain.audit import AuditEntry
from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.execution import Execution, Status
from scheduler.domain.job import Job
from scheduler.domain.planning import upcoming
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.schedule import parse_schedule
from scheduler.domain.webhook import MASK, Webhook, mask_headers
from scheduler.store.database import Page
from scheduler.store.executions import Summary

T = TypeVar("T")
Document = dict[str, Any]

_NEXT_RUNS = 5


def answer(document: Document, status: int = 200) -> web.Response:
    """The document as a JSON response."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def page_answer(page: Page[T], document: Callable[[T], Document], query: Document) -> web.Response:
    """One page of a list, with what was asked for."""
    items = [document(item) for item in page.items]
    return answer({"items": items, "total": page.total, "skip": query["skip"], "limit": query["limit"]})


def items_answer(documents: Sequence[Document], status: int) -> web.Response:
    """A list that is no page: all that one call made."""
    return answer({"items": list(documents)}, status)


def account_document(account: Account) -> Document:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role.value,
        "created_at": format_instant(account.created_at),
        "updated_at": format_instant(account.updated_at),
    }


def member_document(member: Member) -> Document:
    return {"user": member.user, "role": member.role.value, "created_at": format_instant(member.created_at)}


def key_document(key: ApiKey) -> Document:
    """A key, as much of it as may be known."""
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": [scope.value for scope in key.scopes],
        "created_by": key.created_by,
        "created_at": format_instant(key.created_at),
        "last_used_at": _time(key.last_used_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
    }


def job_document(job: Job) -> Document:
    """A job as answers to create, read one and update show it: with its schedule in words and its next runs."""
    document = job_summary(job)
    document["description"] = _described(job.schedule, job.timezone, job.anchor_at, job.dst_policy, job.day_match)
    document["next_runs"] = [format_instant(at) for at in upcoming(job, _NEXT_RUNS)]
    return document


def job_summary(job: Job) -> Document:
    """A job as lists show it."""
    return {
        "id": job.id,
        "account_id": job.account_id,
        "name": job.name,
        "schedule": job.schedule,
        "type": job.type,
        "timezone": job.timezone,
        "enabled": job.enabled,
        "dst_policy": job.dst_policy,
        "day_match": job.day_match,
        "anchor": format_instant(job.anchor_at),
        "starts_at": _time(job.starts_at),
        "ends_at": _time(job.ends_at),
        "max_runs": job.max_runs,
        "jitter_s": _number(job.jitter_s),
        "spread_s": _number(job.spread_s),
        "catchup": job.catchup,
        "catchup_window_s": _number(job.catchup_window_s),
        "catchup_limit": job.catchup_limit,
        "overlap": job.overlap,
        "retry": _retry_document(job.retry),
        "delivery": job.delivery,
        "auto_disable": job.auto_disable,
        "note": job.note,
        "tags": list(job.tags),
        "disabled_reason": job.disabled_reason,
        "last_run_at": _time(job.last_run_at),
        "next_run_at": _time(job.next_run_at),
        "created_at": format_instant(job.created_at),
        "updated_at": format_instant(job.updated_at),
    }


def created_job_document(job: Job, webhooks: Sequence[Webhook]) -> Document:
    """A new job, with the webhook that came with it; its signing secret is shown, this once."""
    document = job_document(job)
    if webhooks:
        document["webhook"] = webhook_document(webhooks[0], reveal=True)
    return document


def webhook_document(webhook: Webhook, *, reveal: bool = False) -> Document:
    """A webhook; its secrets stay secret, but for the signing secret in the answer that set it (``reveal``)."""
    secret = webhook.signing_secret
    return {
        "id": webhook.id,
        "job_id": webhook.job_id,
        "url": webhook.url,
        "method": webhook.method,
        "headers": mask_headers(webhook.headers),
        "query_params": webhook.query_params,
        "body_template": webhook.body_template,
        "content_type": webhook.content_type,
        "timeout_s": _number(webhook.timeout_s),
        "signing_secret": secret if reveal or secret is None else MASK,
        "former_secrets_until": _time(max((one.until_at for one in webhook.former_secrets), default=None)),
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason,
        "created_at": format_instant(webhook.created_at),
        "updated_at": format_instant(webhook.updated_at),
    }


def execution_document(execution: Execution) -> Document:
    return {
        "id": execution.id,
        "run_id": execution.run_id,
        "job_id": execution.job_id,
        "account_id": execution.account_id,
        "webhook_id": execution.webhook_id,
        "status": execution.status.value,
        "attempt": execution.attempt,
        "trigger": execution.trigger.value,
        "scheduled_at": format_instant(execution.scheduled_at),
        "available_at": format_instant(execution.available_at),
        "covers": execution.covers,
        "covers_from": _time(execution.covers_from),
        "reason": execution.reason,
        "worker_id": execution.worker_id,
        "started_at": _time(execution.started_at),
        "finished_at": _time(execution.finished_at),
        "duration_ms": execution.duration_ms,
        "response_code": execution.response_code,
        "response_headers": execution.response_headers,
        "response_body": execution.response_body,
        "body_truncated": execution.body_truncated,
        "error": execution.error,
        "created_at": format_instant(execution.created_at),
    }


def audit_document(entry: AuditEntry) -> Document:
    actor, deed = entry.actor, entry.deed
    return {
        "id": entry.id,
        "account_id": entry.account_id,
        "at": format_instant(actor.at),
        "actor": actor.name,
        "action": deed.action.value,
        "subject_type": deed.action.subject_type,
        "subject_id": deed.subject_id,
        "subject_name": deed.subject_name,
        "from": actor.address,
        "request_id": actor.request_id,
        "changes": list(deed.changes),
        "count": deed.subjects,
    }


def metrics_document(summary: Summary, now: Instant) -> Document:
    """The JSON metrics of one user; the success rate is a percentage of what ended on its own account."""
    counts = {status.value: summary.executions.get(status, 0) for status in Status}
    ended = sum(counts[status] for status in ("success", "failure", "timed_out", "dead_letter"))
    return {
        "timestamp": format_instant(now),
        "jobs": {
            "total": summary.jobs_total,
            "enabled": summary.jobs_enabled,
            "disabled": summary.jobs_total - summary.jobs_enabled,
        },
        "executions": {
            "total": sum(counts.values()),
            **counts,
            "success_rate": 100 * counts["success"] / ended if ended else 0.0,
            "avg_duration_ms": summary.avg_duration_ms,
        },
    }


# Both are the same for most jobs, and dear enough to be noticed on the way of every request.
@lru_cache(maxsize=1024)
def _described(schedule: str, timezone: str, anchor_at: Instant, dst_policy: str, day_match: str) -> str:
    parsed = parse_schedule(
        schedule, timezone=timezone, anchor_at=anchor_at, dst_policy=dst_policy, day_match=day_match
    )
    return parsed.describe()


@lru_cache(maxsize=1024)
def _retry_document(policy: RetryPolicy) -> Document:
    return policy.to_mapping()


def _number(value: float) -> float:
    """Without ``.0``, which a database adds to what was written as a whole number."""
    return int(value) if value == int(value) else value


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)
