"""The days that a cron line matches by month, day-of-month and day-of-week, as one mask for each month.

A day is the number of days since 1970-01-01; the mask of a month has bit 0 for its first day. Which days of a month
match depends only on its length and on the weekday of its first day, so a rule has at most 28 different masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from scheduler.domain.schedule.masks import below, highest, lowest

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
MIN_DAY = date(2, 1, 1).toordinal() - EPOCH_ORDINAL
MAX_DAY = date(9999, 12, 31).toordinal() - EPOCH_ORDINAL
HORIZON_YEARS = 41
"""A combination of month, day and weekday that exists recurs within 40 years: 29 February on a weekday, around 2100."""

ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS = (1 << 31) - 1, (1 << 12) - 1, (1 << 7) - 1
_WEEKLY = sum(1 << day for day in range(0, 35, 7))
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, kw_only=True, slots=True)
class DayRule:
    """The three day fields of a cron line. Bit 0 of the masks is day 1, January and Sunday."""

    months: int = ALL_MONTHS
    month_days: int = ALL_DAYS
    from_last: tuple[int, ...] = ()
    """``L`` is 0, ``L-3`` is 3."""
    workdays_near: tuple[int, ...] = ()
    """``15W`` is 15: the Monday to Friday nearest to that day, within the month."""
    last_workday: bool = False
    weekdays: int = ALL_WEEKDAYS
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    """``5#2`` is (5, 2)."""
    last_weekdays: tuple[int, ...] = ()
    restricts_month_days: bool = False
    """Is day-of-month anything but ``*`` and ``?``?"""
    restricts_weekdays: bool = False
    needs_both: bool = False
    """When both are restricted, must a day match both? Otherwise it must match either, as in POSIX."""
    _masks: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_daily(self) -> bool:
        return self.months == ALL_MONTHS and not self.restricts_month_days and not self.restricts_weekdays

    def first(self, day: int) -> int | None:
        """The first matching day on or after ``day``; ``None`` when there is none within 41 years."""
        if self.is_daily:
            return day if day <= MAX_DAY else None
        if not MIN_DAY <= day <= MAX_DAY:
            return None
        start = date.fromordinal(day + EPOCH_ORDINAL)
        index = start.year * 12 + start.month - 1
        rest = self._in_month(index) >> (start.day - 1)
        if rest:
            return day + lowest(rest)
        for later in range(index + 1, min(index + 12 * HORIZON_YEARS, 9999 * 12 + 12)):
            mask = self._in_month(later)
            if mask:
                return _month(later)[0] + lowest(mask)
        return None

    def last(self, day: int) -> int | None:
        """The last matching day on or before ``day``; ``None`` when there is none within 41 years."""
        if self.is_daily:
            return day if day >= MIN_DAY else None
        if not MIN_DAY <= day <= MAX_DAY:
            return None
        start = date.fromordinal(day + EPOCH_ORDINAL)
        index = start.year * 12 + start.month - 1
        rest = self._in_month(index) & ((2 << (start.day - 1)) - 1)
        if rest:
            return day - start.day + rest.bit_length()
        for earlier in range(index - 1, max(index - 12 * HORIZON_YEARS, 2 * 12), -1):
            mask = self._in_month(earlier)
            if mask:
                return _month(earlier)[0] + highest(mask)
        return None

    def count(self, start: int, stop: int) -> int:
        """How many days d with ``start <= d < stop`` match."""
        if start >= stop:
            return 0
        if self.is_daily:
            return stop - start
        total, day = 0, start
        while day < stop:
            first = date.fromordinal(day + EPOCH_ORDINAL)
            index = first.year * 12 + first.month - 1
            begins, _, length = _month(index)
            mask = self._in_month(index) >> (day - begins)
            if stop < begins + length:
                mask = below(mask, stop - day)
            total += mask.bit_count()
            day = begins + length
        return total

    def _in_month(self, index: int) -> int:
        if not self.months >> index % 12 & 1:
            return 0
        _, weekday, length = _month(index)
        return self._mask(weekday, length)

    def _mask(self, weekday: int, length: int) -> int:
        """The matching days of a month with this weekday of its first day (0 is Sunday) and this length."""
        key = length * 7 + weekday
        mask = self._masks.get(key)
        if mask is None:
            by_date, by_weekday = self._by_date(weekday, length), self._by_weekday(weekday, length)
            either = self.restricts_month_days and self.restricts_weekdays and not self.needs_both
            mask = below(by_date | by_weekday if either else by_date & by_weekday, length)
            self._masks[key] = mask
        return mask

    def _by_date(self, weekday: int, length: int) -> int:
        mask = self.month_days
        for back in self.from_last:
            mask |= 1 << (length - 1 - back)
        for day in self.workdays_near:
            if day <= length:
                mask |= 1 << (_nearest_workday(day, weekday, length) - 1)
        if self.last_workday:
            mask |= 1 << (_nearest_workday(length, weekday, length) - 1)
        return mask

    def _by_weekday(self, weekday: int, length: int) -> int:
        mask = 0
        for wanted in range(7):
            if self.weekdays >> wanted & 1:
                mask |= _WEEKLY << (wanted - weekday) % 7
        for wanted, nth in self.nth_weekdays:
            mask |= 1 << ((wanted - weekday) % 7 + 7 * (nth - 1))
        for wanted in self.last_weekdays:
            mask |= 1 << highest(below(_WEEKLY << (wanted - weekday) % 7, length))
        return mask


@lru_cache(maxsize=4096)
def _month(index: int) -> tuple[int, int, int]:
    """The first day, its weekday (0 is Sunday) and the length of month number ``year * 12 + month - 1``."""
    year, month = divmod(index, 12)
    first = date(year, month + 1, 1).toordinal() - EPOCH_ORDINAL
    leaps = month == 1 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return first, (first + 4) % 7, _LENGTHS[month] + leaps


def _nearest_workday(day: int, weekday_of_first: int, length: int) -> int:
    weekday = (weekday_of_first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
