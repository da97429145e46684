"""Instants: whole numbers of microseconds since 1970-01-01T00:00:00Z, and their forms as text and ``datetime``.

Integers are compared, subtracted and stored exactly, and have no time zone. Other forms are used only here, and in
``domain.schedule``, which computes with local times.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

Instant = int
"""Epoch microseconds, UTC."""

SECOND = 1_000_000
"""One second as an instant counts it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
MAX_INSTANT = 253_402_300_799 * SECOND
"""9999-12-31T23:59:59Z, the last second that RFC 3339 can write."""


class NoSuchTimeError(ValueError):
    """A text has the form of a time, but the calendar or the clock has no such time: 30 February, 25:00."""


class Clock(Protocol):
    """Reads the current time. Tests have one that they set."""

    def now(self) -> Instant:
        """The current time."""
        ...


class SystemClock:
    """The clock of the machine. Nothing else in the product reads it."""

    def now(self) -> Instant:
        return time.time_ns() // 1000


def seconds(duration_s: float) -> int:
    """A duration of ``duration_s`` in microseconds, rounded."""
    return round(duration_s * SECOND)


def to_datetime(instant: Instant) -> datetime:
    """The instant as an aware UTC ``datetime``."""
    return _EPOCH + timedelta(microseconds=instant)


def from_datetime(moment: datetime) -> Instant:
    """The instant of an aware ``datetime``. Raises ``ValueError`` for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime is not an instant")
    return (moment - _EPOCH) // _MICROSECOND


def format_instant(instant: Instant) -> str:
    """The instant in RFC 3339, in UTC with ``Z``; with a fraction of up to six digits where it is not 0."""
    whole, fraction = divmod(instant, SECOND)
    year, month, day, hour, minute, second = time.gmtime(whole)[:6]
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else text + "Z"


def parse_instant(text: str) -> Instant:
    """Parse an RFC 3339 text with an offset; digits after the sixth of the fraction are ignored.

    Raises ``ValueError``, with a message for the author: ``NoSuchTimeError`` for a text of this form.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-12-24T18:00:00Z")
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        raise NoSuchTimeError(f"no such time: {error}") from None
    micros = int((fraction or ".0")[1:7].ljust(6, "0"))
    return from_datetime(moment) + micros
