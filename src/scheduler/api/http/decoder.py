"""The one reader of request bodies: it turns bytes from strangers into a JSON object, or refuses them with a reason.

Stricter than RFC 8259 has to be: an object at the top, no duplicate keys, no NaN or infinity, bounded depth, digits,
size and time, and no text that a database cannot hold (NUL, lone surrogates).
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
BODY_TIME_S = 10.0
"""How long the whole body may take to arrive."""


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body.

    Raises ``SchedulerError``: UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, REQUEST_TIMEOUT, or VALIDATION_ERROR for
    what is no JSON object in the sense above.
    """
    _require_json(request)
    _require_length(request)
    _continue(request)
    return decode(await _read(request))


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` spells; raises ``SchedulerError`` VALIDATION_ERROR when that is something else."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(BODY, f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise invalid(BODY, f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise invalid(BODY, "a JSON object is needed, such as {}")
    # Only an escape can bring in a NUL or half a surrogate pair, and only many brackets can nest deeply.
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        _inspect(value, "", 1)
    return value


def _require_json(request: web.Request) -> None:
    media_type = request.content_type
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", f"the body must be application/json, not {media_type}")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", "the body must be UTF-8: name no charset, or utf-8")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise SchedulerError("UNSUPPORTED_MEDIA_TYPE", "compressed bodies are not read: send no Content-Encoding")


def _require_length(request: web.Request) -> None:
    if (request.content_length or 0) > request.client_max_size:
        raise _too_large(request)


def _continue(request: web.Request) -> None:
    """Answer ``Expect: 100-continue`` now that token, type and length are in order (RFC 9110, section 10.1.1)."""
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
        # nobody is left to read this, but it is not our defect either
        raise invalid(BODY, "the connection was lost before the whole body had arrived") from None
    except web.RequestPayloadError as error:
        raise invalid(BODY, f"the transfer is malformed: {str(error)[:100]}") from None


def _too_large(request: web.Request) -> SchedulerError:
    return SchedulerError("PAYLOAD_TOO_LARGE", f"the body may have {request.client_max_size} bytes at most")


def _too_deep() -> SchedulerError:
    return invalid(BODY, f"nested too deeply: at most {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # which of two values counts differs from parser to parser: an attacker's opportunity
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


def _inspect(value: Any, path: str, depth: int) -> None:
    """Refuse what no database text can hold, and nesting beyond the limit."""
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
                _inspect(key, path, depth + 1)
            _inspect(inner, f"{path}.{shown_name(str(key))}" if path else shown_name(str(key)), depth + 1)
