"""Query parameters, which are texts. Each may be given once, and an unknown one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields

from scheduler.api.http.fields import Body

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
    """Which part of a list: ``limit`` entries after the first ``skip``."""

    skip = QueryWhole(0, 2_147_483_647, load_default=0)
    limit = QueryWhole(1, 1000, load_default=100)


def split_paging(query: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """The parameters that narrow a list, and those of ``Paging``."""
    paging = {name: query[name] for name in ("skip", "limit")}
    return {name: value for name, value in query.items() if name not in paging}, paging
