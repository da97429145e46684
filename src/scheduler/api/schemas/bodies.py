"""The JSON bodies of requests. ``…Create`` makes a thing; ``…Change`` is partial: what is absent stays as it is."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema

from scheduler.api.schemas.fields import (
    Body,
    Choice,
    Flag,
    Id,
    Items,
    JudgedText,
    Name,
    Number,
    Part,
    Text,
    TextMap,
    Time,
    Whole,
    integral,
    refuse,
)
from scheduler.domain.job import CATCHUPS, DELIVERIES, OVERLAPS
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.schedule import DAY_MATCHES, DST_POLICIES
from scheduler.domain.syntax import MAX_LINE, MAX_LINES
from scheduler.domain.target import LONGEST_URL
from scheduler.domain.webhook import METHODS, MOST_HEADERS, MOST_QUERY_PARAMS

MONTH_S = 30 * 86_400
DECADE_S = 3_650 * 86_400
INT32 = 2_147_483_647
MOST_AT_ONCE = 1_000
"""Jobs in one bulk request, ids in one selection."""

_MEDIA_TYPE = r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?: ?; ?[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+\"-]+)*"
_URL = {"format": "http-url", "maxLength": LONGEST_URL, "example": "https://example.com/hook"}
_RETRY_WORDS = ("network", "timeout", "1xx", "2xx", "3xx", "4xx", "5xx")


class AccountForm(Body):
    """The one thing about an account that its owner says."""

    name = Name(required=True, metadata={"example": "Accounting"})


class RetryCause(fields.Field[Any]):
    """What is worth another attempt: a kind of failure, a status code, or a class of them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str | int:
        value = integral(value)
        if isinstance(value, str) and value in _RETRY_WORDS:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return value
        raise ValidationError(f"must be a status code or one of {', '.join(_RETRY_WORDS)}")


