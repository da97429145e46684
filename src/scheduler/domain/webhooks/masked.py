"""Refuses changes that would send the masked credentials of a webhook to another server, which could show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.webhooks.url import Target, parse_target
from scheduler.domain.webhooks.webhook import MASK, Webhook, is_credential


def check_masked_stay(webhook: Webhook, changes: Mapping[str, Any]) -> None:
    """Check that ``changes`` of the webhook take nothing that is masked to another scheme, host or port.

    With such a change of ``url`` each stored credential, and the key of ``tls``, must be written anew or dropped. The
    signing secret may stay: a signature does not reveal it. Raises the ``VALIDATION_ERROR`` of ``headers`` or ``tls``.
    """
    if "url" not in changes or not _is_elsewhere(webhook.url, changes["url"]):
        return
    if kept := _kept(webhook.headers or {}, changes):
        raise invalid(
            "headers",
            f"the stored value of {kept[0][:60]!a} stays with the scheme, host and port for which it was written: "
            "write the value itself for the new url, or leave the header out of headers (null drops all)",
        )
    tls = changes.get("tls", webhook.tls and webhook.tls.masked())
    if webhook.tls is not None and webhook.tls.key is not None and tls is not None and tls.key == MASK:
        raise invalid(
            "tls",
            "the stored key stays with the scheme, host and port for which it was written: write the key itself for "
            "the new url, or drop it (null drops all of tls)",
        )


def _is_elsewhere(old_url: str, new_url: str) -> bool:
    return _target(old_url) != parse_target(new_url)


def _target(url: str) -> Target | None:
    """The server of a stored URL; ``None`` for one that an older version accepted."""
    try:
        return parse_target(url)
    except SchedulerError:
        return None


def _kept(stored: Mapping[str, str], changes: Mapping[str, Any]) -> list[str]:
    """The stored credentials that would be sent on without having been written again."""
    if "headers" not in changes:
        return [name for name in stored if is_credential(name)]
    known = {name.lower() for name in stored}
    return [
        name
        for name, value in (changes["headers"] or {}).items()
        if value == MASK and is_credential(name) and name.lower() in known
    ]
