"""Signs requests by Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hmac
from functools import lru_cache

from scheduler.domain.errors import invalid

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of ``webhook-signature``: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.

    ``secret`` is one that ``check_secret`` accepts; ``timestamp_s`` is whole seconds since the epoch, the value of
    ``webhook-timestamp``.
    """
    message = f"{message_id}.{timestamp_s}.".encode() + body
    digest = hmac.digest(_key_of(secret), message, "sha256")
    return "v1," + binascii.b2a_base64(digest, newline=False).decode("ascii")


def check_secret(text: str) -> None:
    """Check that ``text`` is ``whsec_`` and the base64 of 24 to 64 bytes.

    Raises the ``VALIDATION_ERROR`` of ``signing_secret``.
    """
    try:
        size = len(_key_of(text))
    except ValueError:
        size = 0
    if not _SHORTEST <= size <= _LONGEST:
        raise invalid(
            "signing_secret", f"must be {_PREFIX} followed by the base64 of {_SHORTEST} to {_LONGEST} random bytes"
        )


def new_secret(random_bytes: bytes) -> str:
    """Encode 24 to 64 bytes from a cryptographic source as a signing secret."""
    if not _SHORTEST <= len(random_bytes) <= _LONGEST:
        raise ValueError(f"a signing secret has {_SHORTEST} to {_LONGEST} bytes, not {len(random_bytes)}")
    return _PREFIX + base64.b64encode(random_bytes).decode("ascii")


@lru_cache(maxsize=1024)
def _key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises ``ValueError`` for anything but the prefix and canonical base64."""
    encoded = secret.removeprefix(_PREFIX)
    key = base64.b64decode(encoded, validate=True)
    if encoded == secret or base64.b64encode(key).decode("ascii") != encoded:
        raise ValueError("no signing secret")
    return key
