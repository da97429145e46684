"""Amazon EventBridge: ``cron(…)`` with a year at the end, ``rate(…)`` and ``at(…)``."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.durations import read_duration, same_here
from scheduler.domain.schedule.foreign.formats.quartz import (
    FIRST_IS_SUNDAY,
    at_that_time,
    bounds,
    from_sunday,
    is_year,
)
from scheduler.domain.schedule.foreign.hint import Hint

_CALL = re.compile(r"(cron|rate|at)\s*\(\s*([^()]*?)\s*\)\s*;?", re.IGNORECASE)
_FIELD = re.compile(r"[0-9A-Za-z*?,/#-]+")


def recognise(line: str) -> Hint | None:
    """One of the three calls, or the six fields of ``cron(…)`` alone: a day field is ``?``, or the last a year."""
    match = _CALL.fullmatch(line)
    if match is None:
        return _fields(line, is_sure=False)
    kind, inner = match[1].lower(), match[2]
    if kind == "rate":
        duration = read_duration(inner)
        return Hint(what="is an EventBridge rate", write=same_here(duration) if duration else ())
    if kind == "at":
        return Hint(what="is an EventBridge time", write=(f"@at {inner}",), more="without an offset in the job's zone")
    return _fields(inner, is_sure=True)


def _fields(text: str, *, is_sure: bool) -> Hint | None:
    words = text.split()
    if len(words) == 5 and is_sure:
        return Hint(what="is an expression in brackets", write=(text,))
    if len(words) != 6 or not all(_FIELD.fullmatch(word) for word in words) or not is_year(words[5]):
        return None
    minute, hour, day, month, weekday, year = words
    has_year = year.isdigit() and not re.search(r"[0-9]", weekday)
    if not is_sure and "?" not in (day, weekday) and not has_year:
        return None
    at = at_that_time(f"0 {minute} {hour}", day, month, weekday, year)
    days = f"{'*' if day == '?' else day} {month} {'*' if weekday == '?' else from_sunday(weekday)}"
    told = FIRST_IS_SUNDAY if re.search(r"[0-9]", weekday) else ""
    return Hint(
        what="is an EventBridge expression: its last field is a year",
        write=at or (f"{minute} {hour} {days}",),
        more="; ".join(part for part in (told, "" if at else bounds(year)) if part),
    )
