"""An oracle for the fire times of a cron line: it compares the local time of every minute, or second, with the line.

It shares no code with the product, and not its method: it computes no transitions and adds no offsets, but reads the
local time of each step from ``zoneinfo``.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {**{name: n for n, name in enumerate(_MONTHS, start=1)}, **{name: n for n, name in enumerate(_WEEKDAYS)}}


class Pattern:
    """A line of five or six fields, by a parser for valid text only."""

    def __init__(self, text: str, *, day_match: str = "or") -> None:
        words = text.lower().split()
        second, minute, hour, self._month_day, month, self._weekday = words if len(words) == 6 else ["0", *words]
        self.has_seconds = len(words) == 6
        self.seconds = values(second, 0, 59)
        self.minutes = values(minute, 0, 59)
        self.hours = values(hour, 0, 23)
        self.months = values(month, 1, 12)
        self.is_wildcard = minute[0] == "*" or hour[0] == "*" or (self.has_seconds and second[0] == "*")
        self._day_match = day_match
        self._days: dict[date, bool] = {}

    def matches(self, wall: datetime) -> bool:
        return (
            wall.second in self.seconds
            and wall.minute in self.minutes
            and wall.hour in self.hours
            and self.matches_day(wall.date())
        )

    def matches_day(self, day: date) -> bool:
        if day not in self._days:
            self._days[day] = day.month in self.months and self._matches_day_fields(day)
        return self._days[day]

    def _matches_day_fields(self, day: date) -> bool:
        by_date = any(_is_month_day(item, day) for item in self._month_day.split(","))
        by_weekday = any(_is_weekday(item, day) for item in self._weekday.split(","))
        if self._month_day in "*?" or self._weekday in "*?" or self._day_match == "and":
            return by_date and by_weekday
        return by_date or by_weekday


def values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        if first in "*?":
            start, stop = low, high
        else:
            start = _NAMES[first] if first in _NAMES else int(first)
            stop = (_NAMES[last] if last in _NAMES else int(last)) if dash else (high if step else start)
        ring = list(range(low, high + 1))
        position, walked = ring.index(start), [start]
        while walked[-1] != stop:
            position = (position + 1) % len(ring)
            walked.append(ring[position])
        found.update(walked[:: int(step or 1)])
    return found


def _is_month_day(item: str, day: date) -> bool:
    length = calendar.monthrange(day.year, day.month)[1]
    if item == "l":
        return day.day == length
    if item.startswith("l-"):
        return day.day == length - int(item[2:])
    if item.endswith("w"):
        target = length if item == "lw" else int(item[:-1])
        return target <= length and day == _nearest_workday(date(day.year, day.month, target))
    return day.day in values(item, 1, 31)


def _nearest_workday(day: date) -> date:
    for distance in (0, 1, -1, 2, -2):
        candidate = day + timedelta(days=distance)
        if candidate.weekday() < 5 and candidate.month == day.month:
            return candidate
    raise AssertionError(day)


def _is_weekday(item: str, day: date) -> bool:
    today = (day.weekday() + 1) % 7
    if "#" in item:
        wanted, nth = item.split("#")
        return today == _weekday_number(wanted) and (day.day - 1) // 7 + 1 == int(nth)
    if item.startswith("l") or item.endswith("l"):
        is_last = (day + timedelta(days=7)).month != day.month
        return is_last and today == _weekday_number(item.strip("l"))
    if item in "*?":
        return True
    span, slash, step = item.partition("/")
    if span == "*":
        return today in values(item, 0, 6)
    if span.startswith("7"):
        span = "0" + span[1:] if span != "7-7" else "0"
    if slash and "-" not in span:
        return today in values(f"{span}/{step}", 0, 6)
    if span.endswith("-7"):
        return today in {value % 7 for value in values(f"{span}/{step or 1}", 0, 7)}
    return today in values(f"{span}/{step or 1}" if slash else span, 0, 6)


def _weekday_number(word: str) -> int:
    return _NAMES[word] if word in _NAMES else int(word) % 7


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What the clock shows at one epoch second of a window."""

    second: int
    wall: datetime
    is_first: bool
    """The clock has not shown this before."""
    skipped: tuple[datetime, ...]
    """What the clock passed over just now and shows at no other time of the window."""


def watch(zone: ZoneInfo, start: int, stop: int, step: int = 60) -> list[Showing]:
    """Look at the clock every ``step`` seconds; the window must hold a transition's neighbourhood as a whole."""
    walls = [
        (second, datetime.fromtimestamp(second, UTC).astimezone(zone).replace(tzinfo=None, fold=0))
        for second in range(start, stop, step)
    ]
    shown = {wall for _, wall in walls}
    seen: set[datetime] = set()
    showings: list[Showing] = []
    tick = timedelta(seconds=step)
    for index, (second, wall) in enumerate(walls):
        skipped: list[datetime] = []
        if index:
            missing = walls[index - 1][1] + tick
            while missing < wall:
                if missing not in shown:
                    skipped.append(missing)
                missing += tick
        showings.append(Showing(second=second, wall=wall, is_first=wall not in seen, skipped=tuple(skipped)))
        seen.add(wall)
    return showings


def fires(pattern: Pattern, showings: list[Showing], policy: str) -> list[int]:
    """The epoch seconds of the window at which the pattern runs."""
    every_showing = policy == "literal" or (policy == "debian" and pattern.is_wildcard)
    moves = policy == "debian" and not pattern.is_wildcard
    found: list[int] = []
    for showing in showings:
        due = (showing.is_first or every_showing) and pattern.matches(showing.wall)
        late = moves and any(pattern.matches(wall) for wall in showing.skipped)
        if due or late:
            found.append(showing.second)
    return found
