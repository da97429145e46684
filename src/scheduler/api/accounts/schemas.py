"""The schemas of accounts, their members and API keys: bodies, query parameters and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError

from scheduler.api.http.answers import Answer, PageAnswer, instant, list_of, text, uuid_text, whole, word
from scheduler.api.http.fields import Body, Choice, Id, Items, Name, Time
from scheduler.api.http.queries import Paging, Query, QueryFlag
from scheduler.domain.accounts.account import MemberState, Role
from scheduler.domain.accounts.api_key import Scope, is_principal_of_key
from scheduler.domain.accounts.audit import SERVICE


class AccountForm(Body):
    """The fields of an account that its owner sets."""

    name = Name(required=True, metadata={"example": "Accounting"})


class User(Name):
    """The ``sub`` claim of a user's tokens."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        user = super()._deserialize(value, attr, data, **kwargs)
        if is_principal_of_key(user):
            raise ValidationError("is a key, not a user: a key is a member of its own account and of no other")
        if user == SERVICE:
            raise ValidationError("is the name of the service in the audit log")
        return user


class MemberChange(Body):
    role = Choice(Role, required=True)


class MemberForm(MemberChange):
    user = User(required=True, metadata={"description": "The claim `sub` of their tokens.", "example": "bob"})


class MemberRemoval(Query):
    """How a member is removed."""

    keep_keys = QueryFlag(
        load_default=False,
        metadata={"description": "Leave the API keys in force that the member made; for owners."},
    )


class KeyCreate(Body):
    name = Name(required=True, metadata={"example": "deploy pipeline"})
    scopes = Items(
        Choice(Scope),
        fewest=1,
        most=len(Scope),
        required=True,
        metadata={"description": "Each includes those before it: read, write, admin.", "example": ["write"]},
    )
    account_id = Id(
        metadata={"description": "The account it belongs to; the oldest one you made and own when not given."}
    )
    expires_at = Time(
        allow_none=True,
        metadata={"description": "It is refused from then on; null: it does not expire.", "example": None},
    )


class KeyList(Paging):
    account_id = Id()


class AccountDocument(Answer):
    id = uuid_text()
    name = text()
    role = word(Role, what="Your role in it.")
    created_at = instant()
    updated_at = instant()
    kept_bytes = whole(what="What its rows hold; `limits.bytes_per_account` is the budget.")


class MemberDocument(Answer):
    user = text()
    role = word(Role)
    state = word(MemberState, what="`invited` until the user accepts; the role counts from then on.")
    created_at = instant()


class InvitationDocument(Answer):
    """The offer to become a member of an account."""

    id = uuid_text()
    account_id = uuid_text()
    account_name = text()
    role = word(Role, what="The role that you would have in it.")
    invited_by = text(what="A user, or the API key of an owner.")
    created_at = instant()


class KeyDocument(Answer):
    """An API key without its secret."""

    id = uuid_text()
    account_id = uuid_text()
    name = text()
    prefix = text(what="What the key begins with.")
    scopes = list_of(word(Scope))
    created_by = text()
    created_at = instant()
    last_used_at = instant(null=True)
    expires_at = instant(null=True)
    revoked_at = instant(null=True)


class KeyCreated(KeyDocument):
    """A new API key; no other answer shows it."""

    key = text(what="Not stored: if it is lost, create another one.")


class AccountPage(PageAnswer):
    items = list_of(AccountDocument)


class MemberPage(PageAnswer):
    items = list_of(MemberDocument)


class InvitationPage(PageAnswer):
    items = list_of(InvitationDocument)


class KeyPage(PageAnswer):
    items = list_of(KeyDocument)
