"""Time as the product keeps it: an instant is a whole number of microseconds since 1970-01-01T00:00:00Z.

Integers compare, subtract and store exactly, and no zone can leak into them. Text and ``datetime`` exist only at
the edges: here, in the schedule module (which needs wall clocks) and nowhere else.
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


class Clock(Protocol):
    """Where the present comes from; tests set it by hand."""

    def now(self) -> Instant: ...


class SystemClock:
    """The wall clock of the machine: the only reader of the present time in the product."""

    def now(self) -> Instant:
        return time.time_ns() // 1000


def seconds(duration_s: float) -> int:
    """A duration in seconds as a difference of instants, rounded to the microsecond."""
    return round(duration_s * SECOND)


def to_datetime(instant: Instant) -> datetime:
    """The instant as an aware UTC ``datetime``."""
    return _EPOCH + timedelta(microseconds=instant)


def from_datetime(moment: datetime) -> Instant:
    """The instant of an aware ``datetime``; a naive one is a programming error."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime is not an instant")
    return (moment - _EPOCH) // _MICROSECOND


def format_instant(instant: Instant) -> str:
    """RFC 3339 in UTC with a trailing ``Z``; a fraction of up to six digits only when there is one."""
    whole, fraction = divmod(instant, SECOND)
    year, month, day, hour, minute, second = time.gmtime(whole)[:6]
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else text + "Z"


def parse_instant(text: str) -> Instant:
    """The instant of an RFC 3339 text with an offset; digits beyond the microsecond are dropped.

    Raises ``ValueError`` with a sentence when the text is something else or names a day that does not exist.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-12-24T18:00:00Z")
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        raise ValueError(f"no such time: {error}") from None
    micros = int((fraction or ".0")[1:7].ljust(6, "0"))
    return from_datetime(moment) + micros
