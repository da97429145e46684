"""ISO 8601 and other notations of times and durations: ``PT1H``, ``R/…/PT1H``, ``2026-12-24 18:00``, epoch seconds."""

from __future__ import annotations

import re
from fractions import Fraction

from scheduler.domain.clock import SECOND, format_instant
from scheduler.domain.schedule.foreign.durations import Duration, same_here
from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import MONTH_NAMES
from scheduler.domain.schedule.foreign.names import month as named_month

_DURATION = re.compile(
    r"P(?:(?P<year>[0-9]+)Y)?(?:(?P<month>[0-9]+)M)?(?:(?P<w>[0-9]+)W)?(?:(?P<d>[0-9]+)D)?"
    r"(?:T(?:(?P<h>[0-9]+(?:\.[0-9]+)?)H)?(?:(?P<m>[0-9]+(?:\.[0-9]+)?)M)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)S)?)?",
    re.IGNORECASE,
)
_REPEATING = re.compile(r"R([0-9]*)/(?:([^/]*)/)?(P[^/]*)", re.IGNORECASE)
_TIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
    r"(?:[Tt\s]\s*([0-9]{1,2}):?([0-9]{2})(?::?([0-9]{2})(\.[0-9]+)?)?\s*(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"[0-9]{10}|[0-9]{13}")


def recognise(line: str) -> Hint | None:
    """A duration, a repeating interval, or a point in time."""
    duration = read_iso_duration(line)
    if duration is not None:
        return Hint(what="is an ISO 8601 duration", write=same_here(duration))
    match = _REPEATING.fullmatch(line)
    if match is not None:
        return _repeating(match[1], match[2], match[3])
    at = as_at(line)
    if at is None:
        return None
    is_local = re.search(r"(?:Z|[+-][0-9:]{5})$", at) is None
    return Hint(what="is a point in time", write=(at,), more="which is in the job's zone" if is_local else "")


def read_iso_duration(text: str) -> Duration | None:
    """The duration that an ISO 8601 text such as ``PT1H30M`` is."""
    match = _DURATION.fullmatch(text)
    if match is None or text[-1] in "PTpt" or len(text) > 40:
        return None
    found = [(unit, match[unit]) for unit in ("year", "month", "w", "d", "h", "m", "s")]
    return Duration(tuple((Fraction(number), unit) for unit, number in found if number is not None))


def as_at(text: str) -> str | None:
    """The ``@at`` line that a date, a time or epoch seconds are; what lacks is zero."""
    if _EPOCH.fullmatch(text):
        seconds = int(text) if len(text) == 10 else int(text) // 1000
        return f"@at {format_instant(seconds * SECOND)}"
    match = _TIME.fullmatch(_year_first(text))
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    clock = f"{int(hour or 0):02d}:{minute or '00'}:{second or '00'}{fraction or ''}"
    return f"@at {year}-{month}-{day}T{clock}{_offset(offset)}"


def _year_first(text: str) -> str:
    """Dates of other notations as ISO 8601: ``24.12.2026``, ``2026/12/24``, ``24 Dec 2026``, ``Dec 24, 2026``."""
    text = re.sub(r"^([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})", r"\1.\2.\3", text)
    dotted = re.match(r"([0-9]{4})\.([0-9]{1,2})\.([0-9]{1,2})\b|([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})\b", text)
    if dotted is not None:
        year, month, day = (dotted[1], dotted[2], dotted[3]) if dotted[1] else (dotted[6], dotted[5], dotted[4])
        return f"{year}-{int(month):02d}-{int(day):02d}{text[dotted.end() :]}"
    worded = re.match(
        r"(?:[A-Za-z]{3,9},? )?(?:([0-9]{1,2})\.? ([^\W\d_]{3,9})\.?|([^\W\d_]{3,9}) ([0-9]{1,2})),? ([0-9]{4})\b,?",
        text,
    )
    name = named_month(worded[2] or worded[3]) if worded is not None else None
    if worded is None or name is None:
        return text
    rest = re.sub(r" (?:GMT|UTC)$", "Z", text[worded.end() :])
    return f"{worded[5]}-{MONTH_NAMES.index(name) + 1:02d}-{int(worded[1] or worded[4]):02d}{rest}"


def _offset(offset: str | None) -> str:
    if offset is None or offset in "Zz":
        return (offset or "").upper()
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return f"{offset[0]}{digits[:2]}:{digits[2:]}"


def _repeating(count: str, start: str | None, length: str) -> Hint | None:
    duration = read_iso_duration(length)
    if duration is None:
        return None
    more = [f"starts_at: {start} is its start"] if start else []
    if count:
        more.append(f"max_runs bounds how often: R{count} are {count} repetitions")
    return Hint(what="is an ISO 8601 repeating interval", write=same_here(duration)[:1], more="; ".join(more))
