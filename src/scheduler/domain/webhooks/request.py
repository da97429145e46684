"""Builds the request of an attempt, a pure function of the claim and the time of firing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.runs.execution import Execution
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.signing import sign
from scheduler.domain.webhooks.target import split_url
from scheduler.domain.webhooks.template import Value, render

_SET_FOR_EACH_ATTEMPT = frozenset(
    {
        "accept-encoding",
        "traceparent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-scheduler-job-id",
        "x-scheduler-execution-id",
        "x-scheduler-attempt",
        "x-scheduler-scheduled-at",
    }
)
# All but what RFC 3986 allows in a path or query; a percent sign is encoded unless two hex digits follow it.
_TO_ENCODE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request, ready to be sent; the sender adds ``Host`` and ``Content-Length``."""

    method: str
    url: str
    """Absolute, percent-encoded, without a fragment."""
    headers: Mapping[str, str]
    body: bytes | None
    """``None`` for no body; then POST, PUT and PATCH are sent with ``Content-Length: 0``, the others without."""
    timeout_s: float
    """Seconds from the look-up of the name to the last byte of the response's header block."""
    on_new_connection: bool = False
    """Send it on no connection that has carried another request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Envelope:
    """What is the same in all requests of a webhook."""

    url: str
    headers: dict[str, str]
    as_json: bool


def build_request(claim: Claim, *, fired_at: Instant, version: str) -> Request:
    """The request of a claim whose webhook is there, as of ``fired_at``; ``version`` is that of this program.

    A body is sent where there is a template, whatever the method. Raises ``SchedulerError`` when ``parse_target`` does
    not accept the URL or the body would be too long.
    """
    webhook, execution = claim.webhook, claim.execution
    if webhook is None:
        raise ValueError("a claim without a webhook has nothing to send")
    envelope = _envelope(
        webhook.url,
        _items(webhook.query_params),
        _items(webhook.headers),
        webhook.content_type if webhook.body_template else None,
        version,
    )
    scheduled_at = _format_once(execution.scheduled_at)
    body = _body(webhook.body_template, claim, scheduled_at, fired_at, as_json=envelope.as_json)
    headers = envelope.headers.copy()
    _identify(headers, execution, scheduled_at, fired_at // SECOND)
    if webhook.signing_secret is not None:
        signed = body if body is not None else b""
        headers["webhook-signature"] = " ".join(
            sign(secret, execution.run_id, fired_at // SECOND, signed) for secret in webhook.live_secrets(fired_at)
        )
    return Request(
        method=webhook.method,
        url=envelope.url,
        headers=headers,
        body=body,
        timeout_s=webhook.timeout_s,
        on_new_connection=execution.after_stale,
    )


def _items(mapping: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(mapping.items()) if mapping else ()


@lru_cache(maxsize=1024)
def _envelope(
    url: str,
    query_params: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    content_type: str | None,
    version: str,
) -> _Envelope:
    """``content_type`` is ``None`` for a request without a body."""
    chosen = {name: value for name, value in headers if name.lower() not in _SET_FOR_EACH_ATTEMPT}
    set_by_user = {name.lower(): value for name, value in chosen.items()}
    ours = {"User-Agent": f"scheduler/{version}", "Accept": "*/*"}
    if content_type is not None:
        ours["Content-Type"] = content_type
    defaults = {name: value for name, value in ours.items() if name.lower() not in set_by_user}
    sent_type = set_by_user.get("content-type", content_type or "")
    return _Envelope(
        url=_full_url(url, query_params),
        headers={**defaults, **chosen, "Accept-Encoding": "identity"},
        as_json=_is_json(sent_type),
    )


def _full_url(url: str, query_params: tuple[tuple[str, str], ...]) -> str:
    target, rest = split_url(url)
    path, _, query = rest.partition("#")[0].partition("?")
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query_params)
    query = "&".join(part for part in (_encoded(query), added) if part)
    return f"{target.scheme}://{target.authority}{_encoded(path) or '/'}{'?' if query else ''}{query}"


def _encoded(text: str) -> str:
    return _TO_ENCODE.sub(lambda match: quote(match[0], safe=""), text)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _body(template: str | None, claim: Claim, scheduled_at: str, fired_at: Instant, *, as_json: bool) -> bytes | None:
    if not template:
        return None
    if "{{" not in template:
        return template.encode()
    execution = claim.execution
    values: dict[str, Value] = {
        "job.id": execution.job_id,
        "job.name": claim.job_name,
        "account.id": execution.account_id,
        "webhook.id": execution.webhook_id,
        "execution.id": execution.id,
        "run.id": execution.run_id,
        "attempt": execution.attempt,
        "scheduled_at": scheduled_at,
        "fired_at": format_instant(fired_at) if "fired_at" in template else None,
        "trigger": execution.trigger.value,
    }
    return render(template, values, as_json=as_json).encode()


def _identify(headers: dict[str, str], execution: Execution, scheduled_at: str, timestamp_s: int) -> None:
    """Add what identifies the attempt: for deduplication (Standard Webhooks 1.0) and for traces (W3C Trace Context)."""
    run_id, execution_id = execution.run_id, execution.id
    headers["webhook-id"] = run_id
    headers["webhook-timestamp"] = str(timestamp_s)
    headers["X-Scheduler-Job-Id"] = execution.job_id
    headers["X-Scheduler-Execution-Id"] = execution_id
    headers["X-Scheduler-Attempt"] = str(execution.attempt)
    headers["X-Scheduler-Scheduled-At"] = scheduled_at
    # the attempts of a run share a trace; the random half of the execution's id names the attempt's span
    headers["traceparent"] = f"00-{run_id.replace('-', '')}-{execution_id.replace('-', '')[16:]}-01"


_format_once = lru_cache(maxsize=256)(format_instant)
