"""Why no proper answer came, in one line: a stable code (semantics of an attempt) and words for people."""

from __future__ import annotations

import logging
import os

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ServerDisconnectedError,
)
from aiohttp.http import HttpProcessingError

from scheduler.domain.runs.error_code import ErrorCode
from scheduler.engine.http.egress import BLOCKED

log = logging.getLogger(__name__)


def failure_of(error: Exception, place: str) -> tuple[ErrorCode, str]:
    """The code and the text of an exception raised on the way to ``place`` (``host:port``) or on its connection."""
    match error:
        case ClientConnectorDNSError():
            return ErrorCode.DNS_FAILED, f"{place}: {_reason(error.os_error)}"
        case ClientConnectorCertificateError():
            certificate_error = error.certificate_error
            return (
                ErrorCode.TLS_FAILED,
                f"{place}: {getattr(certificate_error, 'verify_message', None) or certificate_error}",
            )
        case ClientConnectorSSLError():
            return ErrorCode.TLS_FAILED, f"{place}: {_tls_reason(error.os_error)}"
        case ClientConnectorError():
            return _not_connected(error.os_error, place)
        case ServerDisconnectedError():
            return ErrorCode.DISCONNECTED, f"{place} closed the connection without an answer"
        case HttpProcessingError():
            # the parser's message draws a picture of the place on further lines
            reason = error.message.partition("\n")[0].rstrip(" :")
            return ErrorCode.PROTOCOL_ERROR, f"{place} sent no valid HTTP answer: {reason}"
        case OSError() if "[SSL:" in str(error):
            return ErrorCode.TLS_FAILED, f"{place}: {_tls_reason(error)}"
        case OSError():
            return ErrorCode.CONNECTION_RESET, f"{place} broke the connection: {_reason(error)}"
        case _:
            log.error("sending to %s failed in an unexpected way", place, exc_info=error)
            return ErrorCode.PROTOCOL_ERROR, f"{place}: {type(error).__name__}: {error}"


def _not_connected(error: OSError, place: str) -> tuple[ErrorCode, str]:
    text = str(error)
    if BLOCKED in text:
        return ErrorCode.BLOCKED_ADDRESS, text.partition(f"{BLOCKED} ")[2].rstrip("'\"])")
    match error:
        case ConnectionRefusedError():
            return ErrorCode.CONNECT_REFUSED, f"nothing accepts connections at {place}"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return ErrorCode.CONNECTION_RESET, f"{place} broke the connection while it was being made"
        case TimeoutError():
            return ErrorCode.CONNECT_TIMEOUT, f"{place} did not accept the connection"
        case _:
            return ErrorCode.CONNECT_REFUSED, f"no connection to {place}: {_reason(error)}"


def _reason(error: OSError) -> str:
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _tls_reason(error: OSError) -> str:
    reason = str(getattr(error, "reason", None) or error)
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return f"{reason}; is this an http port?"
    return reason
