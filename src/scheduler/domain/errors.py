"""The one exception that a caller of the service is meant to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SchedulerError(Exception):
    """A request that is refused, with the reason in words for the person who made it.

    ``code`` is one of the error codes of the HTTP contract (``VALIDATION_ERROR``, ``JOB_NOT_FOUND`` …);
    ``errors`` maps a field to what is wrong with it and is present for validation errors only; ``retry_after_s`` says
    in how many seconds trying again may help, if that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.errors = {field: list(reasons) for field, reasons in errors.items()} if errors else None


def invalid(field: str, reason: str, *, code: str = "VALIDATION_ERROR") -> SchedulerError:
    """The refusal of one field: names the field, says what is wrong and what would be right."""
    return SchedulerError(code, f"{field}: {reason}", errors={field: [reason]})
