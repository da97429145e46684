"""Builds the request of an attempt, a pure function of the claim and the time of firing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.runs.execution import Execution
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.contexts import Context, Value, body_context
from scheduler.domain.webhooks.signing import sign
from scheduler.domain.webhooks.success import Success
from scheduler.domain.webhooks.template import Template, compiled, joined, unchanged
from scheduler.domain.webhooks.url import split_url
from scheduler.domain.webhooks.webhook import TlsOptions

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
LONGEST_SENT_URL = 16_384
"""Bytes of a URL with the values of its names and with its ``query_params``."""
_MANY_NAMES = 100
_LARGE_BODY = 65_536
"""In characters: this many are compiled, encoded and signed in four milliseconds."""
_MOST_ESCAPED = 16
"""How many characters stand for one of a name in JSON within JSON within JSON."""
SENT_HEADERS_LIMIT = 65_536
"""Bytes of all header values that have names, with the values of these."""


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
    success: Success | None = None
    follow_redirects: int = 0
    hops: int = 0
    """How many redirects have led here."""
    tls: TlsOptions | None = field(default=None, repr=False)
    user: str = ""
    """Who made the account that it is sent for: look-ups of names are shared by users."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Envelope:
    """The parts of a request that are the same in all requests of a webhook."""

    url: Template
    headers: dict[str, str]
    """Those without names, and where the others come, their templates."""
    named_headers: tuple[tuple[str, Template], ...]
    body_context: Context

    @property
    def has_names(self) -> bool:
        return bool(self.named_headers or self.url.names)


def build_request(claim: Claim, *, fired_at: Instant, version: str) -> Request:
    """The request of a claim whose webhook is there, as of ``fired_at``; ``version`` is that of this program.

    A body is sent where there is a template, whatever the method. Raises ``SchedulerError`` when ``parse_target`` does
    not accept the URL or the body would be too long.
    """
    webhook, execution = claim.webhook, claim.execution
    if webhook is None:
        raise ValueError("a claim without a webhook has nothing to send")
    template = webhook.body_template
    envelope = _envelope(
        webhook.url,
        _items(webhook.query_params),
        _items(webhook.headers),
        webhook.content_type if template else None,
        version,
        replaces_names=webhook.replaces_names,
    )
    scheduled_at = _format_once(execution.scheduled_at)
    has_names = envelope.has_names or (template is not None and "{{" in template)
    has_time = envelope.has_names or (has_names and "fired_at" in (template or ""))
    values = _values(claim, scheduled_at, format_instant(fired_at) if has_time else "") if has_names else {}
    headers = _headers(envelope, values) if envelope.named_headers else envelope.headers.copy()
    body = _body(template, envelope.body_context, values)
    _identify(headers, execution, scheduled_at, fired_at // SECOND)
    if webhook.signing_secret is not None:
        signed = body if body is not None else b""
        headers["webhook-signature"] = " ".join(
            sign(secret, execution.run_id, fired_at // SECOND, signed) for secret in webhook.live_secrets(fired_at)
        )
    return Request(
        method=webhook.method,
        url=envelope.url.render(values, field="url", limit=LONGEST_SENT_URL),
        headers=headers,
        body=body,
        timeout_s=webhook.timeout_s,
        user=claim.account_user,
        on_new_connection=execution.after_stale,
        success=webhook.success,
        follow_redirects=webhook.follow_redirects,
        tls=webhook.tls,
    )


def takes_long_to_build(claim: Claim) -> bool:
    """Does ``build_request`` take more than a few milliseconds? Then it is for a thread.

    With many names it takes long to compile the body, with a large body to encode and sign it.
    """
    template = claim.webhook.body_template if claim.webhook is not None else None
    if template is None:
        return False
    names = template.count("{{")
    return names > _MANY_NAMES or len(template) + names * len(claim.job_name) * _MOST_ESCAPED > _LARGE_BODY


def _items(mapping: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(mapping.items()) if mapping else ()


@lru_cache(maxsize=1024)
def _envelope(
    url: str,
    query_params: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    content_type: str | None,
    version: str,
    *,
    replaces_names: bool,
) -> _Envelope:
    """``content_type`` is ``None`` for a request without a body."""
    chosen = {name: value for name, value in headers if name.lower() not in _SET_FOR_EACH_ATTEMPT}
    set_by_user = {name.lower(): value for name, value in chosen.items()}
    ours = {"User-Agent": f"scheduler/{version}", "Accept": "*/*"}
    if content_type is not None:
        ours["Content-Type"] = content_type
    defaults = {name: value for name, value in ours.items() if name.lower() not in set_by_user}
    sent_type = set_by_user.get("content-type", content_type or "")
    named = {
        name: compiled(value, Context.HEADER) for name, value in chosen.items() if replaces_names and "{{" in value
    }
    return _Envelope(
        url=_full_url(url, query_params, _compile if replaces_names else _keep),
        headers={**defaults, **chosen, "Accept-Encoding": "identity"},
        named_headers=tuple(named.items()),
        body_context=body_context(sent_type),
    )


_Compile = Callable[[str, Context], Template]


def _compile(text: str, context: Context) -> Template:
    return compiled(text, context) if "{{" in text else _keep(text, context)


def _keep(text: str, context: Context) -> Template:
    return unchanged(context.literal(text))


def _full_url(url: str, query_params: tuple[tuple[str, str], ...], compile_in: _Compile) -> Template:
    target, rest = split_url(url)
    path, _, query = rest.partition("#")[0].partition("?")
    pairs = [
        joined((compile_in(name, Context.PARAMETER), unchanged("="), compile_in(value, Context.PARAMETER)))
        for name, value in query_params
    ]
    parts = [unchanged(f"{target.scheme}://{target.authority}"), compile_in(path or "/", Context.PATH)]
    for number, pair in enumerate([compile_in(query, Context.QUERY), *pairs] if query else pairs):
        parts += (unchanged("&" if number else "?"), pair)
    return joined(parts)


def _values(claim: Claim, scheduled_at: str, fired_at: str) -> dict[str, Value]:
    execution = claim.execution
    return {
        "job.id": execution.job_id,
        "job.name": claim.job_name,
        "account.id": execution.account_id,
        "webhook.id": execution.webhook_id,
        "execution.id": execution.id,
        "run.id": execution.run_id,
        "attempt": execution.attempt,
        "scheduled_at": scheduled_at,
        "fired_at": fired_at,
        "trigger": execution.trigger.value,
    }


def _headers(envelope: _Envelope, values: Mapping[str, Value]) -> dict[str, str]:
    headers = envelope.headers.copy()
    room = SENT_HEADERS_LIMIT
    for name, template in envelope.named_headers:
        headers[name] = template.render(values, field="headers", limit=room)
        room -= len(headers[name])
    return headers


def _body(template: str | None, context: Context, values: Mapping[str, Value]) -> bytes | None:
    if not template:
        return None
    if "{{" not in template:
        return template.encode()
    return compiled(template, context).render(values).encode()


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
