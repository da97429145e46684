"""Makes webhooks from forms, with the checks of the domain and of the egress rules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.errors import invalid
from scheduler.domain.webhooks.contexts import Context, body_context
from scheduler.domain.webhooks.masked import check_masked_stay
from scheduler.domain.webhooks.signing import check_secret, new_secret
from scheduler.domain.webhooks.success import check_success
from scheduler.domain.webhooks.template import check_template, escaped
from scheduler.domain.webhooks.webhook import MASK, Webhook, check_headers, check_query_params, unmask_headers
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.tls import TlsContexts
from scheduler.store.ids import new_id

Form = Mapping[str, Any]
GENERATE = "generate"
"""The value of ``signing_secret`` for which the service generates one."""
_SECRET_BYTES = 32


def new_webhook(form: Form, *, job_id: str, egress: Egress, tls: TlsContexts, now: Instant) -> Webhook:
    """A new webhook with the fields of the form."""
    fields = {**_with_generated_secret(form), "job_id": job_id}
    if fields.get("headers") is not None:
        fields["headers"] = unmask_headers(fields["headers"], None)
    if fields.get("tls") is not None:
        fields["tls"] = fields["tls"].unmasked(None)
    webhook = Webhook(**fields, id=new_id(now), created_at=now, updated_at=now)
    _check(fields, webhook, egress, tls)
    return webhook


def change_webhook(webhook: Webhook, form: Form, *, egress: Egress, tls: TlsContexts, now: Instant) -> Webhook:
    """The webhook with the fields of the form; where a secret is masked, the stored one stays.

    Not where the URL leads to another scheme, host or port: headers that are masked must be written anew then.
    """
    fields = _with_generated_secret(form)
    if not webhook.replaces_names:
        fields |= _written_back(webhook, fields)
        webhook = webhook.with_names()
    if fields.get("job_id", webhook.job_id) != webhook.job_id:
        raise invalid("job_id", "a webhook stays with its job")
    if fields.get("signing_secret") == MASK and webhook.signing_secret is not None:
        del fields["signing_secret"]
    check_masked_stay(webhook, fields)
    if fields.get("headers") is not None:
        fields["headers"] = unmask_headers(fields["headers"], webhook.headers)
    if fields.get("tls") is not None:
        fields["tls"] = fields["tls"].unmasked(webhook.tls)
    changed = replace(webhook, **fields, updated_at=now)
    _check(fields, changed, egress, tls)
    if "signing_secret" in fields:
        changed = changed.with_secret(changed.signing_secret)
    return replace(changed, disabled_by=None, disabled_reason=None) if changed.enabled else changed


def rotate_secret(webhook: Webhook, *, overlap_s: float, now: Instant) -> Webhook:
    """The webhook with a new signing secret; the one before it stays valid for ``overlap_s``."""
    return webhook.rotated(generate_secret(), now, until_at=now + seconds(overlap_s))


def sets_secret(form: Form) -> bool:
    """Does the form set the signing secret? Then the answer shows it."""
    return form.get("signing_secret") not in (None, MASK)


def generate_secret() -> str:
    return new_secret(os.urandom(_SECRET_BYTES))


def _with_generated_secret(form: Form) -> dict[str, Any]:
    if form.get("signing_secret") == GENERATE:
        return {**form, "signing_secret": generate_secret()}
    return dict(form)


def _written_back(webhook: Webhook, fields: Form) -> dict[str, Any]:
    """The fields of the form that have the stored value, escaped so that it is still sent as it is."""
    kept: dict[str, Any] = {}
    if fields.get("url") == webhook.url:
        kept["url"] = escaped(webhook.url)
    for field, stored in (("headers", webhook.headers), ("query_params", webhook.query_params)):
        if fields.get(field):
            old = stored or {}
            kept[field] = {
                name: escaped(value) if old.get(name) == value else value for name, value in fields[field].items()
            }
    return kept


def _check(fields: Form, webhook: Webhook, egress: Egress, tls: TlsContexts) -> None:
    """Check the fields that are given; the others were checked when they were stored."""
    if "url" in fields:
        egress.check_url(fields["url"])
        check_template(fields["url"], "url", context=Context.QUERY)
    if fields.get("headers") is not None:
        check_headers(fields["headers"])
    if fields.get("query_params") is not None:
        check_query_params(fields["query_params"])
    if fields.get("body_template") is not None:
        check_template(fields["body_template"], context=body_context(webhook.sent_type))
    if fields.get("signing_secret") is not None:
        check_secret(fields["signing_secret"])
    if fields.get("success") is not None:
        check_success(fields["success"])
    if fields.get("tls") is not None:
        tls.check(fields["tls"])
