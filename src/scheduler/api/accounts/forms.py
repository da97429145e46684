"""Makes API keys of checked forms."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from scheduler.domain.accounts.api_key import KEY_MARK, ApiKey, key_text, ordered_scopes
from scheduler.domain.clock import Instant
from scheduler.domain.errors import invalid
from scheduler.store.ids import new_id

_SECRET_BYTES = 32
_PREFIX_BYTES = 6


def draft_key(form: Mapping[str, Any], *, created_by: str, now: Instant) -> tuple[ApiKey, str]:
    """A new key without its account, and its text, which is not stored.

    Raises the ``VALIDATION_ERROR`` of ``expires_at`` when that is not in the future.
    """
    expires_at = form.get("expires_at")
    if expires_at is not None and expires_at <= now:
        raise invalid("expires_at", "must lie in the future, or be null for a key that does not expire")
    prefix = KEY_MARK + secrets.token_hex(_PREFIX_BYTES)
    key = ApiKey(
        id=new_id(now),
        account_id="",
        prefix=prefix,
        name=form["name"],
        scopes=ordered_scopes(form["scopes"]),
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
    )
    return key, key_text(prefix, secrets.token_urlsafe(_SECRET_BYTES))
