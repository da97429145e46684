"""Puts the days of a cron line into words: "or" where either field may match, and without days that never come."""

from __future__ import annotations

from dataclasses import replace

from scheduler.domain.schedule.days import ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS, DayRule
from scheduler.domain.schedule.masks import below, bits
from scheduler.domain.schedule.words.times import conjoined, listed, ordinal, spacing

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("first", "second", "third", "fourth", "fifth")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def possible(rule: DayRule) -> DayRule:
    """The rule without what never comes in the months that it names, such as 31 April; it matches the same days."""
    if rule.months == ALL_MONTHS or not rule.restricts_month_days:
        return rule
    either = rule.restricts_weekdays and not rule.needs_both
    months = rule.months if either else sum(1 << month for month in bits(rule.months) if _has_a_date(rule, month))
    if not months:  # it never comes at all, and is refused
        return rule
    longest = max(_LONGEST[month] for month in bits(months))
    days = rule.month_days if rule.month_days == ALL_DAYS else below(rule.month_days, longest)
    near = tuple(day for day in rule.workdays_near if day <= longest)
    has_dates = bool(days or near or rule.from_last or rule.last_workday)
    return replace(
        rule, months=months, month_days=days, workdays_near=near, restricts_month_days=has_dates or not either
    )


def told_days(rule: DayRule) -> str:
    """Such as "on days 1 and 15 of the month or on Monday"; empty where every day matches."""
    by_date, by_weekday = _month_days(rule), _weekdays(rule)
    if by_date and by_weekday:
        return f"{by_date}, but only {by_weekday}" if rule.needs_both else f"{by_date} or {by_weekday}"
    return by_date or by_weekday


def _has_a_date(rule: DayRule, month: int) -> bool:
    plain, near = below(rule.month_days, _LONGEST[month]), [d for d in rule.workdays_near if d <= _LONGEST[month]]
    return bool(plain or near or rule.from_last or rule.last_workday)


def _month_days(rule: DayRule) -> str:
    if not rule.restricts_month_days:
        return ""
    if rule.month_days == ALL_DAYS:
        return "on every day of the month"
    parts: list[str] = []
    days = [bit + 1 for bit in bits(rule.month_days)]
    spaced = spacing(days)
    if spaced:
        parts.append(f"every {ordinal(spaced)} day from {days[0]} through {days[-1]}")
    elif days:
        plural = "s" * (len(days) > 1)
        parts.append(f"day{plural} {listed(rule.month_days, lambda bit: str(bit + 1), 31)}")
    parts += [_before_last(back) for back in rule.from_last]
    parts += [f"the weekday (Monday to Friday) nearest to day {day}" for day in rule.workdays_near]
    if rule.last_workday:
        parts.append("the last weekday (Monday to Friday)")
    return f"on {conjoined(parts)} of the month{_where_there(rule, [*days, *rule.workdays_near])}"


def _where_there(rule: DayRule, days: list[int]) -> str:
    """A note where some of the named months lack the day; not needed where all months are meant."""
    if rule.months == ALL_MONTHS or not days:
        return ""
    shortest = min(_LONGEST[month] for month in bits(rule.months))
    return " (where the month has it)" if max(days) > shortest else ""


def _before_last(back: int) -> str:
    if back == 0:
        return "the last day"
    number = "" if back == 1 else f"{_NTH[back - 1] if back <= len(_NTH) else ordinal(back)} "
    return f"the {number}day before the last day"


def _weekdays(rule: DayRule) -> str:
    if not rule.restricts_weekdays:
        return ""
    if rule.weekdays == ALL_WEEKDAYS:
        return "on any day of the week"
    parts = [listed(rule.weekdays, _WEEKDAYS.__getitem__, 7)] if rule.weekdays else []
    parts += [f"the {_NTH[nth - 1]} {_WEEKDAYS[day]} of the month" for day, nth in rule.nth_weekdays]
    parts += [f"the last {_WEEKDAYS[day]} of the month" for day in rule.last_weekdays]
    return f"on {conjoined(parts)}"
