"""The outermost middleware: every answer has a request id and security headers, every error the same document."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web, web_response
from aiohttp.typedefs import Handler, Middleware

from scheduler.api.http.answers import accepted, answer
from scheduler.api.http.errors import error_document
from scheduler.api.services import REQUEST_ID
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, RequestAnswered

log = logging.getLogger(__name__)

X_REQUEST_ID: Final = "X-Request-ID"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS: Final[Mapping[str, str]] = {
    "Server": "scheduler",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_UNREAD_BODY = frozenset({401, 403, 404, 408, 413, 415, 429})
"""Errors that leave the body of a request unread: the connection is closed, so that the client stops sending it."""


_COMPRESSED_FROM = 16_384
"""Bytes of a JSON answer from which it is compressed for clients that accept gzip."""
_GZIP_LEVEL = 5


def framing(events: Events) -> Middleware:
    """The outermost middleware of an application; tells ``RequestAnswered``."""

    @web.middleware
    async def frame(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request[REQUEST_ID] = _request_id(request)
        response = await _answered(request, handler)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers[X_REQUEST_ID] = request_id
        await _compress(request, response)
        events.tell(
            RequestAnswered(
                method=request.method if request.method in _METHODS else "OTHER",
                route=_route(request),
                status=response.status,
                seconds=time.perf_counter() - started,
            )
        )
        return response

    return frame


def hide_server_version() -> None:
    """Hide the version of the server in answers of aiohttp's HTTP parser as well, which pass no middleware.

    aiohttp reads the text from this private constant of the module.
    """
    web_response.SERVER_SOFTWARE = _HEADERS["Server"]  # type: ignore[attr-defined]  # imported there, read from there


async def _compress(request: web.Request, response: web.StreamResponse) -> None:
    """Compress a large JSON answer for a client that takes gzip (RFC 9110, section 12.5.3)."""
    if not isinstance(response, web.Response) or response.content_type != "application/json":
        return
    if isinstance(response.body, bytes) and len(response.body) >= _COMPRESSED_FROM:
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        codings = accepted(request, hdrs.ACCEPT_ENCODING)
        if codings.get("gzip", codings.get("*", 0.0)) > 0:
            response.body = await asyncio.to_thread(gzip.compress, response.body, _GZIP_LEVEL)
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"


async def accept_any_expectation(request: web.Request) -> None:
    """For routes: ``100 Continue`` is sent when a body is about to be read, not before all checks."""


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except SchedulerError as error:
        return _error_answer(error, request)
    except web.HTTPException as error:
        return _translated(error, request)
    except Exception:
        log.exception("a request failed: a defect of the service", extra={"request_id": request[REQUEST_ID]})
        return _error_answer(SchedulerError("INTERNAL_ERROR", "internal error"), request)


def _error_answer(error: SchedulerError, request: web.Request) -> web.Response:
    document = error_document(error, request[REQUEST_ID])
    status: int = document["status_code"]
    response = answer(document, status)
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if status in (429, 503):
        response.headers[hdrs.RETRY_AFTER] = str(error.retry_after_s or 1)
    if status >= 500:
        log.error("refused: %s", error.message, extra={"request_id": request[REQUEST_ID], "error_code": error.code})
    if status in _UNREAD_BODY and request.body_exists and not request.content.is_eof():
        response.force_close()
    return response


def _translated(error: web.HTTPException, request: web.Request) -> web.StreamResponse:
    """The error answer for an exception of aiohttp (no route, wrong method)."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers={hdrs.ALLOW: allow})
        refusal = SchedulerError("METHOD_NOT_ALLOWED", f"{_method_name(request)} is not allowed here: {allow}")
        response = _error_answer(refusal, request)
        response.headers[hdrs.ALLOW] = allow
        return response
    if error.status == 404:
        return _error_answer(SchedulerError("NOT_FOUND", "there is nothing at this address"), request)
    return _error_answer(
        SchedulerError("VALIDATION_ERROR" if error.status < 500 else "INTERNAL_ERROR", error.reason), request
    )


def _method_name(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "this method"


def _request_id(request: web.Request) -> str:
    given = request.headers.get(X_REQUEST_ID, "")
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)


def _route(request: web.Request) -> str:
    """The pattern of the route, a value from a closed set whatever the path is."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
