"""Reads bodies and query parameters for the validation middleware of aiohttp-apispec, with our decoder and errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from aiohttp import web
from marshmallow import Schema, ValidationError
from webargs.aiohttpparser import AIOHTTPParser

from scheduler.api.http.decoder import decode, read_body
from scheduler.api.http.errors import BODY, shown_name, validation_error
from scheduler.api.http.queries import Several
from scheduler.api.limits.offload import offload_large
from scheduler.domain.errors import invalid

_OTHER_INPUT = web.RequestKey("other_input", dict[str, Any])
"""Where aiohttp-apispec puts input without a key of its own; not used here."""


def use_parser(app: web.Application) -> None:
    """Have the validation middleware of aiohttp-apispec read the requests of ``app`` with a ``RequestParser``.

    The middleware looks both objects up under these keys, which are its private names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        app["_apispec_parser"] = RequestParser()
        app["_apispec_request_data_name"] = _OTHER_INPUT


class RequestParser(AIOHTTPParser):
    """One for each application, where webargs has one global parser that all applications share."""

    async def parse(self, argmap: Any, req: web.Request | None = None, **options: Any) -> Any:
        """As in webargs, but a large body is checked in a thread, and an operation without parameters costs nothing."""
        if req is not None and options.get("location") == "json":
            return await _checked_body(req, argmap)
        if (
            options.get("location") == "querystring"
            and req is not None
            and not req.rel_url.raw_query_string
            and not argmap.fields
        ):
            return {}
        return await super().parse(argmap, req, **options)

    def load_querystring(self, req: web.Request, schema: Schema) -> Any:
        """The query parameters, each of them given once, or as a list where the schema takes ``Several``."""
        if not req.rel_url.raw_query_string:
            return {}
        parameters: dict[str, str | list[str]] = {}
        several = {field.data_key or name for name, field in schema.fields.items() if isinstance(field, Several)}
        for name, value in req.query.items():
            if name in parameters and name not in several:
                raise invalid(shown_name(name), "given more than once")
            if "\0" in value:
                raise invalid(shown_name(name), "contains a NUL character")
            if name in several:
                parameters.setdefault(name, []).append(value)  # type: ignore[union-attr]  # a list, as it is several
            else:
                parameters[shown_name(name)] = value
        return parameters

    def handle_error(
        self,
        error: ValidationError,
        req: web.Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Raises the ``VALIDATION_ERROR`` of marshmallow's messages, which webargs groups by location."""
        by_location = cast("Mapping[str, Any]", error.messages)
        raise validation_error(next(iter(by_location.values()))) from None


async def _checked_body(request: web.Request, schema: Schema) -> Any:
    """The body with the values of the domain; a missing one only where the schema's ``body_optional`` says so."""
    if not request.body_exists:
        if getattr(schema, "body_optional", False):
            return _checked(schema, {})
        raise invalid(BODY, "a JSON object is needed")
    body = await read_body(request)
    return await offload_large(request, lambda: _checked(schema, decode(body)))


def _checked(schema: Schema, fields: dict[str, Any]) -> Any:
    try:
        return schema.load(fields)
    except ValidationError as error:
        raise validation_error(cast("Mapping[str, Any]", error.messages)) from None
