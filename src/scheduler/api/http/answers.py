"""The pieces of answer schemas, answers as JSON responses, and which forms of an answer a client accepts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web
from marshmallow import INCLUDE, Schema, fields, validate

from scheduler.api.http.fields import Words, words_of
from scheduler.api.http.queries import cursor_after
from scheduler.domain.clock import Instant, format_instant
from scheduler.store.database import Page
from scheduler.store.sql import PAGE_BYTES

SLICE_S = 0.005
"""So long the documents of a page are made at a time, in seconds."""


class Answer(Schema):
    """An answer may gain fields in later versions; a client ignores what it does not know."""

    class Meta:
        unknown = INCLUDE


def word(words: Words, *, null: bool = False, what: str = "") -> fields.String:
    """One of ``words``."""
    allowed = (*words_of(words), *((None,) if null else ()))
    return fields.String(
        required=True, allow_none=null, validate=validate.OneOf(allowed), metadata=_metadata(what=what)
    )


def text(*, null: bool = False, what: str = "", key: str | None = None) -> fields.String:
    """Any text; ``key`` is its name in the document where that cannot be one in Python."""
    return fields.String(required=True, allow_none=null, data_key=key, metadata=_metadata(what=what))


def uuid_text(*, null: bool = False, what: str = "") -> fields.String:
    return fields.String(required=True, allow_none=null, metadata=_metadata(format="uuid", what=what))


def instant(*, null: bool = False, what: str = "", key: str | None = None) -> fields.String:
    """An RFC 3339 time in UTC."""
    return fields.String(
        required=True, allow_none=null, data_key=key, metadata=_metadata(format="date-time", what=what)
    )


def whole(*, null: bool = False, least: int | None = 0, what: str = "") -> fields.Integer:
    """A whole number, ``least`` or more."""
    return fields.Integer(required=True, allow_none=null, metadata=_metadata(minimum=least, what=what))


def number(*, what: str = "") -> fields.Float:
    return fields.Float(required=True, metadata=_metadata(what=what))


def flag(*, what: str = "") -> fields.Boolean:
    return fields.Boolean(required=True, metadata=_metadata(what=what))


def texts(*, null: bool = False) -> fields.Dict:
    """An object of texts by free names."""
    return fields.Dict(keys=fields.String(), values=fields.String(), required=True, allow_none=null)


def list_of(item: type[Schema] | fields.Field[Any], *, null: bool = False, what: str = "") -> fields.List[Any]:
    """A list of documents or of values."""
    inner = item if isinstance(item, fields.Field) else fields.Nested(item)
    return fields.List(inner, required=True, allow_none=null, metadata=_metadata(what=what))


def part(document: type[Schema], *, null: bool = False) -> fields.Nested:
    """A document within a document."""
    return fields.Nested(document, required=True, allow_none=null)


def _metadata(*, what: str, **keywords: Any) -> dict[str, Any]:
    """Keywords of JSON Schema: those that have a value, and what the field means as its description."""
    return {name: value for name, value in {**keywords, "description": what or None}.items() if value is not None}


class ErrorDocument(Answer):
    """Why a request was refused."""

    detail = text(what="What is wrong, for a person.")
    error_code = text(what="What is wrong, for a program.")
    status_code = whole(least=400)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "With validation errors: each field by its path, such as `jobs.3.schedule`."},
    )


class PageAnswer(Answer):
    """One part of a list; a page of something adds its ``items``."""

    total = whole(what="The number of entries in all pages.")
    skip = whole()
    limit = whole(least=1)
    next_cursor = text(null=True, what="The `cursor` of the page that follows; null on the last one.")


class Count(Answer):
    count = whole()


T = TypeVar("T")
Document = dict[str, Any]


def answer(document: Document, status: int = 200) -> web.Response:
    """The document as a JSON response."""
    return web.Response(body=_encoded(document), status=status, content_type="application/json")


def _encoded(document: Document) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # half a surrogate pair, stored by a version that accepted it: JSON can escape it
        return json.dumps(document).encode("ascii")


async def documents_of(items: Sequence[T], document: Callable[[T], Document]) -> list[Document]:
    """The document of each, made in slices of ``SLICE_S``, between which other tasks of the loop run."""
    documents = []
    slice_began = time.perf_counter()
    for item in items:
        documents.append(document(item))
        if time.perf_counter() - slice_began >= SLICE_S:
            await asyncio.sleep(0)
            slice_began = time.perf_counter()
    return documents


async def page_answer(page: Page[T], document: Callable[[T], Document], query: Document) -> web.Response:
    """One page of a list, with the paging of the query; made in slices as by ``documents_of``.

    What would make it longer than ``PAGE_BYTES`` is left to the next page.
    """
    items: list[orjson.Fragment] = []
    room = PAGE_BYTES
    slice_began = time.perf_counter()
    for item in page.items:
        encoded = _encoded(document(item))
        room -= len(encoded) + 1
        if items and room < 0:
            break
        items.append(orjson.Fragment(encoded))
        if time.perf_counter() - slice_began >= SLICE_S:
            await asyncio.sleep(0)
            slice_began = time.perf_counter()
    goes_on = page.has_more or len(items) < len(page.items)
    return answer(
        {
            "items": items,
            "total": page.total,
            "skip": query["skip"],
            "limit": query["limit"],
            "next_cursor": cursor_after(page.keys[len(items) - 1], query) if goes_on and items else None,
        }
    )


def items_answer(documents: Sequence[Document], status: int) -> web.Response:
    """A list without paging: everything that one request created."""
    return answer({"items": list(documents)}, status)


def accepted(request: web.Request, header: str) -> dict[str, float]:
    """The weight of each value of ``Accept`` or a header like it, lower-case (RFC 9110, section 12.4.2).

    Without a weight it is 1; a weight that is not between 0 and 1 counts as 0.
    """
    weights: dict[str, float] = {}
    for offer in ",".join(request.headers.getall(header, ())).split(","):
        value, *parameters = (part.strip().lower() for part in offer.split(";"))
        weights[value] = max(weights.get(value, 0.0), _weight(parameters))
    return weights


def _weight(parameters: Sequence[str]) -> float:
    given = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
    try:
        weight = float(given)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def time_or_none(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)


def shortest_number(value: float) -> float:
    """A whole number without ``.0``, which a database adds to it."""
    return int(value) if value == int(value) else value
