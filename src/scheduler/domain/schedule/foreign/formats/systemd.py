"""systemd timers: ``OnCalendar=Mon..Fri *-*-* 09:00:00``, and the settings that take a time span."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.durations import read_duration, same_here
from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import weekday
from scheduler.domain.schedule.foreign.zones.names import names_zone

_SETTING = re.compile(r"(On[A-Za-z]+)\s*=\s*(.*)", re.IGNORECASE)
_DATE = re.compile(r"(?:([0-9*.,/]+)-)?([0-9*.,/]+)([-~])([0-9*.,/]+)")
_TIME = re.compile(r"([0-9*.,/-]+):([0-9*.,/-]+)(?::([0-9*.,/-]+))?")
_COMPONENT = re.compile(r"(\*|[0-9]{1,2}(?:(?:\.\.|-)[0-9]{1,2})?)(?:/([0-9]{1,2}))?(?:\.0+)?")
_WORDS = {
    "minutely": ("* * * * *",),
    "hourly": ("@hourly",),
    "daily": ("@daily",),
    "monthly": ("@monthly",),
    "quarterly": ("0 0 1 1,4,7,10 *",),
    "semiannually": ("0 0 1 1,7 *",),
    "yearly": ("@yearly",),
    "annually": ("@yearly",),
    "weekly": ("@weekly", "0 0 * * MON"),
}


def recognise(line: str) -> Hint | None:
    """A calendar event, with or without ``OnCalendar=``, a word such as ``hourly``, or a time span of ``On…Sec=``."""
    setting = _SETTING.fullmatch(line)
    if setting is not None and setting[1].lower().endswith("sec"):
        duration = read_duration(setting[2])
        return Hint(what="is a time span of systemd", write=same_here(duration)[:1]) if duration else None
    text = setting[2] if setting is not None else line
    if text.lower() in _WORDS:
        more = "the week of @weekly begins on Sunday, that of systemd on Monday" if text.lower() == "weekly" else ""
        return Hint(what="is a word of systemd and others", write=_WORDS[text.lower()], more=more)
    return _calendar_event(text)


def _calendar_event(text: str) -> Hint | None:
    words = text.split()
    zone = words.pop() if len(words) > 1 and names_zone(words[-1]) else ""
    days = _weekdays(words.pop(0)) if words and words[0][0].isalpha() else "*"
    date = _DATE.fullmatch(words[0]) if words else None
    if date is not None:
        del words[0]
    time = _TIME.fullmatch(words[0]) if len(words) == 1 else None
    if days is None or (words and time is None) or (date is None and time is None):
        return None
    year, month, link, day = date.groups() if date is not None else (None, "*", "-", "*")
    month_day = _from_last(day) if link == "~" else _field(day)
    hour, minute, second = time.groups() if time is not None else ("0", "0", "0")
    fields = [_field(second or "0"), _field(minute), _field(hour), month_day, _field(month)]
    if None in fields:
        return None
    line = " ".join(field for field in fields if field is not None)
    more = ['day_match: "and" makes both match'] if "*" not in (month_day, days) else []
    if zone:
        more.append(f"the zone goes into timezone: {zone}")
    if year not in (None, "*"):
        more.append(f"starts_at and ends_at say the year, {year}")
    return Hint(
        what="is a calendar event of systemd", write=(f"{line.removeprefix('0 ')} {days}",), more="; ".join(more)
    )


def _field(component: str) -> str | None:
    items = [_COMPONENT.fullmatch(item) for item in component.split(",")]
    fields = []
    for item in items:
        if item is None:
            return None
        start = "-".join(str(int(part)) if part.isdigit() else part for part in re.split(r"\.\.|-", item[1]))
        start = "*" if item[2] and start in ("0", "*") else start
        fields.append(f"{start}/{int(item[2])}" if item[2] else start)
    return ",".join(fields)


def _from_last(component: str) -> str | None:
    """Days counted from the end, where 1 is the last day: ``1`` is ``L``, ``3/1`` is ``L-2,L-1,L``."""
    match = re.fullmatch(r"([0-9]{1,2})(?:/([0-9]{1,2}))?", component)
    if match is None or not int(match[1]) or match[2] == "0":
        return None
    backs = range(int(match[1]) - 1, -1, -int(match[2])) if match[2] else [int(match[1]) - 1]
    return ",".join(f"L-{back}" if back else "L" for back in backs)


def _weekdays(word: str) -> str | None:
    items = []
    for item in word.rstrip(",").split(","):
        ends = [weekday(end) for end in re.split(r"\.\.|-", item)]
        if None in ends or len(ends) > 2:
            return None
        items.append("-".join(end for end in ends if end))
    return ",".join(items)
