"""Parses a cron line into a pattern over wall times, without a zone or a DST policy.

A wall time is the number of seconds from 1970-01-01T00:00:00 to a local date and time, at a constant offset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scheduler.domain.schedule.days import DayRule
from scheduler.domain.schedule.fields import (
    HOUR,
    MINUTE,
    MONTH,
    MONTH_DAY,
    SECOND,
    WEEKDAY,
    Field,
    InvalidScheduleError,
    invalid_item,
    parse_field,
    parse_value,
    quoted,
)
from scheduler.domain.schedule.masks import below, bits, highest, lowest

DAY_S = 86_400
_MONTH_DAY_SPECIAL = re.compile(r"(L)(?:-([0-9]+))?|([0-9]+)W|LW", re.ASCII | re.IGNORECASE)
_WEEKDAY_SPECIAL = re.compile(r"([0-9A-Z]+)#([0-9]+)|L([0-9A-Z]+)|([0-9A-Z]+)L", re.ASCII | re.IGNORECASE)
_YEAR = re.compile(r"[*?]|[12][0-9]{3}\S*")
_SHAPE = "minute hour day-of-month month day-of-week, or six with seconds first"


@dataclass(frozen=True, kw_only=True, slots=True)
class CronLine:
    """A parsed line. ``seconds``, ``minutes`` and ``hours`` are masks."""

    text: str
    seconds: int
    minutes: int
    hours: int
    days: DayRule
    is_wildcard: bool
    """The minute or hour field (of six fields: or the second) starts with ``*``."""

    def first(self, wall: int) -> int | None:
        """The first matching wall time at or after ``wall``; ``None`` when there is none within 41 years."""
        today, time = divmod(wall, DAY_S)
        day = self.days.first(today)
        if day == today:
            found = self._first_time(time)
            if found is not None:
                return day * DAY_S + found
            day = self.days.first(today + 1)
        if day is None:
            return None
        return day * DAY_S + lowest(self.hours) * 3600 + lowest(self.minutes) * 60 + lowest(self.seconds)

    def last(self, wall: int) -> int | None:
        """The last matching wall time before ``wall``; ``None`` when there is none within 41 years."""
        today, time = divmod(wall - 1, DAY_S)
        day = self.days.last(today)
        if day == today:
            found = self._last_time(time)
            if found is not None:
                return day * DAY_S + found
            day = self.days.last(today - 1)
        if day is None:
            return None
        hour, minute, second = map(highest, (self.hours, self.minutes, self.seconds))
        return day * DAY_S + hour * 3600 + minute * 60 + second

    def count(self, start: int, stop: int) -> int:
        """How many matching wall times w there are with ``start <= w < stop``; the cost grows with the months."""
        if start >= stop:
            return 0
        first_day, before = divmod(start, DAY_S)
        last_day, until = divmod(stop, DAY_S)
        total = self.days.count(first_day, last_day) * self.times_a_day
        if before and self.matches_day(first_day):
            total -= self._times_before(before)
        if until and self.matches_day(last_day):
            total += self._times_before(until)
        return total

    @property
    def times_a_day(self) -> int:
        return self.hours.bit_count() * self.minutes.bit_count() * self.seconds.bit_count()

    def matches_day(self, day: int) -> bool:
        return self.days.first(day) == day

    def times_mask(self, unit_s: int) -> int:
        """The times of a matching day as a mask, a bit for each ``unit_s``: 60 where the line fires at second 0."""
        minute = self.seconds if unit_s == 1 else 1
        hour = sum(minute << bit * 60 // unit_s for bit in bits(self.minutes))
        return sum(hour << bit * 3600 // unit_s for bit in bits(self.hours))

    def _first_time(self, time: int) -> int | None:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1 and self.seconds >> second:
                return time - second + _next_bit(self.seconds, second)
            if self.minutes >> minute + 1:
                return hour * 3600 + _next_bit(self.minutes, minute + 1) * 60 + lowest(self.seconds)
        if self.hours >> hour + 1:
            return _next_bit(self.hours, hour + 1) * 3600 + lowest(self.minutes) * 60 + lowest(self.seconds)
        return None

    def _last_time(self, time: int) -> int | None:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        last_second = highest(self.seconds)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1 and below(self.seconds, second + 1):
                return time - second + highest(below(self.seconds, second + 1))
            if below(self.minutes, minute):
                return hour * 3600 + highest(below(self.minutes, minute)) * 60 + last_second
        if below(self.hours, hour):
            last_minute = highest(self.minutes)
            return highest(below(self.hours, hour)) * 3600 + last_minute * 60 + last_second
        return None

    def _times_before(self, time: int) -> int:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        a_minute = self.seconds.bit_count()
        total = below(self.hours, hour).bit_count() * self.minutes.bit_count() * a_minute
        if self.hours >> hour & 1:
            total += below(self.minutes, minute).bit_count() * a_minute
            if self.minutes >> minute & 1:
                total += below(self.seconds, second).bit_count()
        return total


def parse_cron(expression: str, *, text: str | None = None, needs_both: bool = False) -> CronLine:
    """Parse five fields, or six with the seconds first.

    ``text`` is what the author wrote, where that is a macro. With ``needs_both`` a day has to match both day-of-month
    and day-of-week when both are restricted; POSIX: either. Raises ``InvalidScheduleError``.
    """
    words = expression.split()
    if len(words) not in (5, 6):
        fields = f"{len(words)} field{'s' * (len(words) != 1)}"
        year = "; a year field is not supported" if len(words) == 7 and _YEAR.fullmatch(words[6]) else ""
        raise InvalidScheduleError(f"{quoted(expression)} has {fields}: five are needed, {_SHAPE}{year}")
    second, minute, hour, month_day, month, weekday = words if len(words) == 6 else ["0", *words]
    return CronLine(
        text=text or expression,
        seconds=parse_field(SECOND, second),
        minutes=parse_field(MINUTE, minute),
        hours=parse_field(HOUR, hour),
        days=_day_rule(month_day, month, weekday, needs_both),
        is_wildcard=any(word.startswith("*") for word in (second, minute, hour)),
    )


def _day_rule(month_day: str, month: str, weekday: str, needs_both: bool) -> DayRule:
    months = parse_field(MONTH, month)
    plain_days, near_or_last = _without(MONTH_DAY, month_day, _MONTH_DAY_SPECIAL)
    plain_weekdays, nth_or_last = _without(WEEKDAY, weekday, _WEEKDAY_SPECIAL)
    nth = [(match[1], match[2], match[0]) for match in nth_or_last if match[2]]
    last = [(match[3] or match[4], match[0]) for match in nth_or_last if not match[2]]
    return DayRule(
        months=months,
        month_days=plain_days,
        from_last=tuple(_days_back(match[2], match[0]) for match in near_or_last if match[1]),
        workdays_near=tuple(parse_value(MONTH_DAY, match[3], match[0]) for match in near_or_last if match[3]),
        last_workday=any(match[0].upper() == "LW" for match in near_or_last),
        weekdays=plain_weekdays,
        nth_weekdays=tuple((parse_value(WEEKDAY, day, item) % 7, _nth(number, item)) for day, number, item in nth),
        last_weekdays=tuple(parse_value(WEEKDAY, day, item) % 7 for day, item in last),
        restricts_month_days=month_day not in ("*", "?"),
        restricts_weekdays=weekday not in ("*", "?"),
        needs_both=needs_both,
    )


def _without(field: Field, text: str, special: re.Pattern[str]) -> tuple[int, list[re.Match[str]]]:
    """The mask of the plain items of a day field, and its other items, which depend on the month."""
    if text in ("*", "?"):
        return parse_field(field, "*"), []
    specials: list[re.Match[str]] = []
    plain: list[str] = []
    for item in text.split(","):
        match = special.fullmatch(item)
        if match is None:
            plain.append(item)
        else:
            specials.append(match)
    return (parse_field(field, ",".join(plain)) if plain else 0), specials


def _days_back(digits: str | None, item: str) -> int:
    if digits is None:
        return 0
    if not 1 <= int(digits) <= 27:
        raise invalid_item(MONTH_DAY, item, "L-1 to L-27, days before the last of the month")
    return int(digits)


def _nth(digits: str, item: str) -> int:
    if not 1 <= int(digits) <= 5:
        raise invalid_item(WEEKDAY, item, "the number after # is 1 to 5")
    return int(digits)


def _next_bit(mask: int, start: int) -> int:
    return start + lowest(mask >> start)
