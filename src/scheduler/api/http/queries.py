"""Query parameters, which are texts. Each may be given once, and an unknown one is refused."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, post_load, validate

from scheduler.api.http.fields import Body

_PAGING = ("skip", "limit", "after")
_DIGEST_BYTES = 6
_WORDS = {"true": True, "false": False}


class QueryFlag(fields.Boolean):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if value not in _WORDS:
            raise ValidationError("must be true or false")
        return _WORDS[value]


class QueryWhole(fields.Integer):
    """A whole number in decimal digits."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most}, **options)
        self._least, self._most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        is_number = (
            isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(self._most))
        )
        if not is_number or not self._least <= int(value) <= self._most:
            raise ValidationError(f"must be a whole number from {self._least} to {self._most}")
        return int(value)


class Several(fields.List[Any]):
    """A parameter that may be given several times; becomes a tuple without repetitions."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return tuple(dict.fromkeys(self.inner.deserialize(one) for one in value))


class Query(Body):
    """The parameters of one operation."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        known = ", ".join(sorted(field.data_key or name for name, field in self.load_fields.items()))
        self.error_messages["unknown"] = (
            f"no such query parameter; known are {known}" if known else "no such query parameter: none is known"
        )


class NoParameters(Query):
    """An operation without query parameters."""


class AnyParameters(Query):
    """Any parameters, which are ignored: probes add some to bypass caches."""

    class Meta:
        unknown = EXCLUDE


class Paging(Query):
    """Which part of a list: ``limit`` entries after the first ``skip``, or after the page that ``cursor`` came with.

    Deserialised it has ``after`` in place of ``cursor``: the key of the last entry of that page.
    """

    skip = QueryWhole(0, 2_147_483_647, load_default=0)
    limit = QueryWhole(1, 1000, load_default=100)
    cursor = fields.String(
        load_default=None,
        validate=validate.Regexp(r"^[A-Za-z0-9_-]{1,1500}\Z", error="must be a next_cursor of this list"),
        metadata={"pattern": "^[A-Za-z0-9_-]{1,1500}$"},
    )

    @post_load
    def _follow(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        cursor = query.pop("cursor")
        if cursor is not None and query["skip"]:
            raise ValidationError({"cursor": ["give either skip or cursor"]})
        query["after"] = None if cursor is None else _key_in(cursor, query)
        return query


def split_paging(query: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters that narrow a list, and those of ``Paging``."""
    paging = {name: query[name] for name in _PAGING}
    return {name: value for name, value in query.items() if name not in paging}, paging


def cursor_after(key: str, query: Mapping[str, Any]) -> str:
    """The ``cursor`` for what follows the entry of this key in a list with the parameters of ``query``."""
    return urlsafe_b64encode(_digest(query) + key.encode()).decode().rstrip("=")


def _key_in(cursor: str, query: Mapping[str, Any]) -> str:
    try:
        found = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = found[_DIGEST_BYTES:].decode()
    except ValueError:
        found, key = b"", ""
    if not key or "\0" in key:
        raise ValidationError({"cursor": ["must be a next_cursor of this list"]})
    if found[:_DIGEST_BYTES] != _digest(query):
        raise ValidationError(
            {"cursor": ["goes with the parameters of the page that it came with: give the same ones"]}
        )
    return key


def _digest(query: Mapping[str, Any]) -> bytes:
    """Tells lists with other parameters apart."""
    narrowing = sorted((name, value) for name, value in query.items() if name not in _PAGING and value is not None)
    return hashlib.sha256(repr(narrowing).encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]
