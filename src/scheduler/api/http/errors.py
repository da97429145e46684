"""Errors as answers: one document for every status of 400 and above, from every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from scheduler.domain.errors import SchedulerError

STATUS_OF: Final[Mapping[str, int]] = {
    "INVALID_CRON_EXPRESSION": 400,
    "VALIDATION_ERROR": 400,
    "BLOCKED_TARGET": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "JOB_NOT_FOUND": 404,
    "WEBHOOK_NOT_FOUND": 404,
    "EXECUTION_NOT_FOUND": 404,
    "ACCOUNT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "CONFLICT": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "DATABASE_ERROR": 500,
    "INTERNAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}
"""The status of each error code of the contract."""

BODY = "body"
"""The field that errors of the whole request body name."""

_SHOWN_FIELDS = 50
_SHOWN_IN_DETAIL = 3

Messages = Mapping[Any, Any] | Sequence[Any] | str


def error_document(error: SchedulerError, request_id: str) -> dict[str, Any]:
    """The body of an error answer. From status 500 on it has the request id instead of the cause, which is logged."""
    status = STATUS_OF.get(error.code, 500)
    detail = error.message
    if status >= 500:
        detail = f"{_PUBLIC_DETAIL.get(error.code, _PUBLIC_DETAIL['INTERNAL_ERROR'])}; request {request_id}"
    document: dict[str, Any] = {"detail": detail, "error_code": error.code, "status_code": status}
    if error.errors and status == 400:
        document["errors"] = error.errors
    return document


_PUBLIC_DETAIL = {
    "DATABASE_ERROR": "the database refused the work",
    "INTERNAL_ERROR": "something went wrong on our side",
    "SERVICE_UNAVAILABLE": "the service cannot answer right now, try again soon",
}


def unauthorized() -> SchedulerError:
    """The same error for every reason, which only the log has."""
    return SchedulerError("UNAUTHORIZED", "a valid bearer token is needed: Authorization: Bearer <JWT>")


def validation_error(messages: Messages) -> SchedulerError:
    """The ``VALIDATION_ERROR`` of marshmallow's nested messages, with the paths of fields: ``jobs.3.schedule``."""
    errors: dict[str, list[str]] = {}
    for field, reason in _flatten(messages, ""):
        if field in errors or len(errors) < _SHOWN_FIELDS:
            errors.setdefault(field, []).append(reason)
    shown = [f"{field}: {reasons[0]}" for field, reasons in errors.items()]
    more = f" (and {len(shown) - _SHOWN_IN_DETAIL} more)" if len(shown) > _SHOWN_IN_DETAIL else ""
    return SchedulerError("VALIDATION_ERROR", "; ".join(shown[:_SHOWN_IN_DETAIL]) + more, errors=errors)


def shown_name(name: str) -> str:
    r"""The name of a field or parameter as an answer can carry it: 100 characters, surrogates and NUL escaped."""
    return name[:100].encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


@contextmanager
def errors_under(path: str) -> Iterator[None]:
    """Errors of fields that are raised inside name ``path.field``; an empty path changes nothing."""
    try:
        yield
    except SchedulerError as error:
        if not path or not error.errors:
            raise
        errors = {f"{path}.{field}": reasons for field, reasons in error.errors.items()}
        detail = "; ".join(f"{field}: {reasons[0]}" for field, reasons in errors.items())
        raise SchedulerError(error.code, detail, errors=errors) from error


def _flatten(messages: Messages, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            # marshmallow puts the errors of a whole object under "_schema"
            yield from _flatten(inner, path if key == "_schema" else f"{path}.{key}" if path else str(key))
    elif isinstance(messages, str):
        yield path or BODY, messages
    else:
        for message in messages:
            yield from _flatten(message, path)
