"""What may be asked of schedules and the hours to come, and what answers show."""

from __future__ import annotations

from marshmallow import fields, validate

from scheduler.api.http.answers import Answer
from scheduler.api.http.fields import Choice, Id, JudgedText, Time
from scheduler.api.http.queries import Query, QueryWhole
from scheduler.domain.schedule.schedule import DAY_MATCHES, DST_POLICIES

_INSTANT = {"format": "date-time"}


class Preview(Query):
    schedule = JudgedText(required=True, metadata={"format": "cron", "example": "0 2 * * *"})
    timezone = JudgedText(metadata={"format": "iana-timezone", "example": "Europe/Paris"})
    dst_policy = Choice(DST_POLICIES, load_default="debian")
    day_match = Choice(DAY_MATCHES, load_default="or")
    anchor_at = Time(data_key="anchor", metadata={"description": "Where `@every` counts from; default `from`."})
    from_at = Time(data_key="from", metadata={"description": "Included; default now."})
    count = QueryWhole(1, 1000, load_default=10)


class Upcoming(Query):
    account_id = Id()
    hours = QueryWhole(1, 168, load_default=24)


class PreviewedRunDocument(Answer):
    at = fields.String(required=True, metadata=_INSTANT)
    local = fields.String(
        required=True, metadata={**_INSTANT, "description": "The same instant in the schedule's zone."}
    )
    transition = fields.String(required=True, allow_none=True, validate=validate.OneOf(("gap", "overlap", None)))


class PreviewDocument(Answer):
    description = fields.String(required=True, metadata={"description": "The schedule in plain English."})
    items = fields.List(fields.Nested(PreviewedRunDocument), required=True)


class UpcomingRunDocument(Answer):
    at = fields.String(required=True, metadata=_INSTANT)
    job_id = fields.String(required=True, metadata={"format": "uuid"})
    name = fields.String(required=True)


class MinuteDocument(Answer):
    minute = fields.String(required=True, metadata=_INSTANT)
    count = fields.Integer(required=True, metadata={"minimum": 1})


class UpcomingDocument(Answer):
    since = fields.String(required=True, data_key="from", metadata=_INSTANT)
    to = fields.String(required=True, metadata=_INSTANT)
    total = fields.Integer(required=True, metadata={"minimum": 0, "description": "The sum of `per_minute`."})
    complete = fields.Boolean(
        required=True,
        metadata={"description": "False when there are too many different schedules to count all of them."},
    )
    items = fields.List(
        fields.Nested(UpcomingRunDocument), required=True, metadata={"description": "The first 1,000, soonest first."}
    )
    per_minute = fields.List(
        fields.Nested(MinuteDocument), required=True, metadata={"description": "Minutes in which something fires."}
    )
