"""Why a request got no valid answer: a stable error code, and one line for people."""

from __future__ import annotations

import errno
import logging
import os
import ssl

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ServerDisconnectedError,
)
from aiohttp.http import HttpProcessingError

from scheduler.domain.runs.error_code import ErrorCode
from scheduler.engine.http.egress import Dial
from scheduler.engine.http.resolver import LookupsBusyError

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

log = logging.getLogger(__name__)

_OF_PLAIN_HTTP = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
"""How OpenSSL names an answer that is not TLS."""


def failure_of(error: Exception, endpoint: str, dial: Dial) -> tuple[ErrorCode, str]:
    """The code and the text of an exception raised on the way to ``endpoint`` (``host:port``) or on its connection."""
    match error:
        case ClientConnectorDNSError() if isinstance(error.os_error, LookupsBusyError):
            return ErrorCode.DNS_BUSY, f"{endpoint}: {_reason(error.os_error)}"
        case ClientConnectorDNSError():
            return ErrorCode.DNS_FAILED, f"{endpoint}: {_reason(error.os_error)}"
        case ClientConnectorCertificateError():
            certificate_error = error.certificate_error
            return (
                ErrorCode.TLS_FAILED,
                f"{endpoint}: {getattr(certificate_error, 'verify_message', None) or certificate_error}",
            )
        case ClientConnectorSSLError():
            return ErrorCode.TLS_FAILED, f"{endpoint}: {_tls_reason(error.os_error)}"
        case ClientConnectorError() if dial.blocked is not None:
            return ErrorCode.BLOCKED_ADDRESS, dial.blocked
        case ClientConnectorError():
            return _not_connected(error.os_error, endpoint)
        case ServerDisconnectedError():
            return ErrorCode.DISCONNECTED, f"{endpoint} closed the connection without an answer"
        case HttpProcessingError():
            # on further lines the parser's message points at the byte in question
            reason = error.message.partition("\n")[0].rstrip(" :")
            return ErrorCode.PROTOCOL_ERROR, f"{endpoint} sent no valid HTTP answer: {reason}"
        case OSError() if (tls_error := _tls_error(error)) is not None:
            return ErrorCode.TLS_FAILED, f"{endpoint}: {_tls_reason(tls_error)}"
        case OSError():
            return ErrorCode.CONNECTION_RESET, f"{endpoint} broke the connection: {_reason(error)}"
        case _:
            log.error("sending to %s failed in an unexpected way", endpoint, exc_info=error)
            return ErrorCode.PROTOCOL_ERROR, f"{endpoint}: {type(error).__name__}: {error}"


def is_own_congestion(error: Exception) -> bool:
    """Is the failure the service's own, which has no thread for a look-up or no descriptor for a socket?"""
    if not isinstance(error, ClientConnectorError):
        return False
    return isinstance(error.os_error, LookupsBusyError) or error.os_error.errno in _OUT_OF_DESCRIPTORS


def _not_connected(error: OSError, endpoint: str) -> tuple[ErrorCode, str]:
    match error:
        case ConnectionRefusedError():
            return ErrorCode.CONNECT_REFUSED, f"nothing accepts connections at {endpoint}"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return ErrorCode.CONNECTION_RESET, f"{endpoint} broke the connection while it was being made"
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return ErrorCode.CONNECT_REFUSED, f"no connection to {endpoint}: this service has no file descriptor left"
        case TimeoutError():
            return ErrorCode.CONNECT_TIMEOUT, f"{endpoint} did not accept the connection"
        case _:
            return ErrorCode.CONNECT_REFUSED, f"no connection to {endpoint}: {_reason(error)}"


def _reason(error: OSError) -> str:
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _tls_error(error: OSError) -> ssl.SSLError | None:
    """The error of TLS that ended a connection; aiohttp raises an error of its own from it."""
    return next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)


def _tls_reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # OpenSSL's name of the error; None for what Python raises
    return f"{reason}; is this an http port?" if reason in _OF_PLAIN_HTTP else str(reason or error)
