"""Fields of JSON bodies. Types are exact: ``"1"`` and ``true`` are no numbers, and nothing is rounded or trimmed.

A field turns JSON into a value of the domain (an instant, a tuple) and says in words what would be right.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from scheduler.domain.clock import MAX_INSTANT, Instant, parse_instant

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
# C0 and C1 controls, and what changes the order in which a text is shown (bidirectional overrides and isolates)
_UNPRINTABLE = "\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069"
_ONE_LINE = re.compile(f"[{_UNPRINTABLE}]")
ONE_LINE_PATTERN = f"^[^{_UNPRINTABLE}]*$"
_NOT_BLANK_PATTERN = f"^[^{_UNPRINTABLE}]*[^\\s{_UNPRINTABLE}][^{_UNPRINTABLE}]*$"
MOST_ERRORS = 50
"""Wrong entries of one list that are told."""
_MOST_MARKS = 8
"""Combining marks in a row at most. Real scripts need about four; more cover the lines above and below."""


Words = tuple[str, ...] | type[StrEnum]


def words_of(words: Words) -> tuple[str, ...]:
    """The words themselves, or the values of the enum."""
    return words if isinstance(words, tuple) else tuple(member.value for member in words)


def canonical_id(text: str) -> str | None:
    """The UUID in lower case with its hyphens (RFC 9562, section 4), or ``None`` for another text."""
    return text.lower() if _UUID.fullmatch(text) else None


def integral(value: Any) -> Any:
    """5.0 as the integer 5: JSON has one kind of number, and JSON Schema agrees. Anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Body(Schema):
    """A JSON object in a request. A field that the schema does not have is refused by name."""

    body_optional = False
    one_of: tuple[str, ...] = ()
    """Exactly one of these fields must be given; for the OpenAPI document only."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        known = ", ".join(sorted(field.data_key or name for name, field in self.load_fields.items()))
        self.error_messages["unknown"] = (
            f"no such field; known are {known}" if known else "no such field: none is known"
        )
        self.error_messages["type"] = "must be a JSON object"
        for field in self.load_fields.values():
            field.error_messages |= {"required": "missing: this field is needed", "null": "must not be null"}


class Text(fields.String):
    """A text of ``shortest`` to ``longest`` characters, without line breaks unless ``lines``."""

    def __init__(
        self,
        *,
        shortest: int = 0,
        longest: int,
        lines: bool = False,
        pattern: str | None = None,
        wanted: str = "",
        **options: Any,
    ) -> None:
        metadata = {"minLength": shortest, "maxLength": longest, **options.pop("metadata", {})}
        if pattern or not lines:
            metadata.setdefault("pattern", f"^(?:{pattern})$" if pattern else ONE_LINE_PATTERN)
        super().__init__(metadata=metadata, **options)
        self._shortest, self._longest, self._lines = shortest, longest, lines
        self._pattern = re.compile(pattern) if pattern else None
        self._wanted = wanted

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        if not self._shortest <= len(value) <= self._longest:
            raise ValidationError(f"must have {self._shortest} to {self._longest} characters, not {len(value)}")
        if "\0" in value or (not self._lines and not (value.isascii() and value.isprintable())):
            self._check_characters(value)
        if self._pattern and not self._pattern.fullmatch(value):
            raise ValidationError(f"must be {self._wanted}")
        return value

    def _check_characters(self, value: str) -> None:
        if "\0" in value or (found := _ONE_LINE.search(value)):
            character = "\0" if "\0" in value else found.group() if found else ""
            raise ValidationError(f"contains {character!a}: control characters and bidirectional overrides are refused")
        marks = 0
        for character in value:
            marks = marks + 1 if unicodedata.combining(character) else 0
            if marks > _MOST_MARKS:
                raise ValidationError(f"more than {_MOST_MARKS} combining marks in a row")


class Name(Text):
    """A name for people: one line of 1 to 255 characters, not all of them blank; stored as it is given."""

    def __init__(self, **options: Any) -> None:
        metadata = {"pattern": _NOT_BLANK_PATTERN, **options.pop("metadata", {})}
        super().__init__(shortest=1, longest=255, metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        name = super()._deserialize(value, attr, data, **kwargs)
        if name.isspace():
            raise ValidationError("must not be blank")
        return name


class DomainText(fields.String):
    """A text in a language of the domain (a schedule, a URL, a template), which checks it, length included."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        return value


