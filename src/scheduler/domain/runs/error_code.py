"""The codes of failed attempts: retries are decided by them, and error texts begin with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable code of a failure, stored in the column ``error_code``; the text in ``error`` begins with it."""

    DNS_FAILED = "dns_failed"
    BLOCKED_ADDRESS = "blocked_address"
    DNS_BUSY = "dns_busy"
    """Too many look-ups of names were under way in the service itself; such an attempt is put off."""
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    CONNECTION_RESET = "connection_reset"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    HTTP = "http"
    """The receiver answered with another status than 200 to 299; ``response_code`` says which."""
    NO_WEBHOOK = "no_webhook"
    INVALID_REQUEST = "invalid_request"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - no secret, but the name of a failure
    STALE_CONNECTION = "stale_connection"
    """The receiver closed a connection that was used again, before a byte of an answer."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """The receiver redirected once more than the webhook follows."""
    UNEXPECTED_ANSWER = "unexpected_answer"
    """The answer is not what the webhook's ``success`` says."""
    INTERRUPTED = "interrupted"
    """The service stopped, or lost its lease, while the request was in flight."""
    CRASH_SUSPECT = "crash_suspect"
    """Every repeat of an interrupted attempt was interrupted as well."""


TIMEOUTS = frozenset({ErrorCode.TIMEOUT, ErrorCode.CONNECT_TIMEOUT})


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error code with, of ``HTTP``, the status that the receiver answered with; ``http_503`` as text."""

    code: ErrorCode
    response_code: int | None = None

    def __str__(self) -> str:
        return self.code.value if self.response_code is None else f"{self.code}_{self.response_code}"


FAILURE_PATTERN = f"(?:{'|'.join(ErrorCode)}|{ErrorCode.HTTP}_[1-9][0-9]{{2}})"
"""The texts that ``parse_failure`` accepts, as a regular expression."""


def parse_failure(text: str) -> Failure:
    """The failure of a text such as ``timeout``, ``http_503`` or ``http``, which is every status.

    Raises ``ValueError`` with a message that says what would be right.
    """
    if re.fullmatch(FAILURE_PATTERN, text):
        if text in set(ErrorCode):
            return Failure(code=ErrorCode(text))
        return Failure(code=ErrorCode.HTTP, response_code=int(text[-3:]))
    if text.startswith(f"{ErrorCode.HTTP}_"):
        raise ValueError("http_ must be followed by a status of three digits, such as http_503")
    raise ValueError(f"must be http_ and a status, such as http_503, or one of {', '.join(ErrorCode)}")


def error_line(code: ErrorCode, text: str, *, response_code: int | None = None) -> str:
    """The error as it is stored and shown: the code, of ``HTTP`` with the status (``http_503``), and the text."""
    failure = Failure(code=code, response_code=response_code if code is ErrorCode.HTTP else None)
    return f"{failure} {text}" if text else str(failure)
