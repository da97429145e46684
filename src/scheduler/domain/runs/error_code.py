"""Why an attempt failed, as a value that retries are decided by and that the error text begins with."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable code of a failure, stored in the column ``error_code``; the text in ``error`` begins with it."""

    DNS_FAILED = "dns_failed"
    BLOCKED_ADDRESS = "blocked_address"
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


def error_line(code: ErrorCode, text: str, *, response_code: int | None = None) -> str:
    """The error as it is stored and shown: the code, of ``HTTP`` with the status (``http_503``), and the text."""
    word = f"{code}_{response_code}" if code is ErrorCode.HTTP else code.value
    return f"{word} {text}" if text else word
