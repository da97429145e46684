"""Accounts own jobs, and have users as members. Of a user only the ``sub`` claim of a token is stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.clock import Instant


class Role(StrEnum):
    """What a member may do in an account."""

    OWNER = "owner"
    """Everything, the account, its members and its keys included."""
    EDITOR = "editor"
    """Changes jobs, webhooks, executions and dead letters."""
    VIEWER = "viewer"
    """Reads."""


class MemberState(StrEnum):
    """Is a user a member, or only invited?"""

    ACTIVE = "active"
    INVITED = "invited"
    """Nothing is permitted until the user accepts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A user in an account, or one who is invited."""

    user: str
    role: Role
    created_at: Instant
    state: MemberState = MemberState.ACTIVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """The offer to ``user`` to become a member; ``invited_by`` is a user or the principal of a key."""

    id: str
    account_id: str
    account_name: str
    user: str
    role: Role
    invited_by: str
    created_at: Instant


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account as one of its members sees it; ``role`` is that member's."""

    id: str
    name: str
    role: Role
    created_at: Instant
    updated_at: Instant
    kept_bytes: int = 0
    """What its rows hold, up to the last few seconds."""
