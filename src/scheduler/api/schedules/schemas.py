"""The schemas of schedules and upcoming runs: query parameters and answers."""

from __future__ import annotations

from marshmallow import fields

from scheduler.api.http.answers import Answer, flag, instant, list_of, text, uuid_text, whole, word
from scheduler.api.http.fields import Choice, DomainText, Id, Time
from scheduler.api.http.queries import Query, QueryWhole
from scheduler.domain.schedule.text import DAY_MATCHES, DST_POLICIES


class Preview(Query):
    schedule = DomainText(required=True, metadata={"format": "cron", "example": "0 2 * * *"})
    timezone = DomainText(metadata={"format": "iana-timezone", "example": "Europe/Paris"})
    dst_policy = Choice(DST_POLICIES, load_default=DST_POLICIES[0])
    day_match = Choice(DAY_MATCHES, load_default=DAY_MATCHES[0])
    anchor_at = Time(data_key="anchor", metadata={"description": "Where `@every` counts from; default now."})
    from_at = Time(data_key="from", metadata={"description": "Included; default now."})
    count = QueryWhole(1, 1000, load_default=10)


class Upcoming(Query):
    account_id = Id()
    hours = QueryWhole(1, 168, load_default=24)


class PreviewedRunDocument(Answer):
    at = instant()
    local = instant(what="The same instant in the schedule's zone.")
    transition = word(("gap", "overlap"), null=True)


class PreviewDocument(Answer):
    description = text(what="The schedule in plain English.")
    items = list_of(PreviewedRunDocument)


class UpcomingRunDocument(Answer):
    at = instant()
    job_id = uuid_text()
    name = text()


class MinuteDocument(Answer):
    minute = instant()
    count = whole(least=1)


class UpcomingDocument(Answer):
    since = instant(key="from")
    to = instant()
    total = whole(what="The sum of `per_minute`.")
    complete = flag(what="False when the schedules are too many, or take too long, to count all of their runs.")
    warnings = list_of(
        fields.String(),
        null=True,
        what="How many jobs are left out, and why: in a time zone, say, that the zone data lack. null: none.",
    )
    items = list_of(UpcomingRunDocument, what="The first 1,000, soonest first.")
    per_minute = list_of(MinuteDocument, what="Minutes in which something fires.")
