"""Generates the OpenAPI 3.1 document from the declarations of the handlers.

aiohttp-apispec collects the declarations. Its own emitter writes Swagger 2.0 and modifies the declarations, so this
module replaces it: by the attribute ``__apispec__`` and the methods ``_update_paths`` and ``swagger_dict``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp_apispec import AiohttpApiSpec
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from scheduler import __version__

_JSON: Final = "application/json"
_TEXT: Final[Mapping[str, Any]] = {"text/plain": {"schema": {"type": "string"}}}
_ALIAS = "/api/webhooks"
_ABOUT = """\
Webhooks on schedule. Times are RFC 3339 in UTC; ids are UUIDs; lists take `skip` and `limit`.

Every refusal has the shape of `ErrorDocument`; `error_code` is for programs. The header `X-Request-ID` is taken from
the request, or made, and comes back with every answer. `/webhooks` and `/api/webhooks` are the same.
"""
_TAGS = {
    "jobs": "What runs when.",
    "webhooks": "What a run delivers, and where.",
    "executions": "One row is one attempt.",
    "schedules": "Previews of schedules, and the runs of the next hours.",
    "dead letter": "Runs whose retries are used up.",
    "accounts": "Who owns what.",
    "members": "Who may do what in an account.",
    "keys": "For machines.",
    "health": "For operators, load balancers and scrapers.",
    "documentation": "This document.",
}


def document(app: web.Application) -> dict[str, Any]:
    """The document of all operations that ``app`` routes; always the same for the same routes."""
    return _Emitter().emit(app)


class _Emitter(AiohttpApiSpec):  # type: ignore[misc]
    """Writes OpenAPI 3.1 from the declarations of aiohttp-apispec, which it does not modify."""

    def __init__(self) -> None:
        about = {"title": "scheduler", "version": __version__}
        super().__init__(url=None, app=None, **about)
        self.plugin = MarshmallowPlugin(schema_name_resolver=_component_name)
        self.spec = APISpec(
            **about,
            openapi_version="3.1.0",
            plugins=(self.plugin,),
            info={"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
            tags=[{"name": name, "description": what} for name, what in _TAGS.items()],
            security=[{"bearerAuth": []}],
        )
        converter = self.plugin.converter
        assert converter is not None  # noqa: S101 - APISpec has set it up
        converter.add_attribute_function(_bounds_of_objects)  # type: ignore[no-untyped-call]
        self.spec.components.security_scheme(
            "bearerAuth", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _TOKEN}
        )

    def emit(self, app: web.Application) -> dict[str, Any]:
        for route in app.router.routes():
            declared = getattr(route.handler, "__apispec__", None)
            if declared is not None and route.method != "HEAD" and route.resource is not None:
                self._update_paths(declared, route.method.lower(), route.resource.canonical)
        return self.swagger_dict()  # type: ignore[no-any-return]

    def _update_paths(self, data: Mapping[str, Any], method: str, url_path: str) -> None:
        operation: dict[str, Any] = {
            key: data[key] for key in ("tags", "summary", "description", "security") if data.get(key) not in (None, "")
        }
        # an id names one operation, and the same handlers answer under two paths
        suffix = "_alias" if url_path.startswith(_ALIAS) else ""
        operation["operationId"] = data["operationId"] + suffix
        operation["parameters"] = [_path_parameter(name) for name in re.findall(r"{(\w+)}", url_path)]
        for declared in data["schemas"]:
            self._add_input(operation, declared)
        operation["responses"] = {
            status: self._response(response, or_text=data.get("or_text", False) and status == "200")
            for status, response in sorted(data["responses"].items())
        }
        self.spec.path(path=url_path, operations={method: operation})
        for declared in data["schemas"]:
            alternatives = [{"required": [name]} for name in declared["schema"].one_of]
            if alternatives:
                self.spec.components.schemas[_component_name(declared["schema"])]["oneOf"] = alternatives

    def _add_input(self, operation: dict[str, Any], declared: Mapping[str, Any]) -> None:
        schema: Schema = declared["schema"]
        if declared["location"] == "json":
            operation["requestBody"] = {
                "required": declared["options"]["required"],
                "content": {_JSON: {"schema": schema}},
            }
        elif schema.fields:
            converter = self.plugin.converter
            assert converter is not None  # noqa: S101 - APISpec has set it up
            operation["parameters"].extend(converter.schema2parameters(schema, location=declared["location"]))

    @staticmethod
    def _response(response: Mapping[str, Any], *, or_text: bool) -> dict[str, Any]:
        emitted: dict[str, Any] = {"description": response["description"]}
        if "schema" in response:
            emitted["content"] = {_JSON: {"schema": response["schema"]}, **(_TEXT if or_text else {})}
        return emitted


def _component_name(schema: Any) -> str:
    return (schema if isinstance(schema, type) else type(schema)).__name__


def _bounds_of_objects(_converter: Any, field: Any, **_: Any) -> dict[str, Any]:
    """Keywords of JSON Schema for objects with free names, which apispec leaves out."""
    return {key: field.metadata[key] for key in ("maxProperties", "propertyNames") if key in field.metadata}


def _path_parameter(name: str) -> dict[str, Any]:
    kind: dict[str, Any] = {"maxLength": 255, "minLength": 1} if name == "user" else {"format": "uuid"}
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", **kind}}


_TOKEN = "A JWT that `scheduler token create` or your identity provider made, or an API key from `POST /api/keys`."  # noqa: S105 - words about it
