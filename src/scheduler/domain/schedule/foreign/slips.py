"""Recognises near misses: lines that differ from a schedule by a slip, such as blanks within a field."""

from __future__ import annotations

import re
from calendar import month_name, monthrange

from scheduler.domain.schedule.foreign.durations import read_duration, same_here
from scheduler.domain.schedule.foreign.formats.iso8601 import as_at, read_iso_duration
from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import month, weekday

_WRAPPED = re.compile(
    r"""(?:-\s+)?(?:(?:cron|crontab|schedule|expression|cron_expression)(?:\s*[:=]\s*|\s+))?(["'`]*)(.*?)["'`;.,]*"""
)
_MACROS = {
    "minutely": "* * * * *",
    "every_minute": "* * * * *",
    "every_second": "* * * * * *",
    "secondly": "* * * * * *",
    "5minutes": "*/5 * * * *",
    "every_5_minutes": "*/5 * * * *",
    "every_hour": "@hourly",
    "every_day": "@daily",
    "every_week": "@weekly",
    "every_month": "@monthly",
    "every_year": "@yearly",
    "annual": "@yearly",
    "noon": "0 12 * * *",
    "midday": "0 12 * * *",
    "nightly": "@daily",
    "quarterly": "0 0 1 1,4,7,10 *",
    "semiannually": "0 0 1 1,7 *",
    "weekdays": "0 0 * * MON-FRI",
    "weekday": "0 0 * * MON-FRI",
    "weekends": "0 0 * * SAT,SUN",
    "biweekly": "@every 2w",
    "fortnightly": "@every 2w",
}
_A_DATE = "@at 2026-12-24T18:00:00 names a date"
_TO = re.compile(r"(?<=\w) (?:to|through|thru|until|till|bis) (?=\w)", re.IGNORECASE)
_AND = re.compile(r"(?<=\w) (?:and|or|und|oder|&) (?=\w)", re.IGNORECASE)
_STEP = re.compile(r"(?:\*|0)/([0-9]{1,6})")
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?\s?(am|pm|h|uhr)?", re.IGNORECASE)


def unwrapped(line: str) -> str:
    """The line without quotes, a comment, backslashes or a label such as ``cron:`` around it."""
    match = _WRAPPED.fullmatch(re.sub(r"\s#[\s!a-z].*$", "", line, flags=re.IGNORECASE).strip())
    return re.sub(r"[\\\"'`]", "", match[2] if match else line).strip()


def macro(line: str) -> Hint | None:
    """A macro of others, or one of ours that is not written quite right."""
    word, _, rest = line.partition(" ")
    if not word.startswith("@"):
        return None
    name = word[1:].lower()
    if name in ("every", "in"):
        return _duration(name, rest)
    if name == "at":
        return _at(rest)
    if name == "reboot":
        return Hint(what="is not a macro here: no job starts with the machine")
    if name.replace("-", "_") in _MACROS and not rest:
        return Hint(what="is a macro of others", write=(_MACROS[name.replace("-", "_")],))
    duration = read_duration(name.removeprefix("every").lstrip("_- ") or rest)
    return Hint(what="is a macro of others", write=same_here(duration)) if duration and not rest else None


def blanks(line: str) -> Hint | None:
    """Blanks around ``-``, ``,`` and ``/``, words for them, or blanks between weekdays: all are one field."""
    joined = re.sub(r"(?<=\w) ?([-,/]) ?(?=\w)|(?<=\*) ?(/) ?(?=\w)", lambda match: match[1] or match[2], line)
    if joined != line and len(joined.split()) in (5, 6):
        return Hint(what="has blanks within a field", write=(joined,))
    worded = _AND.sub(",", _TO.sub("-", line)).split(" ")
    if len(worded) in (5, 6) and " ".join(worded) != line:
        days_field = ",".join(_day_item(item) for item in worded[-1].split(","))
        return Hint(what="has words within a field", write=(" ".join([*worded[:-1], days_field]),))
    words = line.split(" ")
    days = [_day_name(word.strip(",")) for word in words[4:]]
    if len(words) > 5 and all(days):
        return Hint(
            what="has several days of the week: commas join them, without blanks",
            write=(" ".join([*words[:4], ",".join(day for day in days if day)]),),
        )
    return None


def _day_name(word: str) -> str | None:
    return word if re.fullmatch(r"[0-7]", word) else weekday(word)


def fields(line: str) -> Hint | None:
    """A field that others write differently: a step that is too large, names in full, ``FRI#L``, ``/5``, ``25-L``."""
    words = line.split(" ")
    if len(words) not in (5, 6):
        return None
    large = _large_step(words[-5:]) if len(words) == 5 else _large_step(words, seconds=True)
    if large is not None:
        return large
    days = ",".join(_day_item(item) for item in words[-1].split(","))
    months = ",".join(_month_item(item) for item in words[-2].split(","))
    clock = _clock(words[:-3], is_daily=set(words[-3:]) <= {"*", "?"})
    month_days = re.sub(r"\b([0-9]{1,2})-L$", r"\1-31", words[-3], flags=re.IGNORECASE)
    better = re.sub(r"(?<![^ ,])/", "*/", " ".join([*clock, month_days, months, days]))
    return Hint(what="", write=(better,)) if better != line else None


