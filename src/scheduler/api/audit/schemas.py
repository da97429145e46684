"""What may be asked of the audit, and what it answers."""

from __future__ import annotations

from marshmallow import fields, validate

from scheduler.api.http.answers import Answer
from scheduler.api.http.fields import Choice, Id, Text, Time
from scheduler.api.http.queries import Paging
from scheduler.domain.accounts.audit import Action

_ACTIONS = tuple(action.value for action in Action)
_SUBJECT_TYPES = tuple(dict.fromkeys(action.subject_type for action in Action))


class AuditList(Paging):
    account_id = Id()
    actor = Text(longest=255, metadata={"description": "A user, `key:` and the prefix of a key, or `scheduler`."})
    action = Choice(_ACTIONS)
    subject_id = Text(longest=255, metadata={"description": "An id; of a member the user."})
    since_at = Time(data_key="since", metadata={"description": "Done at this time or later."})
    until_at = Time(data_key="until", metadata={"description": "Done before this time."})


def _text(*, null: bool = False, what: str, **about: str) -> fields.String:
    return fields.String(required=True, allow_none=null, metadata={"description": what, **about})


class AuditDocument(Answer):
    """One deed. It tells the names of what changed, never the values."""

    id = _text(what="Ids grow with time.", format="uuid")
    account_id = _text(what="Whose it is.", format="uuid")
    at = _text(what="When.", format="date-time")
    actor = _text(what="A user, `key:` and the prefix of a key, or `scheduler`: the service itself.")
    action = fields.String(required=True, validate=validate.OneOf(_ACTIONS))
    subject_type = fields.String(required=True, validate=validate.OneOf(_SUBJECT_TYPES))
    subject_id = _text(what="An id; of a member the user; of dead letters their job's.")
    subject_name = _text(null=True, what="Its name then; for webhooks and executions that of their job.")
    from_ = fields.String(
        data_key="from",
        required=True,
        allow_none=True,
        metadata={"description": "The client's address; null for the service itself."},
    )
    request_id = _text(null=True, what="The `X-Request-ID` of the request.")
    changes = fields.List(
        fields.String(), required=True, metadata={"description": "The names of the fields that are different now."}
    )
    count = fields.Integer(
        required=True, metadata={"minimum": 0, "description": "How many executions it was about; 1 for other things."}
    )


class AuditPage(Answer):
    items = fields.List(fields.Nested(AuditDocument), required=True)
    total = fields.Integer(required=True, metadata={"minimum": 0})
    skip = fields.Integer(required=True, metadata={"minimum": 0})
    limit = fields.Integer(required=True, metadata={"minimum": 1})
