"""Quartz: seconds first, ``?``, a year at the end, and days of the week that count from Sunday = 1."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import WEEKDAY_NAMES

_YEARS = re.compile(r"([12][0-9]{3})(?:-([12][0-9]{3}))?")
_WEEKDAY_NUMBER = re.compile(r"(?<![0-9#/A-Za-z])([0-9])(?=$|[-,L#/])")
FIRST_IS_SUNDAY = "weekdays count from Sunday = 0 here, so names are safer"


def recognise(line: str) -> Hint | None:
    """Seven fields, or six with the ``L`` that only Quartz has in day-of-week."""
    words = line.split(" ")
    if len(words) not in (6, 7) or not all(re.fullmatch(r"[0-9A-Za-z*?,/#-]+", word) for word in words):
        return None
    second, minute, hour, day, month, weekday, *year = words
    if not year:
        if weekday.upper() != "L":
            return None
        return Hint(
            what="is a Quartz expression",
            write=(f"{second} {minute} {hour} {day} {month} SAT",),
            more="L alone in day-of-week is Saturday there",
        )
    if not is_year(year[0]):
        return None
    named = from_sunday(weekday)
    at = at_that_time(f"{second} {minute} {hour}", day, month, weekday, year[0])
    more = [FIRST_IS_SUNDAY if weekday not in "*?" else "", "" if at else bounds(year[0])]
    return Hint(
        what="has seven fields, as in Quartz; a year field is not supported",
        write=at or (f"{second} {minute} {hour} {day} {month} {named}",),
        more="; ".join(part for part in more if part),
    )


def from_sunday(field: str) -> str:
    """A day-of-week field of Quartz or EventBridge, where Sunday is 1, with names for its numbers."""
    if field.upper() == "L":
        return "SAT"

    def named(match: re.Match[str]) -> str:
        number = int(match[1])
        return WEEKDAY_NAMES[number - 1] if 1 <= number <= 7 else match[1]

    return _WEEKDAY_NUMBER.sub(named, field)


def is_year(field: str) -> bool:
    """Is it what the year field of Quartz or EventBridge takes?"""
    return field in ("*", "?") or re.fullmatch(r"[12][0-9]{3}(?:[-,/][0-9]{1,4})*|\*/[0-9]{1,3}", field) is not None


def bounds(year: str) -> str:
    """The fields of a job that say what a year field says."""
    match = _YEARS.fullmatch(year)
    if match is None:
        return "" if year in ("*", "?") else "what its years say cannot be said here"
    first, last = int(match[1]), int(match[2] or match[1])
    return f"its years are starts_at {first}-01-01T00:00:00Z and ends_at {last + 1}-01-01T00:00:00Z"


def at_that_time(times: str, day: str, month: str, weekday: str, year: str) -> tuple[str, ...]:
    """The ``@at`` that second, minute, hour, day, month and year are where all of them are numbers; else nothing."""
    fields = [*times.split(" "), day, month, year]
    if weekday not in ("*", "?") or not all(re.fullmatch(r"[0-9]{1,4}", field) for field in fields):
        return ()
    second, minute, hour, *_ = (int(field) for field in fields)
    return (f"@at {year}-{int(month):02d}-{int(day):02d}T{hour:02d}:{minute:02d}:{second:02d}",)