def _duration(name: str, rest: str) -> Hint | None:
    duration = read_iso_duration(rest) or read_duration(rest) or (read_duration(f"1 {rest}") if rest else None)
    if read_iso_duration(rest) is None and re.search(r"[0-9]\s*M(?![A-Za-z])", rest):
        return Hint(
            what="has months (M), which are no fixed interval",
            write=("@monthly",) if name == "every" and re.fullmatch(r"1\s*M", rest) else (),
            more=f"m is minutes, as in @{name} 1m" + (f"; {_A_DATE}" if name == "in" else ""),
        )
    if duration is None:
        units = (f"@{name} {int(rest)}m", f"@{name} {int(rest)}s") if re.fullmatch(r"[0-9]{1,9}", rest) else ()
        return Hint(what="", write=units, more="it has no unit") if units else None
    compact = duration.compact()
    if compact is None and any(unit == "ms" for _, unit in duration.parts):
        return Hint(what="", more="whole seconds are the shortest")
    if compact is None and not any(unit in ("month", "year") for _, unit in duration.parts):
        return None
    if compact is None:
        what = "has months or years, which are no fixed interval"
        if name == "in":
            return Hint(what=what, more=_A_DATE)
        return Hint(what=what, write=same_here(duration))
    return Hint(what="", write=(f"@{name} {compact}",))


def _at(rest: str) -> Hint | None:
    day = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", rest)
    if day is not None and 1 <= int(day[2]) <= 12:
        last = monthrange(int(day[1]) or 1, int(day[2]))[1]
        if not 1 <= int(day[3]) <= last:
            name = month_name[int(day[2])]
            return Hint(what="", more=f"there is no {int(day[3])} {name} {day[1]}, which has {last} days")
    if re.fullmatch(r"[0-9-]{10}[Tt ][0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:?[0-9]{2})?", rest, re.IGNORECASE):
        at = as_at(rest)
        return Hint(what="has a time whose seconds are missing", write=(at,) if at else ())
    zoned = re.fullmatch(r"(.*[0-9])\s*\[?([A-Za-z]+/[A-Za-z_/]+)\]?", rest)
    at = as_at(zoned[1] if zoned else rest)
    more = f"the zone goes into timezone: {zoned[2]}" if zoned else ""
    return Hint(what="", write=(at,), more=more) if at else None


def _large_step(words: list[str], *, seconds: bool = False) -> Hint | None:
    """A step beyond the field, as in ``*/90``, where all fields before are 0 and all behind are ``*``."""
    units = ("s", "m", "h", "d")[0 if seconds else 1 :]
    for position, unit in enumerate(units):
        match = _STEP.fullmatch(words[position])
        behind = words[position + 1 :]
        if match is None or any(word not in ("*", "?") for word in behind):
            continue
        if any(not re.fullmatch(r"[0-9]+", word) for word in words[:position]):
            continue
        more = "" if set(words[:position]) <= {"0"} else "anchor says from when it counts"
        return Hint(what="", write=(f"@every {int(match[1])}{unit}",), more=more)
    weeks = re.fullmatch(r"\*/(14|21|28)", words[-1])
    return Hint(what="", write=(f"@every {int(weeks[1]) // 7}w",)) if weeks else None


def _day_item(item: str) -> str:
    last = re.fullmatch(r"(\w+)#-?(?:L|1|last)", item, re.IGNORECASE)
    if last is not None and not re.fullmatch(r".*#1", item):
        return f"{weekday(last[1]) or last[1]}L"
    return re.sub(r"[^\W\d_]{2,}\.?", lambda match: _kept(match[0], weekday(match[0])), item)


def _month_item(item: str) -> str:
    return re.sub(r"[^\W\d_]{3,}\.?", lambda match: _kept(match[0], month(match[0])), item)


def _kept(word: str, name: str | None) -> str:
    """The name, unless the word is the same in another case."""
    return word if name is None or word.upper() == name else name


def _clock(words: list[str], *, is_daily: bool) -> list[str]:
    """Seconds, minute and hour, where the hour is written as on a clock: ``9am``, ``9:30``, ``24``."""
    match = _CLOCK.fullmatch(words[-1])
    if match is None or (match[2] is None and match[3] is None and not (match[1] == "24" and is_daily)):
        return words
    hour = int(match[1])
    if (match[3] or "").lower() in ("am", "pm"):
        hour = hour % 12 + (12 if match[3].lower() == "pm" else 0)
    minute = str(int(match[2])) if match[2] else words[-2]
    return [*words[:-2], minute, str(hour % 24)]
