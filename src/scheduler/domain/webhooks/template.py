"""Templates for the bodies of webhooks: text in which ``{{ name }}`` is replaced by a value.

There are no expressions and no loops, and rendering is linear in the size of the result, so templates of any author are
safe. ``{{{{`` is a literal ``{{``; a single ``{``, ``}`` or ``}}`` is itself, so that JSON needs no escaping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from scheduler.domain.characters import has_surrogate
from scheduler.domain.errors import invalid

NAMES: frozenset[str] = frozenset(
    {
        "job.id",
        "job.name",
        "account.id",
        "webhook.id",
        "execution.id",
        "run.id",
        "attempt",
        "scheduled_at",
        "fired_at",
        "trigger",
    }
)
"""The names that have a value."""

RESULT_LIMIT = 1_048_576
"""The size of a rendered template, in bytes of UTF-8."""

Value = str | int | None

_CACHED_LENGTH = 16_384
_OPENING = re.compile(r"\{\{(?:(?P<literal>\{\{)|[ \t]*(?P<name>[A-Za-z0-9_.]+)[ \t]*\}\})?")


def check_template(text: str, field: str = "body_template") -> None:
    """Check that a template can be rendered: known names, each in closed braces, and no lone surrogates.

    Raises the ``VALIDATION_ERROR`` of ``field``.
    """
    if has_surrogate(text):
        raise invalid(field, "half a surrogate pair (U+D800 to U+DFFF) is no character and cannot be sent")
    if _size(text) > RESULT_LIMIT:
        raise invalid(field, f"at most {RESULT_LIMIT} bytes, not {_size(text)}")
    for match in _OPENING.finditer(text):
        if match["literal"]:
            continue
        if match["name"] is None:
            raise invalid(
                field,
                f"the {{{{ at character {match.start() + 1} is not followed by a name and }}}}, as in {{{{ attempt }}}}"
                "; a literal {{ is written {{{{",
            )
        if match["name"] not in NAMES:
            raise invalid(field, f'there is no name "{match["name"][:60]}"; known are: {", ".join(sorted(NAMES))}')


def render(text: str, values: Mapping[str, Value], *, as_json: bool) -> str:
    """The template with its names replaced by ``values``.

    With ``as_json`` a text is escaped as inside a JSON string, without quotes: ``"{{ job.name }}"`` is always a valid
    string. A number stays one, and ``None`` becomes ``null``. Otherwise values are inserted unchanged, and ``None`` is
    the empty text.

    Raises the ``VALIDATION_ERROR`` of ``body_template`` when the result would be larger than ``RESULT_LIMIT``, and
    ``KeyError`` for a name that ``check_template`` refuses.
    """
    parts = parts_of(text)
    if len(parts) == 1:
        return parts[0]
    pieces = list(parts)
    for position in range(1, len(parts), 2):
        pieces[position] = _written(values[parts[position]], as_json=as_json)
    if sum(map(len, pieces)) > RESULT_LIMIT or _size(rendered := "".join(pieces)) > RESULT_LIMIT:
        raise invalid("body_template", f"the body would be larger than {RESULT_LIMIT} bytes")
    return rendered


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def parts_of(text: str) -> tuple[str, ...]:
    """The template as its parts: literal, name, literal, name … literal."""
    return _cached_parts(text) if len(text) <= _CACHED_LENGTH else _parts(text)


def _parts(text: str) -> tuple[str, ...]:
    parts: list[str] = []
    literal, end = "", 0
    for match in _OPENING.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match["name"] is None:
            literal += "{{"
        else:
            parts += (literal, match["name"])
            literal = ""
    parts.append(literal + text[end:])
    return tuple(parts)


_cached_parts = lru_cache(maxsize=1024)(_parts)
_in_json_string = json.encoder.encode_basestring


def _written(value: Value, *, as_json: bool) -> str:
    if not as_json:
        return "" if value is None else str(value)
    if isinstance(value, str):
        return _in_json_string(value)[1:-1]
    return "null" if value is None else str(value)
