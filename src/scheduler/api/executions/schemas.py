"""The schemas of executions, runs and dead letters: bodies, query parameters and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from scheduler.api.http.answers import Answer, PageAnswer, flag, instant, list_of, text, texts, uuid_text, whole, word
from scheduler.api.http.fields import MOST_AT_ONCE, Body, Choice, Flag, Id, Items, Part, Text, Time, invalid_field
from scheduler.api.http.queries import Paging, Query, Several
from scheduler.domain.jobs.job import OVERLAPS
from scheduler.domain.runs import execution
from scheduler.domain.runs.error_code import FAILURE_PATTERN, Failure, parse_failure
from scheduler.domain.runs.execution import Status
from scheduler.domain.runs.explanation import Verdict


class FailureCode(fields.String):
    """The code that an error begins with; becomes a ``Failure``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"pattern": f"^{FAILURE_PATTERN}$", **options.pop("metadata", {})}, **options)

    def _deserialize(  # type: ignore[override]
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Failure:
        try:
            return parse_failure(str(value))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class JobExecutionList(Paging):
    statuses = Several(Choice(Status), data_key="status", metadata={"description": "May be given several times."})


class ExecutionList(JobExecutionList):
    account_id = Id()
    job_id = Id()
    webhook_id = Id(metadata={"description": "Of a deleted webhook as well."})
    run_id = Id()
    failure = FailureCode(data_key="error", metadata={"description": "The code that `error` begins with."})
    since_at = Time(data_key="since", metadata={"description": "Created at this time or later."})
    until_at = Time(data_key="until", metadata={"description": "Created before this time."})


class SelectionFilter(Body):
    """Which dead letters; what is absent does not narrow."""

    account_id = Id()
    job_id = Id()
    error = Text(shortest=1, longest=100, metadata={"description": "A part of the error text."})
    since_at = Time(data_key="since", metadata={"description": "Ended at this time or later."})
    until_at = Time(data_key="until", metadata={"description": "Ended before this time."})


class DeadLetterList(SelectionFilter, Paging):
    """Which page of dead letters."""


class Explain(Query):
    at = Time(required=True)


class Backfill(Body):
    from_at = Time(data_key="from", required=True, metadata={"description": "Included."})
    to_at = Time(data_key="to", required=True, metadata={"description": "Excluded; not in the future."})
    dry_run = Flag(metadata={"description": "Only count; default false."})


class Trigger(Body):
    """How a run that a person starts treats an active one."""

    body_optional = True
    overlap = Choice(OVERLAPS, load_default="allow", metadata={"description": "Instead of the job's own policy."})


class Empty(Body):
    """An operation that needs no body; one that is sent must be an empty object."""

    body_optional = True


class SelectionForm(Body):
    """Dead letters, by ids or by a filter; exactly one of the two."""

    one_of = ("ids", "filter")

    ids = Items(Id(), fewest=1, most=MOST_AT_ONCE)
    filter = Part(SelectionFilter, metadata={"description": "Every field narrows; `{}` selects all of yours."})
    dry_run = Flag(load_default=False, metadata={"description": "Only count."})

    @validates_schema
    def _one_way(self, values: dict[str, Any], **_: Any) -> None:
        if sum(name in values for name in self.one_of) != 1:
            raise invalid_field("ids", "give either ids or filter")


class ExecutionDocument(Answer):
    """One attempt of one run, or the record that a due time was skipped."""

    id = uuid_text()
    run_id = uuid_text()
    job_id = uuid_text()
    account_id = uuid_text()
    webhook_id = uuid_text(null=True)
    status = word(Status)
    attempt = whole(least=1)
    trigger = word(execution.Trigger)
    scheduled_at = instant(what="When it should have run.")
    available_at = instant(what="The earliest start of this attempt.")
    covers = whole(least=1)
    covers_from = instant(null=True)
    reason = text(null=True, what="Why it is skipped or cancelled.")
    worker_id = text(null=True)
    started_at = instant(null=True)
    finished_at = instant(null=True)
    duration_ms = whole(null=True)
    response_code = whole(null=True)
    response_headers = texts(null=True)
    response_body = text(null=True)
    body_truncated = flag()
    warnings = list_of(
        fields.String(),
        null=True,
        what="What was wrong with an answer that was accepted, such as dropped header fields.",
    )
    error = text(null=True)
    created_at = instant()


class ExecutionPage(PageAnswer):
    items = list_of(ExecutionDocument)


class ExecutionsStarted(Answer):
    items = list_of(ExecutionDocument)


class ExplanationDocument(Answer):
    at = instant()
    verdict = word(Verdict)
    detail = text(what="The same for a person.")
    executions = list_of(ExecutionDocument)
    previous_at = instant(null=True)
    next_at = instant(null=True)


class Backfilled(Answer):
    count = whole(what="Times in the window that had no run.")
    items = list_of(ExecutionDocument)
