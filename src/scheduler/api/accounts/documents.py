"""Accounts, members and API keys as JSON documents."""

from __future__ import annotations

from scheduler.api.http.answers import Document, time_or_none
from scheduler.domain.accounts.account import Account, Invitation, Member
from scheduler.domain.accounts.api_key import ApiKey
from scheduler.domain.clock import format_instant


def account_document(account: Account) -> Document:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role.value,
        "created_at": format_instant(account.created_at),
        "updated_at": format_instant(account.updated_at),
        "kept_bytes": account.kept_bytes,
    }


def member_document(member: Member) -> Document:
    return {
        "user": member.user,
        "role": member.role.value,
        "state": member.state.value,
        "created_at": format_instant(member.created_at),
    }


def invitation_document(invitation: Invitation) -> Document:
    """An invitation as the invited user sees it."""
    return {
        "id": invitation.id,
        "account_id": invitation.account_id,
        "account_name": invitation.account_name,
        "role": invitation.role.value,
        "invited_by": invitation.invited_by,
        "created_at": format_instant(invitation.created_at),
    }


def key_document(key: ApiKey) -> Document:
    """An API key without its secret."""
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": [scope.value for scope in key.scopes],
        "created_by": key.created_by,
        "created_at": format_instant(key.created_at),
        "last_used_at": time_or_none(key.last_used_at),
        "expires_at": time_or_none(key.expires_at),
        "revoked_at": time_or_none(key.revoked_at),
    }
