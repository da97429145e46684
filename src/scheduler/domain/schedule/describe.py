"""Describes a schedule in plain English, so that its author can check it.

It says *or* where cron means or, and *every 10 minutes* only where the steps divide the hour; else it lists values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scheduler.domain.clock import SECOND, format_instant
from scheduler.domain.schedule.cron import CronLine
from scheduler.domain.schedule.days import ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS, DayRule
from scheduler.domain.schedule.lines import Interval, Line, Moment, ZonedCron
from scheduler.domain.schedule.masks import bits
from scheduler.domain.schedule.zones import Zone

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("first", "second", "third", "fourth", "fifth")
_UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_LIST_UP_TO_TIMES = 8
_ALL = {24: (1 << 24) - 1, 60: (1 << 60) - 1}


def describe_lines(lines: Sequence[Line], zone: Zone) -> str:
    """All lines in one sentence without a full stop, with the zone at its end where a line depends on one but UTC."""
    text = "; and ".join(_describe(line) for line in lines)
    is_zoned = any(isinstance(line, ZonedCron) for line in lines) or any(_is_local(line) for line in lines)
    return f"{text}, {zone.name} time" if is_zoned and zone.name != "UTC" else text


def _describe(line: Line) -> str:
    if isinstance(line, ZonedCron):
        return _cron(line.cron)
    if isinstance(line, Interval):
        return _interval(line.every_s)
    if isinstance(line, Moment):
        return _moment(line)
    raise TypeError(f"not a line of a schedule: {line!r}")


def _moment(line: Moment) -> str:
    if _is_local(line) or line.second is None:
        return f"once, at {line.text.partition(' ')[2].replace('T', ' ').replace('t', ' ')}"
    when = format_instant(line.second * SECOND + line.fraction)
    return f"once, at {when.replace('T', ' ').removesuffix('Z')} UTC"


def _is_local(line: Line) -> bool:
    return isinstance(line, Moment) and line.is_local


def _interval(every_s: int) -> str:
    words: list[str] = []
    for unit_s, unit in _UNITS:
        number, every_s = divmod(every_s, unit_s)
        if number:
            words.append(f"{number} {unit}{'s' * (number > 1)}")
    text = " ".join(words)
    return f"every {text.removeprefix('1 ') if len(words) == 1 else text}"


def _cron(cron: CronLine) -> str:
    times, is_repeating = _times(cron)
    days = _days(cron.days)
    if not days and not is_repeating:
        days = "every day"
    words = f"{times} {days}" if days else times
    if cron.days.months == ALL_MONTHS:
        return words
    # Without the comma "day 1 or on Monday in May" could mean any day 1, or a Monday of May.
    comma = "," * (cron.days.restricts_month_days and cron.days.restricts_weekdays)
    return f"{words}{comma} in {_listed(cron.days.months, _MONTHS.__getitem__, 12)}"


def _times(cron: CronLine) -> tuple[str, bool]:
    """The times of day, and whether they are a frequency ("every hour"), which needs no "every day" after it."""
    hours, minutes, seconds = bits(cron.hours), bits(cron.minutes), bits(cron.seconds)
    is_step = len(hours) > 2 and _step(cron.hours, 24) is not None
    if cron.times_a_day <= _LIST_UP_TO_TIMES and not (is_step and minutes == seconds == [0]):
        with_seconds = seconds != [0]
        clock = [
            f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if with_seconds else "")
            for hour in hours
            for minute in minutes
            for second in seconds
        ]
        return f"at {_and(clock)}", False
    if seconds == [0] and minutes == [0]:
        return _hourly(cron.hours)
    within_hours = _within_hours(cron.hours)
    if seconds == [0]:
        return f"{_frequency(cron.minutes, 'minute')}{_of(cron.minutes, ' of every hour', within_hours)}", True
    if cron.minutes == _ALL[60]:
        return f"{_frequency(cron.seconds, 'second')}{_of(cron.seconds, ' of every minute', within_hours)}", True
    of_minutes = f" of {_named(cron.minutes, 'minute')}"
    return f"{_frequency(cron.seconds, 'second')}{of_minutes}{within_hours or ' of every hour'}", True


def _frequency(mask: int, unit: str) -> str:
    """ "every minute", "every 10 minutes", "every 7th minute from 0 through 56", "at minutes 5 and 35"."""
    step = _step(mask, 60)
    if step is not None and step > 1:
        return f"every {step} {unit}s"
    named = _named(mask, unit)
    return named if named.startswith("every") else f"at {named}"


def _hourly(mask: int) -> tuple[str, bool]:
    """On the hour: "every hour", "every 2 hours", "every hour from 09:00 through 17:00", or the times."""
    step = _step(mask, 24)
    if step is not None:
        return "every hour" if step == 1 else f"every {step} hours", True
    hours = bits(mask)
    spaced = _spacing(hours)
    if spaced:
        return f"every {_ordinal(spaced)} hour from {hours[0]:02d}:00 through {hours[-1]:02d}:00", True
    between = _hours_between(hours, "00")
    return (f"every hour{between}", True) if between else (f"at {_and([f'{hour:02d}:00' for hour in hours])}", False)


def _named(mask: int, unit: str) -> str:
    """The minutes or seconds as nouns: "every 5th minute", "minutes 1 and 31"."""
    values = bits(mask)
    step, spaced = _step(mask, 60), _spacing(values)
    if step is not None:
        return f"every {unit}" if step == 1 else f"every {_ordinal(step)} {unit}"
    if spaced:
        return f"every {_ordinal(spaced)} {unit} from {values[0]} through {values[-1]}"
    return f"{unit}{'s' * (len(values) > 1)} {_listed(mask, str, 60)}"


def _of(mask: int, of_every: str, within: str) -> str:
    """ "every 10 minutes" needs no "of every hour"; "at minute 5" does, unless the hours are named."""
    return within or ("" if _step(mask, 60) is not None else of_every)


def _within_hours(mask: int) -> str:
    if mask == _ALL[24]:
        return ""
    hours = bits(mask)
    step = _step(mask, 24)
    if step is not None and len(hours) > 2:
        return f" of every {_ordinal(step)} hour"
    spaced = _spacing(hours)
    if spaced:
        return f" of every {_ordinal(spaced)} hour from {hours[0]:02d} through {hours[-1]:02d}"
    return _hours_between(hours, "59") or f" of the hours {_and([f'{hour:02d}' for hour in hours])}"


def _hours_between(hours: list[int], last_minute: str) -> str:
    """Consecutive hours, across midnight too: " from 22:00 through 02:59"."""
    if len(hours) == 1 and last_minute == "59":
        return f" from {hours[0]:02d}:00 through {hours[0]:02d}:59"
    runs = _ranges(hours, 24)
    if len(runs) != 1 or len(hours) < 2:
        return ""
    return f" from {runs[0][0]:02d}:00 through {runs[0][1]:02d}:{last_minute}"


def _days(rule: DayRule) -> str:
    by_date, by_weekday = _month_days(rule), _weekdays(rule)
    if by_date and by_weekday:
        return f"{by_date}, but only {by_weekday}" if rule.needs_both else f"{by_date} or {by_weekday}"
    return by_date or by_weekday


def _month_days(rule: DayRule) -> str:
    if not rule.restricts_month_days:
        return ""
    if rule.month_days == ALL_DAYS:
        return "on every day of the month"
    parts: list[str] = []
    days = [bit + 1 for bit in bits(rule.month_days)]
    spaced = _spacing(days)
    if spaced:
        parts.append(f"every {_ordinal(spaced)} day from {days[0]} through {days[-1]}")
    elif days:
        plural = "s" * (len(days) > 1)
        parts.append(f"day{plural} {_listed(rule.month_days, lambda bit: str(bit + 1), 31)}")
    parts += [
        f"{back} day{'s' * (back > 1)} before the last day" if back else "the last day" for back in rule.from_last
    ]
    parts += [f"the weekday (Monday to Friday) nearest to day {day}" for day in rule.workdays_near]
    if rule.last_workday:
        parts.append("the last weekday (Monday to Friday)")
    return f"on {_and(parts)} of the month"


def _weekdays(rule: DayRule) -> str:
    if not rule.restricts_weekdays:
        return ""
    if rule.weekdays == ALL_WEEKDAYS:
        return "on any day of the week"
    parts = [_listed(rule.weekdays, _WEEKDAYS.__getitem__, 7)] if rule.weekdays else []
    parts += [f"the {_NTH[nth - 1]} {_WEEKDAYS[day]} of the month" for day, nth in rule.nth_weekdays]
    parts += [f"the last {_WEEKDAYS[day]} of the month" for day in rule.last_weekdays]
    return f"on {_and(parts)}"


def _listed(mask: int, name: Callable[[int], str], size: int) -> str:
    """The values by name; three or more consecutive ones are "a through b", across the end of the cycle too."""
    parts: list[str] = []
    for first, last in _ranges(bits(mask), size):
        length = (last - first) % size + 1
        if length > 2:
            parts.append(f"{name(first)} through {name(last)}")
        else:
            parts += [name(first)] if length == 1 else [name(first), name(last)]
    return _and(parts)


def _ranges(values: list[int], size: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    if len(runs) > 1 and runs[0][0] == 0 and runs[-1][1] == size - 1 and size in (7, 12, 24):
        (_, last), *rest = runs
        runs = [*rest[:-1], (rest[-1][0], last)]
    return runs


def _step(mask: int, size: int) -> int | None:
    """The step of values from 0 that divide the whole cycle evenly; ``None`` where there is none."""
    values = bits(mask)
    step = size // len(values)
    return step if len(values) > 1 and values == list(range(0, size, step)) and size % step == 0 else None


def _spacing(values: list[int]) -> int | None:
    """The distance between five or more evenly spaced values; ``None`` where there is none, or it is 1."""
    if len(values) < 5:
        return None
    step = values[1] - values[0]
    return step if step > 1 and values == list(range(values[0], values[-1] + 1, step)) else None


def _ordinal(number: int) -> str:
    return f"{number}{'nd' if number == 2 else 'rd' if number == 3 else 'th'}"


def _and(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