class Retry(Body):
    """When and how often a failed attempt is repeated. Given as a whole: what is absent takes its default."""

    max_attempts = Whole(1, 100, metadata={"default": 3})
    backoff_seconds = Number(0, MONTH_S, metadata={"default": 60})
    backoff_type = Choice(("exponential", "linear", "fixed"), metadata={"default": "exponential"})
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
        RetryCause(
            metadata={
                "anyOf": [{"enum": list(_RETRY_WORDS)}, {"type": "integer", "minimum": 100, "maximum": 599}],
            }
        ),
        most=100,
        allow_none=True,
        metadata={"description": "Which failures are repeated; null: all but 410."},
    )

    @post_load
    def _policy(self, values: dict[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy.from_mapping(values)


class WebhookFields(Body):
    """What may be said about a webhook at any time."""

    url = JudgedText(metadata=_URL)
    method = Choice(METHODS, metadata={"description": "POST when it is not given."})
    headers = TextMap(
        most=MOST_HEADERS,
        names=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        texts=r"^[\t\x20-\x7e\xa0-\xff]*$",
        allow_none=True,
        metadata={
            "description": "At most 50. Values that look like credentials are shown as `***`; writing that keeps them.",
            "example": {"X-Team": "accounting"},
        },
    )
    query_params = TextMap(
        most=MOST_QUERY_PARAMS,
        names=r"^[^\x00]*$",
        texts=r"^[^\x00]*$",
        allow_none=True,
        metadata={"description": "Merged into the query of `url`."},
    )
    body_template = JudgedText(
        allow_none=True,
        metadata={
            "format": "body-template",
            "description": "The body that is sent, with `{{ name }}` replaced. Names: job.id job.name account.id "
            "webhook.id execution.id run.id attempt scheduled_at fired_at trigger. `{{{{` is a literal `{{`.",
            "example": '{"job": "{{ job.name }}", "at": "{{ scheduled_at }}"}',
        },
    )
    content_type = Text(
        longest=255,
        pattern=_MEDIA_TYPE,
        wanted="a media type such as application/json",
        metadata={"description": "`application/json` when it is not given."},
    )
    timeout_s = Number(0.1, 300, metadata={"description": "Total seconds for one attempt; 30 when it is not given."})
    signing_secret = JudgedText(
        allow_none=True,
        metadata={
            "format": "signing-secret",
            "description": "`whsec_` and 24 to 64 bytes in base64, or `generate` to have one made. The answer shows "
            "it once, later ones `***`; writing that keeps it. What is written replaces the old secret at once; "
            "`rotate-secret` lets both be valid for a while.",
        },
    )
    enabled = Flag(metadata={"description": "true when it is not given."})


class NestedWebhook(WebhookFields):
    """A webhook that is created together with its job."""

    url = JudgedText(required=True, metadata=_URL)


class WebhookCreate(NestedWebhook):
    job_id = Id(required=True)


class WebhookChange(WebhookFields):
    job_id = Id(metadata={"description": "May be given, but not changed."})


class SecretRotation(Body):
    """How long the signing secret stays valid that is rotated away."""

    body_optional = True
    overlap_s = Number(
        0,
        7 * 86_400,
        load_default=86_400,
        metadata={"description": "Seconds during which requests carry a signature by the old secret, too."},
    )


class JobChange(Body):
    """What may be said about a job at any time; defaults are those of creation."""

    account_id = Id(
        metadata={"description": "On creation: the oldest account you own when not given. Fixed afterwards."}
    )
    name = Name(metadata={"example": "nightly report"})
    schedule = JudgedText(
        metadata={
            "format": "cron",
            "minLength": 1,
            "maxLength": MAX_LINES * (MAX_LINE + 2),
            "description": "Five fields, six (seconds first), a macro, `@every 90s` or `@at 2026-12-24T18:00:00Z`; "
            "several lines are a union.",
            "example": "0 2 * * *",
        },
    )
    type = Whole(-INT32 - 1, INT32, metadata={"description": "Your own classification; 1 = webhook, the default."})
    timezone = JudgedText(
        metadata={"format": "iana-timezone", "description": "IANA name, default UTC.", "example": "Europe/Paris"},
    )
    enabled = Flag(metadata={"description": "Default true."})
    dst_policy = Choice(DST_POLICIES, metadata={"description": "Default debian."})
    day_match = Choice(
        DAY_MATCHES, metadata={"description": "Whether day-of-month or day-of-week is enough; default or."}
    )
    anchor_at = Time(data_key="anchor", metadata={"description": "Where `@every` counts from; default the creation."})
    starts_at = Time(
        allow_none=True, metadata={"description": "No run before (included).", "example": "2027-01-01T00:00:00Z"}
    )
    ends_at = Time(
        allow_none=True, metadata={"description": "No run from then on (excluded).", "example": "2099-01-01T00:00:00Z"}
    )
    max_runs = Whole(1, INT32, allow_none=True, metadata={"description": "The job is through after so many runs."})
    jitter_s = Number(0, MONTH_S, metadata={"description": "Random delay of each run, up to this; default 0."})
    spread_s = Number(0, MONTH_S, metadata={"description": "Stable delay of this job, up to this; default 0."})
    catchup = Choice(CATCHUPS, metadata={"description": "What to do about missed runs; default latest."})
    catchup_window_s = Number(0, DECADE_S, metadata={"description": "Default 86400."})
    catchup_limit = Whole(1, 1000, metadata={"description": "Default 100."})
    overlap = Choice(OVERLAPS, metadata={"description": "When the previous run is still active; default allow."})
    retry = Part(Retry)
    delivery = Choice(
        DELIVERIES, metadata={"description": "After a crash in the middle of one; default at_least_once."}
    )
    auto_disable = Flag(metadata={"description": "Default true."})
    note = Text(longest=2000, lines=True, allow_none=True, metadata={"description": "Why it is paused, and by whom."})
    tags = Items(Text(shortest=1, longest=100), most=50, metadata={"description": "Default none."})


class JobCreate(JobChange):
    """A job, and perhaps its first webhook."""

    name = Name(required=True, metadata={"example": "nightly report"})
    schedule = JudgedText(required=True, metadata=JobChange._declared_fields["schedule"].metadata)
    webhook = Part(NestedWebhook)


class JobBulk(Body):
    """Many jobs at once, all or none."""

    jobs = Items(Part(JobCreate), fewest=1, most=MOST_AT_ONCE, required=True)


class Pause(Body):
    """Why a job is paused or goes on."""

    body_optional = True
    note = Text(longest=2000, lines=True, allow_none=True)


class Trigger(Body):
    """How a run that a person starts goes about an active one."""

    body_optional = True
    overlap = Choice(OVERLAPS, load_default="allow", metadata={"description": "Instead of the job's own policy."})


class Empty(Body):
    """An operation that needs no body; one that is sent must be an empty object."""

    body_optional = True


class SelectionFilter(Body):
    account_id = Id()
    job_id = Id()
    error = Text(shortest=1, longest=500, metadata={"description": "A part of the error text."})
    since_at = Time(data_key="since")
    until_at = Time(data_key="until")


class SelectionForm(Body):
    """Dead letters, by ids or by a filter; exactly one of the two."""

    one_of = ("ids", "filter")

    ids = Items(Id(), fewest=1, most=MOST_AT_ONCE)
    filter = Part(SelectionFilter, metadata={"description": "Every field narrows; `{}` selects all of yours."})
    dry_run = Flag(load_default=False, metadata={"description": "Only count."})

    @validates_schema
    def _one_way(self, values: dict[str, Any], **_: Any) -> None:
        if sum(name in values for name in self.one_of) != 1:
            refuse("ids", "give either ids or filter")
