"""The exception for every error that is reported to a caller of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SchedulerError(Exception):
    """A request is refused or has failed; ``message`` tells its author why.

    ``code`` is an error code of the HTTP contract (``VALIDATION_ERROR``, ``JOB_NOT_FOUND`` …). ``errors`` has the
    reasons by field, for validation errors only. ``retry_after_s``: seconds until another attempt may succeed, where
    that is known.
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
    """The error for one field; ``reason`` says what is invalid and what would be valid."""
    return SchedulerError(code, f"{field}: {reason}", errors={field: [reason]})