class Choice(fields.String):
    """One of ``words``, in exactly this case; becomes a member of ``words`` where that is an enum."""

    def __init__(self, words: Words, **options: Any) -> None:
        self._members = {} if isinstance(words, tuple) else {member.value: member for member in words}
        super().__init__(validate=validate.OneOf(words_of(words), error="must be one of {choices}"), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        return self._members.get(value, value)


class Flag(fields.Boolean):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Whole(fields.Integer):
    """A whole number from ``least`` to ``most``."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most, **options.pop("metadata", {})}, **options)
        self._least, self._most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        value = integral(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self._least <= value <= self._most:
            raise ValidationError(f"must be a whole number from {self._least} to {self._most}")
        return value


class Number(fields.Float):
    """A number from ``least`` to ``most``."""

    def __init__(self, least: float, most: float, **options: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most, **options.pop("metadata", {})}, **options)
        self._least, self._most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self._least <= value <= self._most:
            raise ValidationError(f"must be a number from {self._least:g} to {self._most:g}")
        return value


class StatusOrWord(fields.Field[Any]):
    """A status code from ``least`` to 599, or one of ``words``, such as a class of codes."""

    def __init__(self, least: int, words: tuple[str, ...], **options: Any) -> None:
        forms = [{"enum": list(words)}, {"type": "integer", "minimum": least, "maximum": 599}]
        super().__init__(metadata={"anyOf": forms}, **options)
        self._least, self._words = least, words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str | int:
        value = integral(value)
        if isinstance(value, str) and value in self._words:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and self._least <= value <= 599:
            return value
        raise ValidationError(f"must be a status from {self._least} to 599 or one of {', '.join(self._words)}")


class Time(fields.String):
    """An RFC 3339 time; becomes an instant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "date-time", **options.pop("metadata", {})}, **options)

    def _deserialize(  # type: ignore[override]
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Instant:
        if not isinstance(value, str):
            raise ValidationError("must be a text such as 2026-12-24T18:00:00Z")
        try:
            instant = parse_instant(value)
        except (ValueError, OverflowError) as error:
            raise ValidationError(str(error)) from None
        if not 0 <= instant <= MAX_INSTANT:
            raise ValidationError("must lie between the years 1970 and 9999")
        return instant


class Id(fields.String):
    """A UUID, in any case; becomes lower case."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "uuid", **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        found = canonical_id(value) if isinstance(value, str) else None
        if found is None:
            raise ValidationError(f"must be a UUID such as {_EXAMPLE_ID}")
        return found


class TextMap(fields.Dict):
    """An object whose values are texts. The domain checks what they contain; the patterns document it."""

    def __init__(self, *, most: int, names: str | None = None, texts: str | None = None, **options: Any) -> None:
        metadata = {"maxProperties": most, **options.pop("metadata", {})}
        if names:
            metadata["propertyNames"] = {"pattern": names}
        text = fields.String(metadata={"pattern": texts} if texts else {})
        super().__init__(keys=fields.String(), values=text, metadata=metadata, **options)
        self._most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object of texts")
        if len(value) > self._most:
            raise ValidationError(f"must have at most {self._most} entries, not {len(value)}")
        wrong = {name: ["must be a text"] for name, text in value.items() if not isinstance(text, str)}
        if wrong:
            raise ValidationError(wrong)
        return value


class Items(fields.List[Any]):
    """A list of ``fewest`` to ``most`` values; becomes a tuple. Checking ends with ``MOST_ERRORS`` wrong ones."""

    def __init__(self, item: fields.Field[Any], *, fewest: int = 0, most: int, **options: Any) -> None:
        metadata = {"minItems": fewest, "maxItems": most, **options.pop("metadata", {})}
        super().__init__(item, metadata=metadata, **options)
        item.error_messages["null"] = "must not be null"
        self._fewest, self._most = fewest, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise ValidationError("must be a list")
        if not self._fewest <= len(value) <= self._most:
            raise ValidationError(f"must have {self._fewest} to {self._most} entries, not {len(value)}")
        found: list[Any] = []
        errors: dict[int, Any] = {}
        for position, one in enumerate(value):
            try:
                found.append(self.inner.deserialize(one, **kwargs))
            except ValidationError as error:
                errors[position] = error.messages
                if len(errors) == MOST_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return tuple(found)


class Part(fields.Nested):
    """An object inside an object."""


_EXAMPLE_ID = uuid.UUID(int=0x0198C0DE_0000_7000_8000_000000000001)


def invalid_field(field: str, reason: str) -> ValidationError:
    """The error of one field, for a check of several fields together."""
    return ValidationError({field: [reason]})


MOST_AT_ONCE = 1_000
"""Jobs in one bulk request, ids in one selection."""
