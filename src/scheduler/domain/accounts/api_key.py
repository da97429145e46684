"""API keys: how a machine says who it is. A key belongs to one account and is a member of it, of a kind of its own."""

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
"""What every key begins with, and no JWT, whose header is base64 of ``{``."""

_KEY = re.compile(r"(sk_[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_PRINCIPAL = re.compile(r"key:sk_[0-9a-f]{12}", re.ASCII)


class Scope(StrEnum):
    """What a key may do in its account; each one includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


ROLES: Final[Mapping[Scope, Role]] = {Scope.READ: Role.VIEWER, Scope.WRITE: Role.EDITOR, Scope.ADMIN: Role.OWNER}
"""The role of a member who may do the same; in ascending order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key without its secret, which nobody but its bearer has."""

    id: str
    account_id: str
    prefix: str
    """The beginning of the key, unique and not secret."""
    name: str
    scopes: tuple[Scope, ...]
    """One at least, in ascending order."""
    created_by: str
    created_at: Instant
    last_used_at: Instant | None = None
    """To the minute."""
    expires_at: Instant | None = None
    """From then on it does not count."""
    revoked_at: Instant | None = None

    @property
    def role(self) -> Role:
        """The role of the key as a member of its account: that of its widest scope."""
        return ROLES[self.scopes[-1]]

    @property
    def principal(self) -> str:
        """Who acts when the key is used; no user is called so."""
        return f"key:{self.prefix}"

    def counts_at(self, now: Instant) -> bool:
        """Is it neither revoked nor expired?"""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def key_text(prefix: str, secret: str) -> str:
    """The key as its bearer sends it: ``prefix`` is ``sk_`` and 12 hex digits, ``secret`` 32 bytes in base64url."""
    text = f"{prefix}_{secret}"
    if not _KEY.fullmatch(text):
        raise ValueError("no prefix and secret of a key")
    return text


def key_digest(text: str) -> str | None:
    """What is kept of a key: SHA-256 in hex, enough for a secret of 256 random bits. ``None`` for what is no key."""
    return hashlib.sha256(text.encode()).hexdigest() if _KEY.fullmatch(text) else None


def is_principal_of_key(user: str) -> bool:
    """Is this the name that a key acts under? Then no user may have it."""
    return _PRINCIPAL.fullmatch(user) is not None


def ordered_scopes(given: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Each scope once, in ascending order."""
    return tuple(scope for scope in ROLES if scope in given)
