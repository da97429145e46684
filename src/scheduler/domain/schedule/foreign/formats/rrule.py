"""iCalendar's recurrence rules (RFC 5545): ``FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9``, with or without DTSTART."""

from __future__ import annotations

import re
from datetime import date

from scheduler.domain.schedule.foreign.formats.iso8601 import as_at
from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import WEEKDAY_NAMES

_START = re.compile(r"DTSTART(?:;TZID=([A-Za-z0-9_+/-]+))?[^:\s]*:([0-9TZ]+)", re.IGNORECASE)
_DAYS = dict(zip(("SU", "MO", "TU", "WE", "TH", "FR", "SA"), WEEKDAY_NAMES, strict=True))
_UNITS = {"SECONDLY": "s", "MINUTELY": "m", "HOURLY": "h", "DAILY": "d", "WEEKLY": "w"}
_ORDER = ("SECONDLY", "MINUTELY", "HOURLY", "DAILY")
_WORKDAYS = {"MO", "TU", "WE", "TH", "FR"}
_WHAT = "is a recurrence rule of iCalendar"


def recognise(text: str) -> Hint | None:
    """A rule, perhaps with the line that has its start."""
    match = re.search(r"(?:^|[\s:;])((?:[A-Z]+=[^\s;]*;)*FREQ=[A-Z]+(?:;[A-Z]+=[^\s;]*)*)", text, re.IGNORECASE)
    if match is None:
        return None
    parts = dict(part.split("=", 1) for part in match[1].upper().split(";"))
    start = _START.search(text)
    more = _told_apart(parts, start)
    write = _written(parts, start[2] if start else None)
    return Hint(what=_WHAT, write=(write,) if write else (), more="; ".join(more))


def _told_apart(parts: dict[str, str], start: re.Match[str] | None) -> list[str]:
    """What goes into other fields of a job."""
    more = []
    if start is not None:
        at = as_at(start[2])
        more.append(f"starts_at: {at.removeprefix('@at ')}" if at else "")
        more.append(f"timezone: {start[1]}" if start[1] else "")
    if "COUNT" in parts:
        more.append(f"max_runs: {parts['COUNT']}")
    if "UNTIL" in parts:
        at = as_at(parts["UNTIL"])
        more.append(f"ends_at, which is excluded: a second after {at.removeprefix('@at ')}" if at else "")
    if parts.get("INTERVAL", "1") != "1":
        more.append("starts_at says from when it counts")
    if start is None and "BYHOUR" not in parts and parts["FREQ"] not in ("SECONDLY", "MINUTELY", "HOURLY"):
        more.append("its time of day comes from DTSTART")
    return [part for part in more if part]


def _written(parts: dict[str, str], start: str | None) -> str | None:
    frequency, interval = parts["FREQ"], parts.get("INTERVAL", "1")
    known = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYHOUR", "BYMINUTE", "BYSECOND", "BYMONTH"}
    known |= {"BYDAY", "BYMONTHDAY", "BYSETPOS"}
    if not interval.isdigit() or not int(interval) or parts.keys() - known:
        return None
    if int(interval) > 1 and frequency in _UNITS:
        if not _is_one_a_period(parts):
            return None
        only = parts.keys() <= {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYHOUR", "BYMINUTE", "BYSECOND"}
        one_day = frequency == "WEEKLY" and re.fullmatch(r"[A-Z]{2}", parts.get("BYDAY", "")) is not None
        return f"@every {int(interval)}{_UNITS[frequency]}" if only or one_day else None
    if int(interval) > 1:
        if frequency != "MONTHLY" or 12 % int(interval) or "BYMONTH" in parts:
            return None
        first = int(start[4:6]) if start else 1
        parts["BYMONTH"] = ",".join(str((first - 1 + k) % 12 + 1) for k in range(0, 12, int(interval)))
    days = _days(parts, start)
    if days is None:
        return None
    second, minute, hour = _times(parts, start)
    seconds = "" if second == "0" else f"{second} "
    return f"{seconds}{minute} {hour} {days}"


def _is_one_a_period(parts: dict[str, str]) -> bool:
    """Whether the times of day leave one run in each period: one value of each, and none that leaves periods out."""
    times = [(name, parts[name]) for name in ("BYSECOND", "BYMINUTE", "BYHOUR") if name in parts]
    finer = {"SECONDLY": 0, "MINUTELY": 1, "HOURLY": 2}.get(parts["FREQ"], 3)
    return all("," not in value and name in ("BYSECOND", "BYMINUTE", "BYHOUR")[:finer] for name, value in times)


def _times(parts: dict[str, str], start: str | None) -> tuple[str, str, str]:
    """Second, minute and hour: what the rule names, else what it repeats, else those of its start."""
    frequency = parts["FREQ"]
    repeats = _ORDER.index(frequency) if frequency in _ORDER else len(_ORDER) - 1
    at = re.fullmatch(r"[0-9]{8}T([0-9]{2})([0-9]{2})([0-9]{2})Z?", start or "")
    clock = [str(int(part)) for part in at.groups()] if at else ["0", "0", "0"]
    names = ("BYSECOND", "BYMINUTE", "BYHOUR")
    found = [parts.get(name) or ("*" if number >= repeats else clock[2 - number]) for number, name in enumerate(names)]
    return found[0], found[1], found[2]


def _days(parts: dict[str, str], start: str | None) -> str | None:
    """Day-of-month, month and day-of-week."""
    frequency, by_day, position = parts["FREQ"], parts.get("BYDAY", ""), parts.get("BYSETPOS")
    month = parts.get("BYMONTH", str(int(start[4:6])) if frequency == "YEARLY" and start else "*")
    month_day = _month_days(parts.get("BYMONTHDAY", ""))
    if position is not None:
        if position == "-1" and set(by_day.split(",")) == _WORKDAYS:
            return f"LW {month} *"
        return None
    weekday = _weekdays(by_day)
    if weekday is None or month_day is None or "*" not in (weekday, month_day):
        return None
    if by_day or "BYMONTHDAY" in parts or frequency not in ("WEEKLY", "MONTHLY", "YEARLY"):
        return f"{month_day} {month} {weekday}"
    if frequency == "WEEKLY":
        return None if start is None else f"* {month} {_weekday_of(start)}"
    first = str(int(start[6:8])) if start else "1"
    return f"{first} {month if month != '*' or frequency == 'MONTHLY' else '1'} *"


def _weekdays(by_day: str) -> str | None:
    if not by_day:
        return "*"
    items = []
    for item in by_day.split(","):
        match = re.fullmatch(r"\+?(-?[0-9]?)([A-Z]{2})", item)
        if match is None or match[2] not in _DAYS or match[1] not in ("", "1", "2", "3", "4", "5", "-1"):
            return None
        name = _DAYS[match[2]]
        items.append(f"{name}L" if match[1] == "-1" else f"{name}#{match[1]}" if match[1] else name)
    return ",".join(items)


def _month_days(days: str) -> str | None:
    items = [re.fullmatch(r"(-?)([0-9]{1,2})", item) for item in days.split(",")] if days else []
    if not all(items):
        return None
    found = [(item[1], int(item[2])) for item in items if item]
    return ",".join(("L" if day == 1 else f"L-{day - 1}") if sign else str(day) for sign, day in found) or "*"


def _weekday_of(start: str) -> str:
    try:
        day = date(int(start[:4]), int(start[4:6]), int(start[6:8]))
    except ValueError:
        return "*"
    return WEEKDAY_NAMES[day.isoweekday() % 7]
