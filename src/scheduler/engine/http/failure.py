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

from scheduler.engine.http.egress import BLOCKED

log = logging.getLogger(__name__)


def failure_of(error: Exception, place: str) -> str:
    """What to store for an exception raised on the way to ``place`` (``host:port``) or on the connection to it."""
    match error:
        case ClientConnectorDNSError():
            return f"dns_failed {place}: {_reason(error.os_error)}"
        case ClientConnectorCertificateError():
            certificate_error = error.certificate_error
            return f"tls_failed {place}: {getattr(certificate_error, 'verify_message', None) or certificate_error}"
        case ClientConnectorSSLError():
            return f"tls_failed {place}: {_tls_reason(error.os_error)}"
        case ClientConnectorError():
            return _not_connected(error.os_error, place)
        case ServerDisconnectedError():
            return f"disconnected {place} closed the connection without an answer"
        case HttpProcessingError():
            # the parser's message draws a picture of the place on further lines
            reason = error.message.partition("\n")[0].rstrip(" :")
            return f"protocol_error {place} sent no valid HTTP answer: {reason}"
        case OSError() if "[SSL:" in str(error):
            return f"tls_failed {place}: {_tls_reason(error)}"
        case OSError():
            return f"connection_reset {place} broke the connection: {_reason(error)}"
        case _:
            log.error("sending to %s failed in an unexpected way", place, exc_info=error)
            return f"protocol_error {place}: {type(error).__name__}: {error}"


def _not_connected(error: OSError, place: str) -> str:
    text = str(error)
    if BLOCKED in text:
        return text[text.index(BLOCKED) :].rstrip("'\"])")
    match error:
        case ConnectionRefusedError():
            return f"connect_refused nothing accepts connections at {place}"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return f"connection_reset {place} broke the connection while it was being made"
        case TimeoutError():
            return f"connect_timeout {place} did not accept the connection"
        case _:
            return f"connect_refused no connection to {place}: {_reason(error)}"


def _reason(error: OSError) -> str:
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _tls_reason(error: OSError) -> str:
    reason = str(getattr(error, "reason", None) or error)
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return f"{reason}; is this an http port?"
    return reason
