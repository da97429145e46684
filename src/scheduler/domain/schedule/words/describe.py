"""Describes a schedule in one sentence, line by line, each with the zone that it holds for."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.schedule.cron import CronLine
from scheduler.domain.schedule.days import ALL_MONTHS
from scheduler.domain.schedule.lines import Interval, Line, Moment, ZonedCron
from scheduler.domain.schedule.words.clocks import on_change
from scheduler.domain.schedule.words.days import MONTHS, possible, told_days
from scheduler.domain.schedule.words.times import listed, told_times
from scheduler.domain.schedule.zones import Zone

_UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def describe_lines(lines: Sequence[Line], zone: Zone) -> str:
    """All lines in one sentence without a full stop; a zone other than UTC follows each line that depends on it."""
    return "; and ".join(_describe(line, zone) for line in lines)


def _describe(line: Line, zone: Zone) -> str:
    if isinstance(line, ZonedCron):
        return _cron(line)
    if isinstance(line, Interval):
        return f"{_frequency(line.every_s)} of elapsed time, counted from {_utc(line.anchor_at)}"
    if isinstance(line, Moment):
        return _moment(line, zone)
    raise TypeError(f"not a line of a schedule: {line!r}")


def _cron(line: ZonedCron) -> str:
    cron = line.cron
    times = told_times(cron)
    words = _times_and_days(cron, times.words, is_frequency=times.is_frequency)
    zoned = words if line.zone.name == "UTC" else f"{words}, {line.zone.name} time"
    return f"{zoned}{on_change(line, is_wildcard=times.is_wildcard)}"


def _times_and_days(cron: CronLine, times: str, *, is_frequency: bool) -> str:
    rule = possible(cron.days)
    days = told_days(rule)
    if not days and not is_frequency:
        days = "every day"
    words = f"{times} {days}" if days else times
    if rule.months == ALL_MONTHS:
        return words
    # Without the comma "day 1 or on Monday in May" could mean any day 1, or a Monday of May.
    comma = "," * (rule.restricts_month_days and rule.restricts_weekdays)
    return f"{words}{comma} in {listed(rule.months, MONTHS.__getitem__, 12)}"


def _frequency(every_s: int) -> str:
    words: list[str] = []
    for unit_s, unit in _UNITS:
        number, every_s = divmod(every_s, unit_s)
        if number:
            words.append(f"{number} {unit}{'s' * (number > 1)}")
    text = " ".join(words)
    return f"every {text.removeprefix('1 ') if len(words) == 1 else text}"


def _moment(line: Moment, zone: Zone) -> str:
    if not line.is_local and line.second is not None:
        return f"once, at {_utc(line.second * SECOND + line.fraction)}"
    wall = line.text.partition(" ")[2].upper().replace("T", " ")
    zoned = f"once, at {wall} UTC" if zone.name == "UTC" else f"once, at {wall}, {zone.name} time"
    if line.affected_by == "overlap":
        return f"{zoned} (the clocks repeat it: the first time)"
    if line.affected_by == "gap":
        return f"{zoned} (the clocks skip it: {'never' if line.second is None else 'right after the change'})"
    return zoned


def _utc(instant: Instant) -> str:
    return f"{format_instant(instant).replace('T', ' ').removesuffix('Z')} UTC"
