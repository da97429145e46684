"""Holds each answer against the OpenAPI document: an undeclared status, media type or field fails the test."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from scheduler.api.app import openapi_document

_ERROR = "#/components/schemas/ErrorDocument"


def check_answer(method: str, path: str, *, status: int, media_type: str, text: str) -> None:
    """Fails unless the operation that has this path declares such an answer.

    What no operation answers, such as 405, has to be an error document. The pages are no part of the document.
    """
    template = _template_of(path)
    operation = _paths().get(template, {}).get(method.lower())
    if method == "HEAD":
        return  # the status and the headers of a GET, without its body
    if operation is not None:
        responses: Mapping[str, Any] = operation["responses"]
        assert str(status) in responses, f"{method} {template} does not declare {status}: {text}"
        content: Mapping[str, Any] = responses[str(status)].get("content", {})
        assert (media_type in content) if text else not content, f"{method} {template} {status}: {media_type}, {text}"
        schema = content.get(media_type, {}).get("schema", {})
    else:
        assert status >= 400 or media_type != "application/json", f"{method} {path} is not in the document: {text}"
        schema = {"$ref": _ERROR}
    if media_type == "application/json" and text:
        wrong = best_match(_validator(json.dumps(schema)).iter_errors(json.loads(text)))
        assert wrong is None, f"{method} {template} {status} at {wrong.json_path}: {wrong.message}"


def _template_of(path: str) -> str:
    """The path of the document that a request for ``path`` matches; one without parameters comes first."""
    asked = path.partition("?")[0]
    matching = [template for template in _paths() if re.fullmatch(re.sub(r"\{\w+\}", "[^{}/]+", template), asked)]
    return min(matching, key=lambda template: template.count("{"), default="")


@cache
def _paths() -> Mapping[str, Any]:
    paths: Mapping[str, Any] = openapi_document()["paths"]
    return paths


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(schema), "components": _strict_components()})


@cache
def _strict_components() -> Mapping[str, Any]:
    """The schemas of the document, changed so that objects have no fields beyond those that they name.

    For clients they may have more: an answer may gain fields in later versions.
    """
    components: dict[str, Any] = json.loads(json.dumps(openapi_document()["components"]))
    for schema in components["schemas"].values():
        if schema.get("properties"):
            schema["additionalProperties"] = False
    return components
