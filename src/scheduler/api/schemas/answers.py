"""What answers look like, for the document. ``documents.py`` writes them by hand; a test holds the two together."""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from scheduler.api.schemas.queries import STATUSES
from scheduler.domain.account import Role
from scheduler.domain.execution import Trigger
from scheduler.domain.job import CATCHUPS, DELIVERIES, OVERLAPS
from scheduler.domain.schedule import DAY_MATCHES, DST_POLICIES
from scheduler.domain.webhook import METHODS


class Answer(Schema):
    """An answer may gain fields in later versions; a client ignores what it does not know."""

    class Meta:
        unknown = INCLUDE


def _word(words: tuple[str, ...], **options: Any) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words), **options)


def _text(*, null: bool = False, what: str = "") -> fields.String:
    return fields.String(required=True, allow_none=null, metadata={"description": what} if what else {})


def _id(*, null: bool = False) -> fields.String:
    return fields.String(required=True, allow_none=null, metadata={"format": "uuid"})


def _time(*, null: bool = False, what: str = "") -> fields.String:
    about = {"description": what} if what else {}
    return fields.String(required=True, allow_none=null, metadata={"format": "date-time", **about})


def _whole(*, null: bool = False, least: int | None = 0) -> fields.Integer:
    bound = {} if least is None else {"minimum": least}
    return fields.Integer(required=True, allow_none=null, metadata=bound)


def _number() -> fields.Float:
    return fields.Float(required=True)


def _flag() -> fields.Boolean:
    return fields.Boolean(required=True)


def _texts(*, null: bool = False) -> fields.Dict:
    return fields.Dict(keys=fields.String(), values=fields.String(), required=True, allow_none=null)


class ErrorDocument(Answer):
    """Why a request was refused."""

    detail = _text(what="What is wrong, for a person.")
    error_code = _text(what="What is wrong, for a program.")
    status_code = _whole(least=400)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "With validation errors: each field by its path, such as `jobs.3.schedule`."},
    )


class AccountDocument(Answer):
    id = _id()
    name = _text()
    role = _word(tuple(role.value for role in Role), metadata={"description": "What you are in it."})
    created_at = _time()
    updated_at = _time()


class RetryDocument(Answer):
    max_attempts = _whole(least=1)
    backoff_seconds = _number()
    backoff_type = _text()
    delays = fields.List(fields.Float(), required=True, allow_none=True)
    max_backoff_seconds = _number()
    max_age_seconds = _number()
    jitter = _number()
    retry_on = fields.List(fields.Raw(), required=True, allow_none=True)


class JobSummary(Answer):
    """A job as lists show it."""

    id = _id()
    account_id = _id()
    name = _text()
    schedule = _text()
    type = _whole(least=None)
    timezone = _text()
    enabled = _flag()
    dst_policy = _word(DST_POLICIES)
    day_match = _word(DAY_MATCHES)
    anchor = _time()
    starts_at = _time(null=True)
    ends_at = _time(null=True)
    max_runs = _whole(null=True)
    jitter_s = _number()
    spread_s = _number()
    catchup = _word(CATCHUPS)
    catchup_window_s = _number()
    catchup_limit = _whole()
    overlap = _word(OVERLAPS)
    retry = fields.Nested(RetryDocument, required=True)
    delivery = _word(DELIVERIES)
    auto_disable = _flag()
    note = _text(null=True)
    tags = fields.List(fields.String(), required=True)
    disabled_reason = _text(null=True, what="Why the service itself disabled it.")
    last_run_at = _time(null=True)
    next_run_at = _time(null=True, what="null while it is disabled.")
    created_at = _time()
    updated_at = _time()


class JobDocument(JobSummary):
    """A job as it is read one by one."""

    description = _text(what="The schedule in plain English.")
    next_runs = fields.List(
        fields.String(metadata={"format": "date-time"}),
        required=True,
        metadata={"description": "Up to five; empty while it is disabled."},
    )


class WebhookDocument(Answer):
    id = _id()
    job_id = _id()
    url = _text()
    method = _word(METHODS)
    headers = _texts(null=True)
    query_params = _texts(null=True)
    body_template = _text(null=True)
    content_type = _text()
    timeout_s = _number()
    signing_secret = _text(null=True, what="`***` when there is one; itself only in the answer that set it.")
    former_secrets_until = _time(
        null=True, what="When the secrets before the last rotation sign no more; null when there are none."
    )
    enabled = _flag()
    disabled_reason = _text(null=True, what="Why the service itself disabled it.")
    created_at = _time()
    updated_at = _time()


