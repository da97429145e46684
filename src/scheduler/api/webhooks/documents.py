"""Webhooks as JSON documents."""

from __future__ import annotations

from scheduler.api.http.answers import Document, shortest_number, time_or_none
from scheduler.domain.clock import format_instant
from scheduler.domain.webhooks.webhook import MASK, Webhook, mask_headers


def webhook_document(webhook: Webhook, *, reveal: bool = False) -> Document:
    """A webhook with its secrets masked; ``reveal`` shows the signing secret, in the answer that set it."""
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
        "timeout_s": shortest_number(webhook.timeout_s),
        "success": webhook.success and webhook.success.to_mapping(),
        "follow_redirects": webhook.follow_redirects,
        "tls": webhook.tls and webhook.tls.masked().to_mapping(),
        "signing_secret": secret if reveal or secret is None else MASK,
        "former_secrets_until": time_or_none(max((one.until_at for one in webhook.former_secrets), default=None)),
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason,
        "created_at": format_instant(webhook.created_at),
        "updated_at": format_instant(webhook.updated_at),
    }
