"""Loaded by schemathesis: what valid texts of our own formats look like, so that it can send some with a meaning."""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from hypothesis import strategies as st

from scheduler.domain.clock import parse_instant

_EXAMPLES = {
    "cron": ["0 2 * * *", "*/5 * * * *", "*/10 * * * * *", "@daily", "@every 90s", "0 0 1 1 MON#1", "0 9 * * MON-FRI"],
    "iana-timezone": ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"],
    "http-url": [
        "https://example.com/hook",
        "http://example.org:8080/a?b=c#d",
        "https://b\u00fccher.example/",
        "https://a.example/{{ run.id }}",
    ],
    "body-template": ['{"at": "{{ scheduled_at }}"}', "{{{{ literal", "plain", ""],
    "signing-secret": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "generate"],
    "date-time": ["2070-01-01T00:00:00Z", "2071-12-31T23:59:59.999999+02:00", "2072-02-29t12:00:00.5z"],
}
for name, examples in _EXAMPLES.items():
    schemathesis.openapi.format(name, st.sampled_from(examples))


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Keep the rules that a schema cannot say: an end comes later, the past is past, and nothing changes its owner."""
    if not isinstance(body, dict):
        return body
    jobs = body.get("jobs", [body])
    for job in jobs if isinstance(jobs, list) else []:
        if isinstance(job, dict) and job.get("starts_at"):
            job.pop("ends_at", None)
    if _is_time(body.get("from")) and _is_time(body.get("to")):
        body |= {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:15:00Z"}
    if context.operation.method.upper() == "PUT":
        body.pop("account_id", None)
        body.pop("job_id", None)
    return body


_TLS = {"ca": (str, type(None)), "certificate": (str, type(None)), "key": (str, type(None)), "verify": (bool,)}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Keep other such rules: a certificate fits its key, a cursor is one that the list has given.

    Options and texts that the schema refuses stay as they are.
    """
    cursor = (case.query or {}).get("cursor")
    if isinstance(cursor, str) and re.fullmatch("[A-Za-z0-9_-]{1,1500}", cursor):
        del case.query["cursor"]
    jobs = case.body.get("jobs", [case.body]) if isinstance(case.body, dict) else []
    for job in jobs if isinstance(jobs, list) else []:
        for webhook in (job, job.get("webhook")) if isinstance(job, dict) else ():
            if not isinstance(webhook, dict):
                continue
            tls = webhook.get("tls")
            if isinstance(tls, dict) and all(isinstance(value, _TLS.get(name, ())) for name, value in tls.items()):
                webhook["tls"] = {"verify": True}


def _is_time(value: Any) -> bool:
    try:
        parse_instant(value)
    except (ValueError, TypeError):
        return False
    return True
