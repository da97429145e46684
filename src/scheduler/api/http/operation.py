"""The decorator that declares an operation for the OpenAPI document: its purpose, its answers and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_apispec import docs, json_schema, querystring_schema, response_schema
from marshmallow import Schema

from scheduler.api.http.answers import ErrorDocument
from scheduler.api.http.queries import NoParameters
from scheduler.api.services import FORM, QUERY

H = TypeVar("H", bound=Handler)

_REFUSALS = {
    400: "The request is malformed; `errors` names each field and what would be right.",
    401: "No valid bearer token. The answer is the same for every reason.",
    403: "It belongs to an account that the caller is not a member of, or may not do this in.",
    404: "There is no such thing, or the id is no UUID.",
    408: "The body did not arrive in time.",
    409: "Its present state does not permit that, or what it belongs to has just been deleted.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    429: "More than the operator's `limits` permit, or than is computed for one caller: `detail` says of what, "
    "`Retry-After` when to ask again.",
    500: "A defect of the service; the log has the cause under the request id.",
    503: "The service cannot answer right now; try again soon.",
}
_BODY_REFUSALS = (408, 413, 415)


def operation(
    *,
    tag: str,
    summary: str,
    answers: dict[int, type[Schema] | str],
    refuses: Sequence[int] = (),
    description: str = "",
    body: type[Schema] | None = None,
    query: type[Schema] = NoParameters,
    public: bool = False,
    or_text: bool = False,
) -> Callable[[H], H]:
    """Declare a handler. The validation middleware puts the body under ``FORM`` and the query under ``QUERY``.

    ``answers`` maps a status to the schema of its body, or to a sentence when it has none; ``refuses`` lists its
    own statuses of 400 and above, to which those of every operation are added. ``or_text``: the answer of success may
    be plain text as well.
    """

    def declare(handler: H) -> H:
        statuses = {400, 500, 503, *refuses, *(() if public else (401, 429)), *(_BODY_REFUSALS if body else ())}
        refusals = {str(status): {"description": _REFUSALS[status], "schema": ErrorDocument} for status in statuses}
        bodiless = {str(status): {"description": what} for status, what in answers.items() if isinstance(what, str)}
        docs(
            tags=[tag],
            summary=summary,
            description=description,
            operationId=handler.__name__,
            or_text=or_text,
            responses={**refusals, **bodiless},
            **({"security": []} if public else {}),
        )(handler)
        for status, schema in answers.items():
            if not isinstance(schema, str):
                response_schema(schema, status, description=_MEANING[status])(handler)
        querystring_schema(query, put_into=QUERY)(handler)
        if body is not None:
            json_schema(body, put_into=FORM, required=not getattr(body, "body_optional", False))(handler)
        return open_to_all(handler) if public else handler

    return declare


def open_to_all(handler: H) -> H:
    """Mark a handler that needs no token."""
    _PUBLIC.add(handler)
    return handler


def needs_token(match: web.UrlMappingMatchInfo) -> bool:
    """Does a request with this route need a token? One without a route is 404 or 405 with and without a token."""
    return match.handler not in _PUBLIC and match.http_exception is None


_MEANING = {200: "OK", 201: "Created", 202: "Accepted: it will be done soon", 503: "Not now"}
_PUBLIC: set[Any] = set()
