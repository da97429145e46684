"""The schemas of the audit: query parameters and answers."""

from __future__ import annotations

from marshmallow import fields

from scheduler.api.http.answers import Answer, PageAnswer, instant, list_of, text, uuid_text, whole, word
from scheduler.api.http.fields import Choice, Id, Text, Time
from scheduler.api.http.queries import Paging
from scheduler.domain.accounts.audit import Action

_SUBJECT_TYPES = tuple(dict.fromkeys(action.subject_type for action in Action))


class AuditList(Paging):
    account_id = Id()
    actor = Text(longest=255, metadata={"description": "A user, `key:` and the prefix of a key, or `scheduler`."})
    action = Choice(Action)
    subject_id = Text(longest=255, metadata={"description": "An id; of a member the user."})
    since_at = Time(data_key="since", metadata={"description": "Done at this time or later."})
    until_at = Time(data_key="until", metadata={"description": "Done before this time."})


class AuditDocument(Answer):
    """One audit entry. It has the names of the fields that changed, never their values."""

    id = uuid_text(what="Later entries have greater ids.")
    account_id = uuid_text(what="The account it belongs to.")
    at = instant(what="When it was done.")
    actor = text(what="A user, `key:` and the prefix of a key, or `scheduler`: the service itself.")
    action = word(Action)
    subject_type = word(_SUBJECT_TYPES)
    subject_id = text(what="An id; of a member the user; of dead letters their job's.")
    subject_name = text(null=True, what="Its name then; for webhooks and executions that of their job.")
    from_ = text(key="from", null=True, what="The client's address; null for the service itself.")
    request_id = text(null=True, what="The `X-Request-ID` of the request.")
    changes = list_of(fields.String(), what="The names of the fields that are different now.")
    count = whole(what="How many executions it was about; 1 for other things.")


class AuditPage(PageAnswer):
    items = list_of(AuditDocument)
