"""What requests say about accounts, their members and keys, and what answers show of them."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from scheduler.api.http.answers import Answer, PageAnswer, instant, text, uuid_text, word
from scheduler.api.http.fields import Body, Choice, Id, Items, Name, Time
from scheduler.api.http.queries import Paging
from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.api_key import Scope, is_principal_of_key
from scheduler.domain.accounts.audit import SERVICE

_ROLES = tuple(role.value for role in Role)
_SCOPES = tuple(scope.value for scope in Scope)
_ID = {"format": "uuid"}
_INSTANT = {"format": "date-time"}


class AccountForm(Body):
    """The one thing about an account that its owner says."""

    name = Name(required=True, metadata={"example": "Accounting"})


class User(Name):
    """The ``sub`` claim of somebody's tokens."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        user = super()._deserialize(value, attr, data, **kwargs)
        if is_principal_of_key(user):
            raise ValidationError("is a key, not a user: a key is a member of its own account and of no other")
        if user == SERVICE:
            raise ValidationError("is what the service itself is called on record")
        return user


class ScopeWord(Choice):
    """One scope of a key."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_SCOPES, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Scope:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text not in _SCOPES:
            raise ValidationError(f"must be one of {', '.join(_SCOPES)}")
        return Scope(text)


class MemberChange(Body):
    role = Choice(_ROLES, required=True)


class MemberForm(MemberChange):
    user = User(required=True, metadata={"description": "The claim `sub` of their tokens.", "example": "bob"})


class KeyCreate(Body):
    name = Name(required=True, metadata={"example": "deploy pipeline"})
    scopes = Items(
        ScopeWord(),
        fewest=1,
        most=len(_SCOPES),
        required=True,
        metadata={"description": "Each includes those before it: read, write, admin.", "example": ["write"]},
    )
    account_id = Id(metadata={"description": "Where it acts; the oldest account you own when not given."})
    expires_at = Time(
        allow_none=True, metadata={"description": "From then on it does not count; null: never.", "example": None}
    )


class KeyList(Paging):
    account_id = Id()


class AccountDocument(Answer):
    id = uuid_text()
    name = text()
    role = word(tuple(role.value for role in Role), metadata={"description": "What you are in it."})
    created_at = instant()
    updated_at = instant()


class MemberDocument(Answer):
    user = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(_ROLES))
    created_at = fields.String(required=True, metadata=_INSTANT)


class KeyDocument(Answer):
    """A key, as much of it as may be known."""

    id = fields.String(required=True, metadata=_ID)
    account_id = fields.String(required=True, metadata=_ID)
    name = fields.String(required=True)
    prefix = fields.String(required=True, metadata={"description": "What the key begins with."})
    scopes = fields.List(fields.String(validate=validate.OneOf(_SCOPES)), required=True)
    created_by = fields.String(required=True)
    created_at = fields.String(required=True, metadata=_INSTANT)
    last_used_at = fields.String(required=True, allow_none=True, metadata=_INSTANT)
    expires_at = fields.String(required=True, allow_none=True, metadata=_INSTANT)
    revoked_at = fields.String(required=True, allow_none=True, metadata=_INSTANT)


class KeyCreated(KeyDocument):
    """A new key, shown this once."""

    key = fields.String(required=True, metadata={"description": "Kept nowhere: whoever loses it makes another."})


class AccountPage(PageAnswer):
    items = fields.List(fields.Nested(AccountDocument), required=True)


class MemberPage(Answer):
    items = fields.List(fields.Nested(MemberDocument), required=True)
    total = fields.Integer(required=True, metadata={"minimum": 0})
    skip = fields.Integer(required=True, metadata={"minimum": 0})
    limit = fields.Integer(required=True, metadata={"minimum": 1})


class KeyPage(MemberPage):
    items = fields.List(fields.Nested(KeyDocument), required=True)
