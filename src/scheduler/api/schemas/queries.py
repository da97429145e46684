"""Query parameters: texts that spell values. Each may be given once, and an unknown one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from scheduler.api.schemas.fields import Body, Choice, Id, Text, Time
from scheduler.domain.execution import Status

_WORDS = {"true": True, "false": False}
STATUSES = tuple(status.value for status in Status)


class QueryFlag(fields.Boolean):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if value not in _WORDS:
            raise ValidationError("must be true or false")
        return _WORDS[value]


class QueryWhole(fields.Integer):
    """A whole number in decimal digits."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most}, **options)
        self._least, self._most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        is_number = (
            isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(self._most))
        )
        if not is_number or not self._least <= int(value) <= self._most:
            raise ValidationError(f"must be a whole number from {self._least} to {self._most}")
        return int(value)


class Query(Body):
    """The parameters of one operation."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        known = ", ".join(sorted(field.data_key or name for name, field in self.load_fields.items()))
        self.error_messages["unknown"] = (
            f"no such query parameter; known are {known}" if known else "no such query parameter: none is known"
        )


class NoParameters(Query):
    """An operation without query parameters."""


class Paging(Query):
    """Which part of a list."""

    skip = QueryWhole(0, 2_147_483_647, load_default=0)
    limit = QueryWhole(1, 1000, load_default=100)


class JobList(Paging):
    account_id = Id()
    enabled = QueryFlag()


class WebhookList(Paging):
    job_id = Id()


class JobExecutionList(Paging):
    status = Choice(STATUSES)


class ExecutionList(JobExecutionList):
    account_id = Id()
    job_id = Id()
    run_id = Id()
    since_at = Time(data_key="since", metadata={"description": "Created at this time or later."})


class DeadLetterList(Paging):
    account_id = Id()
    job_id = Id()
    error = Text(shortest=1, longest=500, metadata={"description": "A part of the error text."})
    since_at = Time(data_key="since", metadata={"description": "Ended at this time or later."})
    until_at = Time(data_key="until", metadata={"description": "Ended before this time."})
