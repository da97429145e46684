"""What every answer is made of: the pieces of its schema, and the JSON response itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web
from marshmallow import INCLUDE, Schema, fields, validate

from scheduler.domain.clock import Instant, format_instant
from scheduler.store.database import Page


class Answer(Schema):
    """An answer may gain fields in later versions; a client ignores what it does not know."""

    class Meta:
        unknown = INCLUDE


def word(words: tuple[str, ...], **options: Any) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words), **options)


def text(*, null: bool = False, what: str = "") -> fields.String:
    return fields.String(required=True, allow_none=null, metadata={"description": what} if what else {})


def uuid_text(*, null: bool = False) -> fields.String:
    return fields.String(required=True, allow_none=null, metadata={"format": "uuid"})


def instant(*, null: bool = False, what: str = "") -> fields.String:
    about = {"description": what} if what else {}
    return fields.String(required=True, allow_none=null, metadata={"format": "date-time", **about})


def whole(*, null: bool = False, least: int | None = 0) -> fields.Integer:
    bound = {} if least is None else {"minimum": least}
    return fields.Integer(required=True, allow_none=null, metadata=bound)


def number() -> fields.Float:
    return fields.Float(required=True)


def flag() -> fields.Boolean:
    return fields.Boolean(required=True)


def texts(*, null: bool = False) -> fields.Dict:
    return fields.Dict(keys=fields.String(), values=fields.String(), required=True, allow_none=null)


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
    total = whole()
    skip = whole()
    limit = whole(least=1)


class Count(Answer):
    count = whole()


T = TypeVar("T")
Document = dict[str, Any]


def answer(document: Document, status: int = 200) -> web.Response:
    """The document as a JSON response."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def page_answer(page: Page[T], document: Callable[[T], Document], query: Document) -> web.Response:
    """One page of a list, with what was asked for."""
    items = [document(item) for item in page.items]
    return answer({"items": items, "total": page.total, "skip": query["skip"], "limit": query["limit"]})


def items_answer(documents: Sequence[Document], status: int) -> web.Response:
    """A list that is no page: all that one call made."""
    return answer({"items": list(documents)}, status)


def time_or_none(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)


def shortest_number(value: float) -> float:
    """Without ``.0``, which a database adds to what was written as a whole number."""
    return int(value) if value == int(value) else value
