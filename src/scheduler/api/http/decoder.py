"""Reads request bodies: a JSON object (RFC 8259), or an error that says why it is none.

Stricter than the RFC: the value is an object, names are unique, numbers are finite; depth, digits, members,
size and time are limited; texts have no NUL and no lone surrogate, which a database cannot store.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from typing import Any

from aiohttp import hdrs, web

from scheduler.api.http.errors import BODY, shown_name
from scheduler.domain.characters import has_surrogate
from scheduler.domain.errors import SchedulerError, invalid

MAX_DEPTH = 64
MAX_DIGITS = 400
"""Digits in one number; the largest float has 309 before its point."""
MOST_BRACKETS = 20_000
"""Objects and lists in one body; a job with all of its fields has twelve."""
MOST_MEMBERS = 2_000
"""Members of one object; no object of a request has room for more."""
BODY_TIME_S = 10.0
"""How long the whole body may take to arrive."""


async def read_body(request: web.Request) -> bytes:
    """The body, which its headers call JSON in UTF-8.

    Raises ``SchedulerError``: UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, REQUEST_TIMEOUT, or VALIDATION_ERROR for
    a transfer that is malformed.
    """
    _check_media_type(request)
    _check_length(request)
    _continue(request)
    return await _read(request)


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises ``VALIDATION_ERROR`` for anything else.

    A megabyte takes up to a second, so a large body is decoded in a thread.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(BODY, f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    _check_brackets(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise invalid(BODY, f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise invalid(BODY, "a JSON object is needed, such as {}")
    # checked only where it can fail: NUL and half a surrogate pair need an escape, deep nesting needs many brackets
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        _check_value(value, "", 1)
    return value


def _check_media_type(request: web.Request) -> None:
    media_type = request.content_type
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", f"the body must be application/json, not {media_type}")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", "the body must be UTF-8: name no charset, or utf-8")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", "compressed bodies are not read: send no Content-Encoding")


def _check_length(request: web.Request) -> None:
    if (request.content_length or 0) > request.client_max_size:
        raise _too_large(request)


def _continue(request: web.Request) -> None:
    """Answer ``Expect: 100-continue``, once token, media type and length are checked (RFC 9110, section 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIME_S):
            return await request.read()
    except TimeoutError:
        raise SchedulerError("REQUEST_TIMEOUT", f"the body did not arrive within {BODY_TIME_S:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request) from None
    except ConnectionResetError:
        # the client is gone and will not read this answer; it is raised so that this does not count as a defect
        raise invalid(BODY, "the connection was lost before the whole body had arrived") from None
    except web.RequestPayloadError as error:
        raise invalid(BODY, f"the transfer is malformed: {str(error)[:100]}") from None


def _too_large(request: web.Request) -> SchedulerError:
    return SchedulerError("PAYLOAD_TOO_LARGE", f"the body may have {request.client_max_size} bytes at most")


def _check_brackets(text: str) -> None:
    """Refuse too many objects and lists before they are made: the collector of garbage stops all threads for them."""
    if text.count("{") + text.count("[") <= MOST_BRACKETS:
        return
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    found = outside.count("{") + outside.count("[")
    if found > MOST_BRACKETS:
        raise invalid(BODY, f"{found} objects and lists: at most {MOST_BRACKETS}")


def _too_deep() -> SchedulerError:
    return invalid(BODY, f"nested too deeply: at most {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise invalid(BODY, f"an object with {len(pairs)} members: at most {MOST_MEMBERS}")
    members = dict(pairs)
    if len(members) != len(pairs):
        # parsers differ in which of two values they take, which an attacker can use
        counts = Counter(name for name, _ in pairs)
        raise invalid(shown_name(counts.most_common(1)[0][0]), "given more than once in one object")
    return members


def _whole(digits: str) -> int:
    return int(_bounded(digits))


def _fraction(digits: str) -> float:
    number = float(_bounded(digits))
    if not math.isfinite(number):
        raise invalid(BODY, f"{digits[:40]} is beyond the range of a number")
    return number


def _constant(name: str) -> float:
    raise invalid(BODY, f"{name} is not a JSON number")


def _bounded(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise invalid(BODY, f"a number of {len(digits)} digits: at most {MAX_DIGITS}")
    return digits


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)


def _check_value(value: Any, path: str, depth: int) -> None:
    """Raises ``VALIDATION_ERROR`` for texts that no database can store, and for nesting beyond the limit."""
    if isinstance(value, str):
        if "\0" in value:
            raise invalid(path or BODY, "contains a NUL character")
        if has_surrogate(value):
            raise invalid(path or BODY, "contains half of a surrogate pair, which is not a character")
        return
    if isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise _too_deep()
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                _check_value(key, path, depth + 1)
            _check_value(inner, f"{path}.{shown_name(str(key))}" if path else shown_name(str(key)), depth + 1)
