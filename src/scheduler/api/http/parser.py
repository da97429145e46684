"""How the validation middleware of aiohttp-apispec reads requests here: our decoder, our refusals, our strictness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from aiohttp import web
from marshmallow import Schema, ValidationError
from webargs.aiohttpparser import AIOHTTPParser
from webargs.core import missing

from scheduler.api.http.decoder import read_object
from scheduler.api.http.errors import BODY, refusal_of, shown_name
from scheduler.domain.errors import invalid


class RequestParser(AIOHTTPParser):
    """One per application: the parser of webargs is one global that applications would share."""

    async def parse(self, argmap: Any, req: web.Request | None = None, **options: Any) -> Any:
        """As webargs does; only that nothing is looked for where nothing is given and nothing may be."""
        if (
            options.get("location") == "querystring"
            and req is not None
            and not req.rel_url.raw_query_string
            and not argmap.fields
        ):
            return {}
        return await super().parse(argmap, req, **options)

    async def load_json(self, req: web.Request, schema: Schema) -> Any:
        """The body; a missing one only where the schema's ``body_optional`` says so."""
        if req.body_exists:
            return await read_object(req)
        if getattr(schema, "body_optional", False):
            return missing
        raise invalid(BODY, "a JSON object is needed")

    def load_querystring(self, req: web.Request, schema: Schema) -> Any:
        """The query parameters, each of them given once."""
        if not req.rel_url.raw_query_string:
            return {}
        parameters: dict[str, str] = {}
        for name, value in req.query.items():
            if name in parameters:
                raise invalid(shown_name(name), "given more than once")
            if "\0" in value:
                raise invalid(shown_name(name), "contains a NUL character")
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
        """Turn marshmallow's messages into our one refusal; webargs files them under the place they came from."""
        by_place = cast("Mapping[str, Any]", error.messages)
        raise refusal_of(next(iter(by_place.values()))) from None
