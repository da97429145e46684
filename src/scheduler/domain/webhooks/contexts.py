"""The syntaxes in which a template puts values (JSON, a query, XML …), and how a value is encoded in each of them.

An encoded value cannot end the string, field or element that it stands in. JSON in a string of JSON, in a field of a
form or a query, or in a header is a context within a context: a value is escaped for the inner one first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from urllib.parse import quote, unquote_plus

Value = str | int | None
Writer = Callable[[Value], str]

DEEPEST = 4
"""How deep JSON may stand in strings of JSON around a name: each level doubles the backslashes."""

_MARK = "\ufdd0"
"""Stands for a name while its context is looked for: no character, and the same in every encoding below."""
# An unterminated string goes to the end of the text, so that looking for strings stays linear.
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
# What comes before the next name outside of strings, or the next string that has one.
_WITHOUT_NAMES = re.compile(rf'(?:[^"{_MARK}]++|"[^"\\{_MARK}]*+(?:\\[^{_MARK}][^"\\{_MARK}]*+)*+")*+', re.DOTALL)
_BEGINNING_OF_JSON = re.compile(r'\s*+(?:\{\s*+["}]|\[\s*+["{\[\]tfn0-9-])')
_PARSED_LENGTH = 65_536
"""Whether a longer text is JSON is decided by its beginning and end, since parsing it takes long."""
_FIELD_END = re.compile("[&=]")
_CDATA = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)", re.DOTALL)
# All but what RFC 3986 allows in a path or query; a percent sign is encoded unless two hex digits follow it.
_TO_ENCODE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_IN_MARKUP = re.compile("[&<>\"'\t\n\r]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class Context(Enum):
    """The part of a request that a template is; the value describes it."""

    TEXT = "a body of another type, sent as it is"
    JSON = "a body of JSON"
    FORM = "a body of a form"
    XML = "a body of XML"
    HTML = "a body of HTML"
    PATH = "the path of a URL"
    QUERY = "the query of a URL"
    PARAMETER = "a name or value of query_params"
    HEADER = "the value of a header"

    def literal(self, text: str) -> str:
        """A part of the template that is no name, as it is sent."""
        if self in (Context.PATH, Context.QUERY):
            return encode_url(text)
        return quote(text, safe="") if self is Context.PARAMETER else text


def encode_url(text: str) -> str:
    """A path or query with the characters percent-encoded that cannot stand in one."""
    return _TO_ENCODE.sub(lambda match: quote(match[0], safe=""), text)


def body_context(content_type: str) -> Context:
    """The context of names in a body of this media type."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return Context.JSON
    if media_type == "application/x-www-form-urlencoded":
        return Context.FORM
    if media_type in ("application/xml", "text/xml") or media_type.endswith("+xml"):
        return Context.XML
    return Context.HTML if media_type == "text/html" else Context.TEXT


@lru_cache(maxsize=64)
def writer_of(context: Context, depth: int) -> Writer:
    """What encodes a value for ``context``, first ``depth`` times as inside a string of JSON.

    A text is escaped without quotes there: ``"{{ job.name }}"`` is always a valid string. A number stays one, and
    ``None`` becomes ``null``. Elsewhere ``None`` is the empty text. A depth of -1 is a section of CDATA.
    """
    encode = _cdata if depth < 0 else _ENCODINGS.get(context, str)
    if context is Context.JSON and depth == 1:
        return _in_json

    def write(value: Value) -> str:
        if value is None:
            return "null" if depth > 0 else ""
        if isinstance(value, int):
            return str(value)
        for _ in range(depth):
            value = _in_json_string(value)[1:-1]
        return encode(value)

    return write


_in_json_string = json.encoder.encode_basestring


def _in_json(value: Value) -> str:
    """The same for JSON at depth 1, which most templates need, in one call."""
    if isinstance(value, str):
        return _in_json_string(value)[1:-1]
    return "null" if value is None else str(value)


def _in_path(value: str) -> str:
    return value.replace(".", "%2E") if value in (".", "..") else quote(value, safe="")


def _in_markup(value: str) -> str:
    """Line breaks and tabs as references, because in an attribute they would become spaces."""
    text = _NOT_XML.sub("\ufffd", value)
    return _IN_MARKUP.sub(lambda match: _ENTITIES.get(match[0]) or f"&#{ord(match[0])};", text)