class JobWithWebhook(JobDocument):
    """A new job with the webhook that was created in the same call."""

    webhook = fields.Nested(WebhookDocument)


class ExecutionDocument(Answer):
    """One attempt of one run, or the record that a due time was skipped."""

    id = _id()
    run_id = _id()
    job_id = _id()
    account_id = _id()
    webhook_id = _id(null=True)
    status = _word(STATUSES)
    attempt = _whole(least=1)
    trigger = _word(tuple(trigger.value for trigger in Trigger))
    scheduled_at = _time(what="When it should have run.")
    available_at = _time(what="The earliest start of this attempt.")
    covers = _whole(least=1)
    covers_from = _time(null=True)
    reason = _text(null=True, what="Why it is skipped or cancelled.")
    worker_id = _text(null=True)
    started_at = _time(null=True)
    finished_at = _time(null=True)
    duration_ms = _whole(null=True)
    response_code = _whole(null=True)
    response_headers = _texts(null=True)
    response_body = _text(null=True)
    body_truncated = _flag()
    error = _text(null=True)
    created_at = _time()


class _Page(Answer):
    total = _whole()
    skip = _whole()
    limit = _whole(least=1)


class AccountPage(_Page):
    items = fields.List(fields.Nested(AccountDocument), required=True)


class JobPage(_Page):
    items = fields.List(fields.Nested(JobSummary), required=True)


class WebhookPage(_Page):
    items = fields.List(fields.Nested(WebhookDocument), required=True)


class ExecutionPage(_Page):
    items = fields.List(fields.Nested(ExecutionDocument), required=True)


class JobsCreated(Answer):
    items = fields.List(fields.Nested(JobWithWebhook), required=True)


class ExecutionsStarted(Answer):
    items = fields.List(fields.Nested(ExecutionDocument), required=True)


class Count(Answer):
    count = _whole()


class Alive(Answer):
    status = _text()
    service = _text()


class PoolDocument(Answer):
    size = _whole()
    in_use = _whole()


class QueueDocument(Answer):
    """What waits, counted up to `counted_to`: ready now, planned for later, held back for its account's share."""

    ready = _whole()
    planned = _whole()
    in_lanes = _whole()
    counted_to = _whole()
    lag_s = fields.Float(required=True, metadata={"description": "How long the oldest that is ready has waited."})
    overdue_s = fields.Float(required=True, metadata={"description": "How long the most overdue job is due."})


class LeaseDocument(Answer):
    held = _flag()
    clock_skew_s = fields.Float(required=True, metadata={"description": "How far the database's clock is ahead."})


class HealthDocument(Alive):
    """How the process is; with status 503 it is an error document as well."""

    database = _word(("connected", "disconnected"))
    scheduler_service = _word(("running", "stopped"))
    draining = _flag()
    storage = _word(("ok", "full", "unknown"))
    version = _text()
    python_version = _text()
    database_version = _text()
    last_tick_at = _time(null=True)
    last_backup_at = _time(null=True)
    pool = fields.Nested(PoolDocument, required=True)
    queue = fields.Nested(QueueDocument, metadata={"description": "Absent while the database is away."})
    nodes = fields.Integer(metadata={"description": "Processes that work on this database."})
    lease = fields.Nested(LeaseDocument, metadata={"description": "On a database that several nodes share."})
    detail = fields.String()
    error_code = fields.String()
    status_code = fields.Integer()


class JobCounts(Answer):
    total = _whole()
    enabled = _whole()
    disabled = _whole()


class ExecutionCounts(Answer):
    total = _whole()
    queued = _whole()
    running = _whole()
    success = _whole()
    failure = _whole()
    dead_letter = _whole()
    timed_out = _whole()
    skipped = _whole()
    cancelled = _whole()
    success_rate = _number()
    avg_duration_ms = _number()


class MetricsDocument(Answer):
    timestamp = _time()
    jobs = fields.Nested(JobCounts, required=True)
    executions = fields.Nested(ExecutionCounts, required=True)
