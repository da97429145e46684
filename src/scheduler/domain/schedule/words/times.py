"""Puts the times of day of a cron line into words: "every 10 minutes" only where the step divides the hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.domain.schedule.cron import CronLine
from scheduler.domain.schedule.masks import bits

_LIST_UP_TO_TIMES = 8
_ALL = {24: (1 << 24) - 1, 60: (1 << 60) - 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class TimesInWords:
    """The times of day of a cron line."""

    words: str
    is_frequency: bool
    """Such as "every hour", which needs no "every day" after it."""
    is_wildcard: bool
    """Are they the words of a line whose minute or hour starts with ``*``? A function of ``words`` alone."""


def told_times(cron: CronLine) -> TimesInWords:
    """The times of day; those of two lines have the same words only if they are the same."""
    words, is_frequency = _times(cron)
    by_hour = cron.minutes == cron.seconds == 1
    stars = [(cron.hours, 24)] if by_hour else [(cron.hours, 24), (cron.minutes, 60), (cron.seconds, 60)]
    is_wildcard = is_frequency and any(_is_star(mask, size) for mask, size in stars)
    return TimesInWords(words=words, is_frequency=is_frequency, is_wildcard=is_wildcard)


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
        return f"at {conjoined(clock)}", False
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
    return named if step is not None or spacing(bits(mask)) is not None else f"at {named}"


def _hourly(mask: int) -> tuple[str, bool]:
    """On the hour: "every hour", "every 2 hours", "every hour from 09:00 through 17:00", or the times."""
    step = _step(mask, 24)
    if step is not None:
        return "every hour" if step == 1 else f"every {step} hours", True
    hours = bits(mask)
    spaced = spacing(hours)
    if spaced:
        return f"every {ordinal(spaced)} hour from {hours[0]:02d}:00 through {hours[-1]:02d}:00", True
    between = _hours_between(hours, "00")
    return (
        (f"every hour{between}", True) if between else (f"at {conjoined([f'{hour:02d}:00' for hour in hours])}", False)
    )


def _named(mask: int, unit: str) -> str:
    """The minutes or seconds as nouns: "every 5th minute", "minutes 1 and 31"."""
    values = bits(mask)
    step, spaced = _step(mask, 60), spacing(values)
    if step is not None:
        return f"every {unit}" if step == 1 else f"every {ordinal(step)} {unit}"
    if spaced:
        return f"every {ordinal(spaced)} {unit} from {values[0]} through {values[-1]}"
    return f"{unit}{'s' * (len(values) > 1)} {listed(mask, str, 60)}"


def _of(mask: int, of_every: str, within: str) -> str:
    """ "every 10 minutes" needs no "of every hour"; "at minute 5" does, unless the hours are named."""
    return within or ("" if _step(mask, 60) is not None else of_every)


def _within_hours(mask: int) -> str:
    if mask == _ALL[24]:
        return ""
    hours = bits(mask)
    step = _step(mask, 24)
    if step is not None and len(hours) > 2:
        return f" of every {ordinal(step)} hour"
    spaced = spacing(hours)
    if spaced:
        return f" of every {ordinal(spaced)} hour from {hours[0]:02d} through {hours[-1]:02d}"
    return _hours_between(hours, "59") or f" of the hours {conjoined([f'{hour:02d}' for hour in hours])}"


def _hours_between(hours: list[int], last_minute: str) -> str:
    """Consecutive hours, across midnight too: " from 22:00 through 02:59"."""
    if len(hours) == 1 and last_minute == "59":
        return f" from {hours[0]:02d}:00 through {hours[0]:02d}:59"
    runs = _ranges(hours, 24)
    if len(runs) != 1 or len(hours) < 2:
        return ""
    return f" from {runs[0][0]:02d}:00 through {runs[0][1]:02d}:{last_minute}"


def listed(mask: int, name: Callable[[int], str], size: int) -> str:
    """The values by name; three or more consecutive ones are "a through b", across the end of the cycle too."""
    parts: list[str] = []
    for first, last in _ranges(bits(mask), size):
        length = (last - first) % size + 1
        if length > 2:
            parts.append(f"{name(first)} through {name(last)}")
        else:
            parts += [name(first)] if length == 1 else [name(first), name(last)]
    return conjoined(parts)


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


def _is_star(mask: int, size: int) -> bool:
    """Is it what ``*`` or a step of it gives?"""
    values = bits(mask)
    return len(values) > 1 and values == list(range(0, size, values[1] - values[0]))


def _step(mask: int, size: int) -> int | None:
    """The step of values from 0 that divide the whole cycle evenly; ``None`` where there is none."""
    values = bits(mask)
    step = size // len(values)
    return step if len(values) > 1 and values == list(range(0, size, step)) and size % step == 0 else None


def spacing(values: list[int]) -> int | None:
    """The distance between five or more evenly spaced values; ``None`` where there is none, or it is 1."""
    if len(values) < 5:
        return None
    step = values[1] - values[0]
    return step if step > 1 and values == list(range(values[0], values[-1] + 1, step)) else None


def ordinal(number: int) -> str:
    """ "2nd", "3rd", "21st"."""
    teen = number // 10 == 1
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def conjoined(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
