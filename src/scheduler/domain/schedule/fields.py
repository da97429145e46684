"""Parses one field of a cron line into the set of its values.

croniter expands lists, names, ranges and steps. What it misreads is rewritten first: it takes ``5-5`` for the whole
cycle, and is off by one in a stepped range that wraps. Items that only other cron dialects have are refused with
messages of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from croniter import croniter


class InvalidScheduleError(ValueError):
    """The text of a schedule is invalid; the message is for its author."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field of a cron line, and the values it takes."""

    name: str
    low: int
    high: int
    size: int
    """The number of different values; day-of-week has Sunday as 0 and as 7."""
    position: int
    """The position among croniter's five fields. Seconds are parsed as minutes."""
    names: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        words = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{words}"


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_LONGEST_QUOTED = 256
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

SECOND = Field(name="second", low=0, high=59, size=60, position=0)
MINUTE = Field(name="minute", low=0, high=59, size=60, position=0)
HOUR = Field(name="hour", low=0, high=23, size=24, position=1)
MONTH_DAY = Field(name="day-of-month", low=1, high=31, size=31, position=2)
MONTH = Field(name="month", low=1, high=12, size=12, position=3, names=_MONTHS)
WEEKDAY = Field(name="day-of-week", low=0, high=7, size=7, position=4, names=_WEEKDAYS)

_ITEM = re.compile(r"(?:(\*)|([0-9A-Z]+)(?:-([0-9A-Z]+))?)(?:/([0-9]+))?", re.ASCII | re.IGNORECASE)


@lru_cache(maxsize=4096)
def parse_field(field: Field, text: str) -> int:
    """The values of a field as a mask with bit 0 for ``field.low``.

    ``text`` is as its author wrote it, without the items of day fields that have ``L``, ``W`` or ``#``. Raises
    ``InvalidScheduleError``.
    """
    if text == "*":
        return (1 << field.size) - 1
    items = [_canonical(field, item) for item in text.split(",")]
    if len(items) == 1 and items[0].isdigit():
        return 1 << _bit(field, int(items[0]))
    line = ["*"] * 5
    line[field.position] = ",".join(items)
    try:
        expanded = croniter.expand(" ".join(line))[0][field.position]
    except ValueError as error:
        raise invalid_item(field, text, f"not understood: {error}") from None
    mask = 0
    for value in expanded:
        mask |= (1 << field.size) - 1 if value == "*" else 1 << _bit(field, int(value))
    return mask


def parse_value(field: Field, text: str, item: str) -> int:
    """The value of one number or name; ``item`` is the item that it is in, for the message."""
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.low
    if not text.isdigit():
        raise _not_a_value(field, text, item)
    value = int(text)
    if not field.low <= value <= field.high:
        raise invalid_item(field, text, field.values)
    return value


def invalid_item(field: Field, item: str, reason: str) -> InvalidScheduleError:
    """The error for one item of a field; ``reason`` says what would be valid."""
    return InvalidScheduleError(f"{quoted(item)} in {field.name}: {reason}")


def quoted(text: str) -> str:
    """The text as it was written, in quotation marks that it does not have itself, and not all of it if it is long."""
    shown = text if len(text) <= _LONGEST_QUOTED else f"{text[: _LONGEST_QUOTED - 3]}..."
    mark = next((mark for mark in "\"'`" if mark not in shown), "|")
    return f"{mark}{shown}{mark}"


def _canonical(field: Field, item: str) -> str:
    """The item as croniter parses it correctly: numbers for names, no ``N-N``, no stepped range that wraps."""
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _not_an_item(field, item)
    star, first, last, step = match.groups()
    by = _step(field, item, step)
    if star:
        return item
    start = parse_value(field, first, item)
    if last is None:
        return str(start) if step is None else _stepped(field, start, field.low + field.size - 1, by)
    stop = parse_value(field, last, item)
    return str(start) if start == stop else _stepped(field, start, stop, by)


def _step(field: Field, item: str, step: str | None) -> int:
    if step is None:
        return 1
    if not 1 <= int(step) <= field.size:
        raise invalid_item(field, item, f"a step of 1 to {field.size}")
    return int(step)


def _stepped(field: Field, start: int, stop: int, by: int) -> str:
    if field is WEEKDAY and start == 7:
        start = 0
    if start == stop:
        return str(start)
    if start < stop:
        return f"{start}-{stop}/{by}" if by > 1 else f"{start}-{stop}"
    beyond = range(start, stop + field.size + 1, by)
    return ",".join(str((value - field.low) % field.size + field.low) for value in beyond)


def _bit(field: Field, value: int) -> int:
    return (value - field.low) % field.size


def _not_an_item(field: Field, item: str) -> InvalidScheduleError:
    if not item:
        return InvalidScheduleError(f"an empty item in {field.name}: {field.values}")
    if item == "?":
        return invalid_item(field, item, "? stands alone, in day-of-month or day-of-week")
    if item.startswith("#") and field is WEEKDAY:
        return invalid_item(field, item, "a day is missing before the #, as in FRI#2")
    if "#" in item:
        return invalid_item(field, item, "# belongs to day-of-week, as in FRI#2, with neither range nor step")
    return invalid_item(field, item, f"a number, a range or a step of {field.values}")


def _not_a_value(field: Field, text: str, item: str) -> InvalidScheduleError:
    letters = text.upper()
    if re.fullmatch(r"L[0-9]*|[0-9]+L", letters):
        return invalid_item(
            field, item, "L is for the last day (L in day-of-month) or weekday (L5 in day-of-week), alone"
        )
    if re.fullmatch(r"[0-9]*W|LW", letters):
        return invalid_item(field, item, "W belongs to day-of-month, as in 15W, with neither range nor step")
    return invalid_item(field, item, field.values)
