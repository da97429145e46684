"""Which answers of a receiver count as a success, for webhooks that define it; else a status from 200 to 299 does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.domain.characters import has_surrogate
from scheduler.domain.errors import invalid
from scheduler.domain.statuses import STATUS_CLASSES, is_among

SUCCESS_CLASSES = STATUS_CLASSES[1:]
"""Classes of final answers; a 1xx answer is none (RFC 9110, section 15.2)."""
LONGEST_TEXT = 1000
"""Characters of ``body_contains`` and of a pointer."""
LONGEST_VALUE = 8192
"""Characters of the value that a pointer is compared with, as JSON."""

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_ABSENT = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonValue:
    """A value that the body must have, as JSON, where an RFC 6901 pointer points."""

    pointer: str
    equals: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """The conditions of a success; all that are given must hold. ``statuses`` of ``None`` are 200 to 299."""

    statuses: tuple[int | str, ...] | None = None
    """Codes and classes such as ``"3xx"``."""
    body_contains: str | None = None
    json: JsonValue | None = None

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Success:
        """The rule of a mapping that was checked before; fields of other versions are left out."""
        statuses, value = fields.get("statuses"), fields.get("json")
        return cls(
            statuses=None if statuses is None else tuple(statuses),
            body_contains=fields.get("body_contains"),
            json=None if value is None else JsonValue(pointer=value["pointer"], equals=value["equals"]),
        )

    def to_mapping(self) -> dict[str, Any]:
        """The fields that are given, as JSON values."""
        fields: dict[str, Any] = {}
        if self.statuses is not None:
            fields["statuses"] = list(self.statuses)
        if self.body_contains is not None:
            fields["body_contains"] = self.body_contains
        if self.json is not None:
            fields["json"] = {"pointer": self.json.pointer, "equals": self.json.equals}
        return fields

    def problem(self, status: int, body: str) -> str | None:
        """Why an answer is no success, in words; ``None`` when it is one. ``body`` is what is stored of it."""
        if self.statuses is None:
            if not 200 <= status <= 299:
                return f"the status {status} is not 200 to 299"
        elif not is_among(status, self.statuses):
            return f"the status {status} is none of success.statuses"
        if self.body_contains is not None and self.body_contains not in body:
            return "the body does not have the text of success.body_contains"
        return None if self.json is None else _problem_with_json(self.json, body)


def check_success(rule: Success) -> None:
    """Check a rule that a person sets. Raises the ``VALIDATION_ERROR`` of ``success``."""
    if has_surrogate(json.dumps(rule.to_mapping(), ensure_ascii=False)):
        raise invalid("success", "half a surrogate pair (U+D800 to U+DFFF) is no character")
    if rule.json is None:
        return
    if not _POINTER.fullmatch(rule.json.pointer):
        raise invalid("success", "json.pointer must be a JSON pointer (RFC 6901): empty, or names that begin with /")
    if len(json.dumps(rule.json.equals)) > LONGEST_VALUE:
        raise invalid("success", f"json.equals must have at most {LONGEST_VALUE} characters")


def _problem_with_json(wanted: JsonValue, body: str) -> str | None:
    try:
        document = json.loads(body, parse_constant=_refuse)
        found = _at(document, wanted.pointer)
        is_equal = _equal(found, wanted.equals)
    except (ValueError, RecursionError):
        return "what is stored of the body is no JSON"
    if found is _ABSENT:
        return f'the body has nothing at "{wanted.pointer}" (success.json)'
    return None if is_equal else f'the body has another value at "{wanted.pointer}" (success.json)'


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _at(value: Any, pointer: str) -> Any:
    """The value that the pointer points to (RFC 6901); ``_ABSENT`` when there is none."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _INDEX.fullmatch(name) and len(name) < 9 and int(name) < len(value):
            value = value[int(name)]
        else:
            return _ABSENT
    return value


def _equal(one: Any, other: Any) -> bool:
    """Are both the same JSON value? 1 equals 1.0, and true does not equal 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
