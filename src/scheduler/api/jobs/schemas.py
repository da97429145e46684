"""The schemas of jobs: bodies, query parameters and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load

from scheduler.api.http.answers import (
    Answer,
    PageAnswer,
    flag,
    instant,
    list_of,
    number,
    part,
    text,
    uuid_text,
    whole,
    word,
)
from scheduler.api.http.fields import (
    Body,
    Choice,
    DomainText,
    Flag,
    Id,
    Items,
    Name,
    Number,
    Part,
    StatusOrWord,
    Text,
    Time,
    Whole,
)
from scheduler.api.http.queries import Paging, QueryFlag
from scheduler.domain.jobs.job import CATCHUPS, DELIVERIES, OVERLAPS
from scheduler.domain.jobs.retry import BACKOFF_TYPES, RetryPolicy
from scheduler.domain.schedule.text import DAY_MATCHES, DST_POLICIES, MAX_LINE, MAX_LINES
from scheduler.domain.statuses import MOST_STATUSES, STATUS_CLASSES
from scheduler.store.jobs.job_filter import JobState


class JobList(Paging):
    account_id = Id()
    enabled = QueryFlag()
    state = Choice(
        JobState,
        metadata={
            "description": "`ended`: no time is left within its bounds; `failing`: runs have gone to the dead letter "
            "since the last success, in any of the other states."
        },
    )
    name = Text(shortest=1, longest=100, metadata={"description": "A part of the name, in any case."})
    tag = Text(shortest=1, longest=100)
    host = Text(shortest=1, longest=253, metadata={"description": "The host that one of its webhooks calls."})


MONTH_S = 30 * 86_400
DECADE_S = 3_650 * 86_400
INT32 = 2_147_483_647


class Retry(Body):
    """When and how often a failed attempt is repeated. Given as a whole: what is absent takes its default."""

    max_attempts = Whole(1, 100, metadata={"default": 3})
    backoff_seconds = Number(0, MONTH_S, metadata={"default": 60})
    backoff_type = Choice(BACKOFF_TYPES, metadata={"default": "exponential"})
    delays = Items(
        Number(0, MONTH_S),
        fewest=1,
        most=100,
        allow_none=True,
        metadata={"description": "Seconds to wait after each attempt, instead of the backoff; the last one repeats."},
    )
    max_backoff_seconds = Number(0, MONTH_S, metadata={"default": 3600})
    max_age_seconds = Number(0, MONTH_S, metadata={"default": 86_400})
    jitter = Number(0, 1, metadata={"default": 0.1, "description": "Adds up to this share to each wait."})
    retry_on = Items(
        StatusOrWord(100, ("network", "timeout", *STATUS_CLASSES)),
        most=MOST_STATUSES,
        allow_none=True,
        metadata={"description": "Which failures are repeated; null: all but 410."},
    )

    @post_load
    def _policy(self, values: dict[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy.from_mapping(values)


class JobChange(Body):
    """The fields of a job that may be set at any time; defaults are those of creation."""

    account_id = Id(
        metadata={"description": "On creation: the oldest account you made and own when not given. Fixed afterwards."}
    )
    name = Name(metadata={"example": "nightly report"})
    schedule = DomainText(
        metadata={
            "format": "cron",
            "minLength": 1,
            "maxLength": MAX_LINES * (MAX_LINE + 2),
            "description": "Five fields, six (seconds first), a macro, `@every 90s`, `@at 2026-12-24T18:00:00Z` or "
            "`@in 10m` (stored as the `@at` that it means); several lines are a union.",
            "example": "0 2 * * *",
        },
    )
    type = Whole(-INT32 - 1, INT32, metadata={"description": "Your own classification; 1 = webhook, the default."})
    timezone = DomainText(
        metadata={"format": "iana-timezone", "description": "IANA name, default UTC.", "example": "Europe/Paris"},
    )
    enabled = Flag(metadata={"description": "Default true."})
    dst_policy = Choice(
        DST_POLICIES,
        metadata={"description": "What happens in the hour that daylight saving skips or repeats; default debian."},
    )
    day_match = Choice(
        DAY_MATCHES,
        metadata={"description": "Whether one of day-of-month and day-of-week has to match, or both; default or."},
    )
    anchor_at = Time(
        data_key="anchor", metadata={"description": "Where `@every` counts from; default `starts_at`, or the creation."}
    )
    starts_at = Time(
        allow_none=True, metadata={"description": "No run before (included).", "example": "2027-01-01T00:00:00Z"}
    )
    ends_at = Time(
        allow_none=True, metadata={"description": "No run from then on (excluded).", "example": "2099-01-01T00:00:00Z"}
    )
    max_runs = Whole(1, INT32, allow_none=True, metadata={"description": "The job ends after so many scheduled runs."})
    jitter_s = Number(0, MONTH_S, metadata={"description": "Random delay of each run, up to this; default 0."})
    spread_s = Number(0, MONTH_S, metadata={"description": "Stable delay of this job, up to this; default 0."})
    catchup = Choice(CATCHUPS, metadata={"description": "What to do about missed runs; default latest."})
    catchup_window_s = Number(
        0, DECADE_S, metadata={"description": "How old a missed time may be to be run, in seconds; default 86400."}
    )
    catchup_limit = Whole(
        1, 1000, metadata={"description": "With catchup all: how many missed times are run, the newest; default 100."}
    )
    overlap = Choice(
        OVERLAPS, metadata={"description": "What to do when the previous run is still active; default allow."}
    )
    retry = Part(Retry)
    delivery = Choice(
        DELIVERIES,
        metadata={"description": "Whether an attempt that a crash interrupted is repeated; default at_least_once."},
    )
    auto_disable = Flag(
        metadata={
            "description": "Whether the service disables a webhook that answered 410, and the job when all of its runs "
            "fail for days; default true."
        }
    )
    note = Text(longest=2000, lines=True, allow_none=True, metadata={"description": "Why it is paused, and by whom."})
    tags = Items(Text(shortest=1, longest=100), most=50, metadata={"description": "Your own labels; default none."})


class Pause(Body):
    """The note of a job that is paused or resumed."""

    body_optional = True
    note = Text(longest=2000, lines=True, allow_none=True)


class RetryDocument(Answer):
    max_attempts = whole(least=1)
    backoff_seconds = number()
    backoff_type = text()
    delays = list_of(fields.Float(), null=True)
    max_backoff_seconds = number()
    max_age_seconds = number()
    jitter = number()
    retry_on = list_of(fields.Raw(metadata={"type": ["string", "integer"]}), null=True)


class JobSummary(Answer):
    """A job in a list."""

    id = uuid_text()
    account_id = uuid_text()
    name = text()
    schedule = text()
    type = whole(least=None)
    timezone = text()
    enabled = flag()
    dst_policy = word(DST_POLICIES)
    day_match = word(DAY_MATCHES)
    anchor = instant()
    starts_at = instant(null=True)
    ends_at = instant(null=True)
    max_runs = whole(null=True)
    jitter_s = number()
    spread_s = number()
    catchup = word(CATCHUPS)
    catchup_window_s = number()
    catchup_limit = whole()
    overlap = word(OVERLAPS)
    retry = part(RetryDocument)
    delivery = word(DELIVERIES)
    auto_disable = flag()
    note = text(null=True)
    tags = list_of(fields.String())
    disabled_reason = text(null=True, what="Why the service itself disabled it.")
    warnings = list_of(
        fields.String(),
        null=True,
        what="What keeps it from running, as it is stored: a time zone, say, that the zone data lack. null: nothing.",
    )
    last_run_at = instant(null=True)
    next_run_at = instant(null=True, what="null while it is disabled; `warnings` says why an enabled job has none.")
    created_at = instant()
    updated_at = instant()


class JobDocument(JobSummary):
    """A job that is read by itself."""

    description = text(what="The schedule in plain English.")
    next_runs = list_of(instant(), what="Up to five; empty while it is disabled.")


class JobPage(PageAnswer):
    items = list_of(JobSummary)
