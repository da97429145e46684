"""Turns an answer into an outcome: status, headers and body as they are stored, and the reason of a failure."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from aiohttp.hdrs import CONTENT_TYPE
from aiohttp.http import RawResponseMessage

from scheduler.domain.characters import escape_unprintable
from scheduler.domain.clock import SECOND, Instant, from_datetime
from scheduler.domain.jobs.retry import RETRY_AFTER_LIMIT_S
from scheduler.domain.runs.error_code import ErrorCode, error_line
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.success import Success

LONGEST_ERROR = 300
STORED_HEADERS_LIMIT = 16_384
"""Bytes of names and values; headers beyond them are not stored."""

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?(?P<name>[A-Za-z0-9][A-Za-z0-9._:+-]{0,39})", re.IGNORECASE | re.ASCII)
# Python's codecs include what is no charset of an answer (idna, punycode, unicode_escape), partly slow, and UTF-7.
_CHARSETS = (
    *("utf-8", "utf-16", "utf-32", "ascii", "iso8859-", "cp125", "cp43", "cp85", "cp86", "cp874", "cp93", "cp949"),
    *("cp950", "koi8-", "mac-", "tis-620", "big5", "euc_", "gb", "shift_jis", "johab", "hz", "iso2022_"),
)
_WITH_MARK = {"utf-16": (b"\xff\xfe", b"\xfe\xff"), "utf-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff")}
"""Charsets whose incremental decoders need a byte order mark, and the marks."""
_ESCAPED_AT_A_TIME = 4096
"""Bytes; escaping 64 KiB takes 20 to 30 ms."""
_SECONDS = re.compile(r"[0-9]+", re.ASCII)


class Body(NamedTuple):
    """What was read of a body."""

    stored: bytes
    is_complete: bool
    """Is what is stored all of it?"""
    has_ended: bool


CodeAndText = tuple[ErrorCode, str]
"""The code of a failure, and its text."""


def outcome_of(
    message: RawResponseMessage,
    text: str,
    *,
    is_complete: bool,
    success: Success | None,
    warnings: tuple[str, ...],
    now: Instant,
    failure: CodeAndText | None = None,
) -> Outcome:
    """The outcome of an answer whose header block is complete; ``text`` is its body, by ``text_of``.

    ``success`` are the conditions of a success; with a ``failure`` it is none, whatever they are.
    """
    status = message.code
    answered = Outcome(
        response_code=status,
        response_headers=_stored_headers(message.raw_headers),
        response_body=text,
        body_truncated=not is_complete,
        warnings=warnings,
    )
    if failure is None:
        failure = _failure(message) if success is None else _unexpected(success, message, text)
    if failure is None:
        return answered
    code, reason = failure
    return replace(
        answered,
        error_code=code,
        error_text=failed(code, reason, response_code=status).error_text,
        retry_after_s=_retry_after_s(message, now) if status in (429, 503) else None,
    )


def _content_type(message: RawResponseMessage) -> str | None:
    """The value of ``Content-Type``; ``None`` where the body is compressed and so no text."""
    return message.headers.get(CONTENT_TYPE) if message.compression is None else None


def failed(code: ErrorCode, text: str, *, response_code: int | None = None, put_off: bool = False) -> Outcome:
    """A failure whose error is one line of printable characters, 300 at most with its code."""
    room = LONGEST_ERROR - len(error_line(code, "", response_code=response_code)) - 1
    return Outcome(error_code=code, error_text=_one_line(text, room), response_code=response_code, put_off=put_off)


def _one_line(text: str, longest: int) -> str:
    line = escape_unprintable(_BREAKS.sub(" ", text).strip())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _failure(message: RawResponseMessage) -> CodeAndText | None:
    status = message.code
    if 200 <= status <= 299:
        return None
    location = message.headers.get("Location")
    if 300 <= status <= 399 and location is not None:
        return ErrorCode.HTTP, not_followed(location)
    return ErrorCode.HTTP, message.reason or _phrase(status)


def not_followed(location: str) -> str:
    return f"redirect to {location[: LONGEST_ERROR // 2]} not followed"


def _unexpected(success: Success, message: RawResponseMessage, body: str) -> CodeAndText | None:
    problem = success.problem(message.code, body)
    if problem is None:
        return None
    location = message.headers.get("Location")
    redirect = f"; {not_followed(location)}" if 300 <= message.code <= 399 and location is not None else ""
    return ErrorCode.UNEXPECTED_ANSWER, problem + redirect


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _stored_headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    room = STORED_HEADERS_LIMIT
    for raw_name, raw_value in raw_headers:
        room -= len(raw_name) + len(raw_value)
        if room < 0:
            break
        name, value = _escaped(raw_name), _escaped(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _escaped(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


async def text_of(message: RawResponseMessage, body: Body) -> str:
    """The body as text that any database takes, truncated between characters.

    Decoded by the charset of ``Content-Type``, by UTF-8 when it names none; what is no text by that is escaped, and so
    is NUL. Escaping is done in slices of a few milliseconds, to its end even where the task is cancelled.
    """
    if not body.stored:
        return ""
    content_type = _content_type(message)
    charset = _charset(content_type) if content_type is not None and "=" in content_type else "utf-8"
    try:
        text = body.stored.decode(charset)
    except UnicodeDecodeError:
        text = await _escaped_text(body, charset)
    return text.replace("\0", "\\x00")


async def _escaped_text(body: Body, charset: str) -> str:
    if charset in _WITH_MARK and not body.stored.startswith(_WITH_MARK[charset]):
        charset += "-le"  # as the decoder supposes that needs no mark
    decoder = codecs.getincrementaldecoder(charset)("backslashreplace")
    pieces: list[str] = []
    for start in range(0, len(body.stored), _ESCAPED_AT_A_TIME):
        pieces.append(decoder.decode(body.stored[start : start + _ESCAPED_AT_A_TIME]))
        with contextlib.suppress(asyncio.CancelledError):  # the answer is here, and is recorded
            await asyncio.sleep(0)
    return "".join((*pieces, decoder.decode(b"", final=body.is_complete)))


@lru_cache(maxsize=256)
def _charset(content_type: str) -> str:
    """The charset that is named; UTF-8 for one that is unknown, or that is no character set but a transformation."""
    match = _CHARSET.search(content_type)
    if match is None:
        return "utf-8"
    try:
        name = codecs.lookup(match["name"]).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.startswith(_CHARSETS) else "utf-8"


def _retry_after_s(message: RawResponseMessage, now: Instant) -> float | None:
    """Seconds to wait as ``Retry-After`` (RFC 9110, 10.2.3) says, a number or a date; ``None`` for anything else."""
    text = message.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_LIMIT_S)
    try:
        moment: datetime = parsedate_to_datetime(text)
        instant = from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, (instant - now) / SECOND), RETRY_AFTER_LIMIT_S)
