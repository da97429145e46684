"""Calls with names: Celery's ``crontab(minute=0, hour=7)``, triggers of APScheduler, ``timedelta(minutes=5)``."""

from __future__ import annotations

import re
from fractions import Fraction

from scheduler.domain.schedule.foreign.durations import Duration, read_duration, same_here, unit_of
from scheduler.domain.schedule.foreign.hint import Hint

_PAIR = re.compile(r"[\"']?([A-Za-z_]{1,20})[\"']?\s*[=:]\s*(\"[^\"]*\"|'[^']*'|[^\s,;(){}]+)")
_FIELDS = {
    "second": ("second", "seconds"),
    "minute": ("minute", "minutes"),
    "hour": ("hour", "hours"),
    "day": ("day", "day_of_month", "dayofmonth", "mday"),
    "month": ("month", "month_of_year"),
    "weekday": ("day_of_week", "dayofweek", "weekday", "wday"),
}
_NAMES = {name: field for field, names in _FIELDS.items() for name in names}
_MILLISECONDS = ("fixedrate", "fixeddelay", "interval_ms", "repeatinterval")


def recognise(line: str) -> Hint | None:
    """Names with values, of which each is a field of a cron line, or each a number of units."""
    if "=" not in line and ":" not in line:
        return None
    found = [(name.lower(), value.strip("\"'")) for name, value in _PAIR.findall(line)]
    rest = re.sub(r"(?:[A-Za-z_.@]+\s*\(|[\s,;(){}])", "", _PAIR.sub("", line))
    if not found or rest:
        return None
    if len(found) == 1 and found[0][0] in _MILLISECONDS:
        duration = read_duration(f"{found[0][1]} ms") if found[0][1].isdigit() else None
        return Hint(what="is a number of milliseconds", write=same_here(duration)[:1]) if duration else None
    if len(found) == 1 and found[0][0] in ("cron", "expression", "rate", "schedule_expression", "every"):
        return Hint(what="has a name in front", write=(found[0][1],))
    is_interval = re.search(r"delta|interval|every", line, re.IGNORECASE) or all(
        name.endswith("s") and name in _NAMES for name, _ in found
    )
    return _interval(found) if is_interval else _cron(found)


def _interval(found: list[tuple[str, str]]) -> Hint | None:
    parts = [(value, unit_of(name)) for name, value in found]
    if not all(re.fullmatch(r"[0-9]{1,9}", value) and unit for value, unit in parts):
        return None
    duration = Duration(tuple((Fraction(value), unit) for value, unit in parts if unit))
    return Hint(what="is an interval in code", write=same_here(duration)[:1])


def _cron(found: list[tuple[str, str]]) -> Hint | None:
    """Fields by name; those before the first one are 0, those behind it ``*``, as APScheduler has it."""
    fields = {_NAMES[name]: value for name, value in found if name in _NAMES}
    if not fields or len(fields) < len(found):
        return None
    names = list(_FIELDS)
    first = min(names.index(name) for name in fields)
    values = [fields.get(name, "0" if position < min(first, 3) else "*") for position, name in enumerate(names)]
    line = " ".join(values).removeprefix("0 ")
    more = (
        "fields that are not named are 0 before the first one and * behind it, as in APScheduler; Celery has * for all"
    )
    return Hint(what="is a call with fields by name", write=(line,), more=more if len(fields) < len(names) - 1 else "")
