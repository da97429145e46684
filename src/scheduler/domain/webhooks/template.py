"""Templates of webhooks: texts in which ``{{ name }}`` is replaced by a value, encoded for its context.

There are no expressions and no loops, and rendering is linear in the size of the result, so templates of any author are
safe. ``{{{{`` is a literal ``{{``; a single ``{``, ``}`` or ``}}`` is itself, so that JSON needs no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from scheduler.domain.characters import has_surrogate
from scheduler.domain.errors import invalid
from scheduler.domain.webhooks.contexts import DEEPEST, Context, Value, Writer, json_depths, writer_of

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

MOST_NAMES = 1000
"""``{{ }}`` and ``{{{{`` together in one template."""

_CACHED_LENGTH = 16_384
_OPENING = re.compile(r"\{\{(?:(?P<literal>\{\{)|[ \t]*(?P<name>[A-Za-z0-9_.]+)[ \t]*\}\})?")


def check_template(text: str, field: str = "body_template", *, context: Context = Context.TEXT) -> None:
    """Check that a template can be rendered: known names, each in closed braces, and no lone surrogates.

    Raises the ``VALIDATION_ERROR`` of ``field``.
    """
    if has_surrogate(text):
        raise invalid(field, "half a surrogate pair (U+D800 to U+DFFF) is no character and cannot be sent")
    if _size(text) > RESULT_LIMIT:
        raise invalid(field, f"at most {RESULT_LIMIT} bytes, not {_size(text)}")
    for number, match in enumerate(_OPENING.finditer(text)):
        if number == MOST_NAMES:
            raise invalid(field, f"at most {MOST_NAMES} times {{{{ in one template")
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
    if max(_depths(text, context), default=0) > DEEPEST:
        raise invalid(field, f"a name stands in JSON in a string of JSON, and so on, more than {DEEPEST} deep")


def escaped(text: str) -> str:
    """A template text that is rendered as ``text``: its ``{{`` are escaped."""
    return text.replace("{{", "{{{{")


def without_blanks(url: str) -> str:
    """The URL with ``{{name}}`` for ``{{ name }}``, so that every blank left in it is one of the URL."""
    return _OPENING.sub(lambda match: f"{{{{{match['name']}}}}}" if match["name"] else match[0], url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A template for one context, or for several one after the other."""

    parts: tuple[str, ...]
    """Literal, name, literal, name … literal; the literals as they are sent."""
    names: tuple[tuple[str, Writer], ...]
    """The names, with what encodes their values."""

    def render(self, values: Mapping[str, Value], *, field: str = "body_template", limit: int = RESULT_LIMIT) -> str:
        """The template with its names replaced by ``values``.

        Raises the ``VALIDATION_ERROR`` of ``field`` when the result would be larger than ``limit`` bytes, and
        ``KeyError`` for a name that ``check_template`` refuses.
        """
        if not self.names:
            return self.parts[0]
        pieces = list(self.parts)
        encoded: dict[tuple[str, Writer], str] = {}  # once for each name, however often it is there
        for position, named in enumerate(self.names):
            text = encoded.get(named)
            if text is None:
                name, write = named
                text = encoded[named] = write(values[name])
            pieces[2 * position + 1] = text
        if sum(map(len, pieces)) > limit or _size(rendered := "".join(pieces)) > limit:
            raise invalid(field, f"what is sent would be larger than {limit} bytes")
        return rendered


def unchanged(text: str) -> Template:
    """A template without names, which is rendered as ``text``."""
    return Template(parts=(text,), names=())


def joined(templates: Iterable[Template]) -> Template:
    """One template of several, one after the other."""
    parts: list[str] = [""]
    names: list[tuple[str, Writer]] = []
    for template in templates:
        parts[-1] += template.parts[0]
        parts += template.parts[1:]
        names += template.names
    return Template(parts=tuple(parts), names=tuple(names))


def compiled(text: str, context: Context) -> Template:
    """The template of a text that is checked; compiled once."""
    return (_compiled_short if len(text) <= _CACHED_LENGTH else _compiled_long)(text, context)


def _compile(text: str, context: Context) -> Template:
    parts = parts_of(text)
    writers = [writer_of(context, min(depth, DEEPEST)) for depth in _depths(text, context)]
    return Template(
        parts=tuple(part if number % 2 else context.literal(part) for number, part in enumerate(parts)),
        names=tuple(zip(parts[1::2], writers, strict=True)),
    )


@lru_cache(maxsize=16)
def _depths(text: str, context: Context) -> tuple[int, ...]:
    """As ``json_depths``; kept for a moment, since a template is checked several times before it is stored."""
    return json_depths(parts_of(text), context)


_compiled_short = lru_cache(maxsize=2048)(_compile)
_compiled_long = lru_cache(maxsize=16)(_compile)  # few, since each may have a megabyte


def parts_of(text: str) -> tuple[str, ...]:
    """The template as its parts: literal, name, literal, name … literal."""
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


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