def _cdata(value: str) -> str:
    """CDATA has no entities, so ``]`` and ``>`` end the section that they stand in and begin another."""
    split = re.sub(r"\]|>", lambda m: "]]]><![CDATA[" if m[0] == "]" else "]]><![CDATA[>", value)
    return _NOT_XML.sub("\ufffd", split)


def _in_header(value: str) -> str:
    """UTF-8 in the form in which headers are sent, one character a byte."""
    return _CONTROLS.sub(" ", value).encode().decode("latin-1")


_ENCODINGS: dict[Context, Callable[[str], str]] = {
    Context.FORM: lambda value: quote(value, safe=""),
    Context.XML: _in_markup,
    Context.HTML: _in_markup,
    Context.PATH: _in_path,
    Context.QUERY: lambda value: quote(value, safe=""),
    Context.PARAMETER: lambda value: quote(value, safe=""),
    Context.HEADER: _in_header,
}


def json_depths(parts: Sequence[str], context: Context) -> tuple[int, ...]:
    """In how many strings of JSON, one within the other, each name of a template in ``context`` stands.

    ``parts`` are those of the template, every other a name. -1 is a section of CDATA.
    """
    names = len(parts) // 2
    if not names or context in (Context.TEXT, Context.HTML, Context.PATH):
        return (0,) * names
    text = _MARK.join(parts[::2])
    if text.count(_MARK) != names:
        return (int(context is Context.JSON),) * names
    return tuple(_depths(text, context))


def _depths(text: str, context: Context) -> Iterator[int]:
    if context is Context.JSON:
        # without a backslash no string has the quotes that JSON needs
        yield from _depths_in_json(text, 1) if "\\" in text else [1] * text.count(_MARK)
    elif context is Context.XML:
        yield from _depths_in_xml(text)
    elif context in (Context.FORM, Context.QUERY):
        for field in _fields_with_names(text):
            yield from _depths_in_field(field, unquote_plus(field))
    else:
        yield from _depths_in_field(text, text)


def _fields_with_names(text: str) -> Iterator[str]:
    """The names and values of a form or query that have names of the template, among perhaps many others."""
    end = 0
    while (mark := text.find(_MARK, end)) >= 0:
        start = max(text.rfind("&", end, mark), text.rfind("=", end, mark), end - 1) + 1
        following = _FIELD_END.search(text, mark)
        end = len(text) if following is None else following.start()
        yield text[start:end]


def _depths_in_json(text: str, outside: int) -> Iterator[int]:
    """``outside`` is the depth of names that stand in no string."""
    end = 0
    while (skipped := _WITHOUT_NAMES.match(text, end)) is not None and (end := skipped.end()) < len(text):
        string = _JSON_STRING.match(text, end)
        if string is None:
            yield outside
            end += len(_MARK)
        else:
            yield from _depths_in_string(string[0])
            end = string.end()


def _depths_in_xml(text: str) -> Iterator[int]:
    end = 0
    for section in _CDATA.finditer(text):
        yield from [0] * text.count(_MARK, end, section.start())
        yield from [-1] * section[0].count(_MARK)
        end = section.end()
    yield from [0] * text.count(_MARK, end)


def _depths_in_string(string: str) -> Sequence[int]:
    try:
        inner = str(json.loads(string, strict=False)) if "\\" in string else ""
    except ValueError:
        inner = ""
    return [1 + depth for depth in _depths_in_field(string, inner)]


def _depths_in_field(field: str, decoded: str) -> Sequence[int]:
    """The depths in a text that is JSON or none; ``decoded`` is what ``field`` means."""
    marks = field.count(_MARK)
    if marks and decoded.count(_MARK) == marks and _is_json(decoded):
        return list(_depths_in_json(decoded, 0))
    return [0] * marks


def _is_json(text: str) -> bool:
    """Is it an object or a list of JSON, whatever its names stand for?"""
    if not _BEGINNING_OF_JSON.match(text.replace(_MARK, "1", 1)):
        return False
    if len(text) > _PARSED_LENGTH:
        return text.rstrip()[-1] in "}]"
    try:
        json.loads(text.replace(_MARK, "1"), strict=False)
    except (ValueError, RecursionError):
        return False
    return True
