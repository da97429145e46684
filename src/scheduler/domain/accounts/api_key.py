"""API keys, the credentials of machines. A key belongs to one account, and has the rights of one role in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduler.domain.accounts.account import Role
from scheduler.domain.clock import Instant

KEY_MARK: Final = "sk_"
"""The beginning of every key. No JWT begins so: its header is base64 of a text that begins with ``{``."""

_KEY = re.compile(r"(sk_[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_PRINCIPAL = re.compile(r"key:sk_[0-9a-f]{12}", re.ASCII)


class Scope(StrEnum):
    """What a key may do in its account; each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


ROLE_OF_SCOPE: Final[Mapping[Scope, Role]] = {
    Scope.READ: Role.VIEWER,
    Scope.WRITE: Role.EDITOR,
    Scope.ADMIN: Role.OWNER,
}
"""The role of members who may do the same, in ascending order of scopes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """An API key. Its secret is known to its bearer only; stored is the digest of the whole key."""

    id: str
    account_id: str
    prefix: str
    """The first part of the key, unique and not secret."""
    name: str
    scopes: tuple[Scope, ...]
    """At least one, in ascending order."""
    created_by: str
    created_at: Instant
    last_used_at: Instant | None = None
    """To the minute."""
    expires_at: Instant | None = None
    """It is invalid from then on."""
    revoked_at: Instant | None = None

    @property
    def role(self) -> Role:
        """The role of the key as a member of its account: that of its widest scope."""
        return ROLE_OF_SCOPE[self.scopes[-1]]

    @property
    def principal(self) -> str:
        """The name of the actor when the key is used; no user may have it."""
        return f"key:{self.prefix}"

    def is_valid_at(self, now: Instant) -> bool:
        """Is the key neither revoked nor expired?"""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def key_text(prefix: str, secret: str) -> str:
    """The key as its bearer sends it. ``prefix`` is ``sk_`` and 12 hex digits, ``secret`` 32 bytes in base64url.

    Raises ``ValueError`` for anything else.
    """
    text = f"{prefix}_{secret}"
    if not _KEY.fullmatch(text):
        raise ValueError("no prefix and secret of a key")
    return text


def key_digest(text: str) -> str | None:
    """The SHA-256 of a key in hex, as it is stored; ``None`` when ``text`` is no key.

    One round and no salt are enough for a secret of 256 random bits.
    """
    return hashlib.sha256(text.encode()).hexdigest() if _KEY.fullmatch(text) else None


def is_principal_of_key(user: str) -> bool:
    """Is ``user`` the principal of a key? No user may have such a name."""
    return _PRINCIPAL.fullmatch(user) is not None


def ordered_scopes(given: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Each scope once, in ascending order."""
    return tuple(scope for scope in ROLE_OF_SCOPE if scope in given)
