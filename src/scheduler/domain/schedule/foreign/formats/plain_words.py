"""Plain words, most of all English: "every 5 minutes", "daily at 9am", "first monday of the month at 10:30".

What is understood is taken out of the text, piece by piece; where anything but filling words is left over, nothing is
proposed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from scheduler.domain.schedule.foreign.durations import UNITS, Duration, read_duration, same_here
from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.names import MONTHS, WEEKDAYS, plain

_EVERY = r"(?:every|each|per|alle|jede[nrsm]?|toutes? les|tous les|chaque|cada|todos los|todas las|ogni|tutti i|elke)"
_CLOCK = r"(?:[0-9]{1,2}(?:[:.h][0-9]{2})?(?::[0-9]{2})?\s?(?:am|pm|a\.m\.?|p\.m\.?|uhr|h|o'clock)?|noon|midnight)"
_AT = r"(?:at|um|a las?|alle ore|om|@)\s+"
_HALF = r"(?:am|pm|a\.m\.?|p\.m\.?|uhr|h|o'?clock)"
_SURE_CLOCK = re.compile(
    rf"\b(?:{_AT})?(?:[0-9]{{1,2}}(?:[:.h][0-9]{{2}})?(?::[0-9]{{2}})?\s?{_HALF}(?![a-z0-9])|"
    rf"[0-9]{{1,2}}[:h][0-9]{{2}}(?::[0-9]{{2}})?|noon|midday|midnight)|\b{_AT}[0-9]{{1,2}}(?![0-9:.h])"
)
_WINDOW = re.compile(
    rf"\b(?:from|between|von|de|zwischen)\s+({_CLOCK})\s+(?:to|and|until|till|bis|und|a|-)\s+({_CLOCK})"
)
_NTH_NAMES = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "1st": 1,
    "2nd": 2,
    "3rd": 3,
    "4th": 4,
    "5th": 5,
}
_DAY_NAMES = "|".join(sorted(WEEKDAYS, key=len, reverse=True))
_LONG_DAYS = "|".join(sorted((word for word in WEEKDAYS if len(word) > 2), key=len, reverse=True))
_NTHS = "|".join((*_NTH_NAMES, "last"))
_NTH_DAY = re.compile(rf"\b(?:the )?((?:{_NTHS})(?:,(?:{_NTHS}))*) ((?:{_LONG_DAYS})(?:,(?:{_LONG_DAYS}))*)\b")
_LAST_DAY = re.compile(r"\b(?:the )?last day\b(?: of)?(?: the| every| each)?(?: month)?")
_MONTHS = rf"(?:{'|'.join(sorted((word for word in MONTHS if len(word) > 2), key=len, reverse=True))})"
_MONTH = re.compile(rf"\b({_MONTHS}(?:,{_MONTHS})*)\b(?: ([0-9]{{1,2}})(?:st|nd|rd|th)?(?![0-9:h]))?")
_BARE_DAY = re.compile(r"(?<![0-9:])\b([0-9]{1,2})\b(?!\s?(?:am|pm|uhr|h\b)|:)")
_WEEKDAYS = re.compile(
    rf"\b((?:{_DAY_NAMES})(?:\s?(?:-|to|through|thru|bis|a|al|,|and|und|et|y|&)\s?(?:{_DAY_NAMES}))*)\b"
)
_MONTH_DAY = re.compile(
    rf"\b(?:(?:the )?([0-9]{{1,2}})(?:st|nd|rd|th)(?: day)?|day ([0-9]{{1,2}}|1w|lw)(?!\s?{_HALF}|[:.h]?[0-9])\b|"
    rf"([0-9]{{1,2}}(?:,[0-9]{{1,2}})*)(?= of (?:the )?month))\b"
)
_IN = re.compile(r"(?:once )?(?:in|after) (.*)|(.*) from now|in (.*) from now|(?:@at )?\+(.*)")
_ONCE = re.compile(r"\b(tomorrow|today|tonight|next|now|immediately|once|asap|morgen fruh)\b")
_FILLER_WORDS = """
at on the of in every each day days daily and um am pm a an per month monthly week weekly year yearly annually for jeden
jede jeder taglich tag tage uhr o'clock de le les la el los las a' chaque jour jours tous todos dia dias cada ogni
giorno giorni , - & @ run runs job night morning nightly only synchronized
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_WHAT = "is in plain words"
_SINGLE_TIME = Hint(what="is a single time", more="that is @at 2026-12-24T18:00:00, or @in 10m from now")
_SAME = {
    "hour": "hourly stundlich horaire horario orario toutes-les-heures",
    "day": "daily nightly taglich quotidien journalier diario diariamente giornaliero quotidiano dagelijks",
    "week": "weekly wochentlich hebdomadaire semanal semanalmente settimanale wekelijks",
    "month": "monthly monatlich mensuel mensual mensualmente mensile maandelijks",
    "year": "yearly annually jahrlich annuel anual anualmente annuale jaarlijks",
    "minute": "minutely minutlich",
}
_ADVERBS = {word: unit for unit, words in _SAME.items() for word in words.split()}
_UNIT_NAMES = "|".join(sorted((word for word in UNITS if len(word) > 2), key=len, reverse=True))
_WHOLE = re.compile(rf"(?:{_EVERY}\s+)?([0-9].*?)(?: synchronized)?")
_FREQUENCY = re.compile(
    rf"\b(?:{_EVERY}\s+)?(?:(?P<number>[0-9]{{1,6}}(?:[.,][0-9]+)?)\s*|"
    rf"(?P<other>other|second|half|quarter)\s+(?:of an )?)?\b(?P<unit>{_UNIT_NAMES})\b"
)
_TIMES_A = re.compile(r"\b(?:(once|twice|[0-9]{1,2} times)) (?:an?|per|every|each) (minute|hour|day|week|month|year)\b")


@dataclass(slots=True)
class _Found:
    """What has been taken out of the text."""

    rest: str
    duration: Duration | None = None
    window: tuple[int, int] | None = None
    clocks: list[tuple[int, int, int]] = field(default_factory=list)
    weekdays: str = "*"
    month_day: str = "*"
    month: str = "*"

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match, which is no longer in the rest."""
        match = pattern.search(self.rest)
        if match is not None:
            self.rest = f"{self.rest[: match.start()]} {self.rest[match.end() :]}"
        return match


def recognise(line: str) -> Hint | None:
    """A repetition, a time of day, or a single time to come."""
    text = re.sub(r"(?<=[0-9])\.(?=[a-z])|:(?=[a-z])", " ", plain(line))  # Ruby: every 1.day, every :monday
    text = re.sub(r"^(?:every|schedule)\s*[:=]\s*", "every ", text)
    text = re.sub(r"\s+", " ", text).strip(" .!\"'")
    if not re.search(r"[a-z]{2}|[0-9]\s?[:h][0-9]|[0-9]\s?[smhdw]\b", text) or re.search(r"[*?/\\#=]", text):
        return None
    later = _IN.fullmatch(text)
    length = next(group for group in later.groups() if group is not None) if later else ""
    duration = read_duration(re.sub(r"^(?:an?|one) ", "1 ", length))
    if duration is not None:
        compact = duration.compact()
        return Hint(what="is a time from now", write=(f"@in {compact}",)) if compact else _SINGLE_TIME
    whole = _WHOLE.fullmatch(text)
    duration = read_duration(whole[1]) if whole else None
    if duration is not None:
        return Hint(what=_WHAT, write=same_here(duration))
    if text in ("now", "immediately", "asap"):
        return Hint(what="is no schedule", more="POST /api/jobs/{id}/trigger runs a job now, @in 1s once in a second")
    found = _taken_apart(text)
    if all(word in _FILLERS for word in found.rest.split()):
        return _hint(found, text)
    if _ONCE.search(text) and not text.startswith("@"):
        return _SINGLE_TIME
    return None


def _taken_apart(text: str) -> _Found:
    text = re.sub(r"\bfirst (weekday|workday|business day|working day)\b", "day 1w", text)
    text = re.sub(r"\blast (weekday|workday|business day|working day)\b", "day lw", text)
    found = _Found(rest=re.sub(r"\b(weekdays?|workdays?|business days?|working days?|werktags?)\b", "mon-fri", text))
    found.rest = re.sub(r"\b(weekends?|wochenende)\b", "sat,sun", found.rest)
    window = found.take(_WINDOW)
    if window is not None:
        ends = [_clock_of(end) for end in window.groups()]
        if all(end is not None and end[1:] == (0, 0) for end in ends):
            found.window = tuple(end[0] for end in ends if end)[:2]  # type: ignore[assignment]
        else:
            found.rest += " unclear"
    _take_days(found)
    while (clock := found.take(_SURE_CLOCK)) is not None:
        read = _clock_of(clock[0])
        if read is None:
            found.rest += " unclear"
            break
        found.clocks.append(read)
    _take_frequency(found)
    days = found.take(_WEEKDAYS)
    if days is not None and found.weekdays == "*":
        found.weekdays = _weekday_field(days[1])
    return found


def _take_days(found: _Found) -> None:
    nth = found.take(_NTH_DAY)
    if nth is not None:
        names = [WEEKDAYS[name] for name in nth[2].split(",")]
        suffixes = ["L" if which == "last" else f"#{_NTH_NAMES[which]}" for which in nth[1].split(",")]
        found.weekdays = ",".join(f"{name}{suffix}" for suffix in suffixes for name in names)
    if found.take(_LAST_DAY) is not None:
        found.month_day = "L"
    month = found.take(_MONTH)
    if month is not None:
        found.month = ",".join(MONTHS[name] for name in month[1].split(","))
        found.month_day = month[2] or found.month_day
    numbers = []
    while (day := found.take(_MONTH_DAY)) is not None:
        numbers.append(day[1] or day[2] or day[3])
    if month is not None and month[2] is None and not numbers and nth is None:
        before = found.take(_BARE_DAY)
        numbers = [before[1]] if before is not None else []
    if numbers:
        found.month_day = ",".join(numbers).upper()


def _take_frequency(found: _Found) -> None:
    times = found.take(_TIMES_A)
    if times is not None:
        number = {"once": 1, "twice": 2}.get(times[1]) or int(times[1].split()[0])
        per_s = {"minute": 60, "hour": 3600, "day": 86_400}.get(times[2])
        if number == 1:
            found.duration = read_duration(f"1 {times[2]}")
        elif number and per_s and per_s % number == 0:
            found.duration = Duration(_whole_units(per_s // number))
        else:
            found.rest += " unclear"
        return
    words = found.rest.split()
    for word in words:
        if word in _ADVERBS:
            found.duration = read_duration(f"1 {_ADVERBS[word]}")
            words.remove(word)
            found.rest = " ".join(words)
            return
    match = found.take(_FREQUENCY)
    if match is None:
        return
    share = {"half": "0.5", "quarter": "0.25", "other": "2", "second": "2"}.get(match["other"] or "")
    found.duration = read_duration(f"{match['number'] or share or '1'} {match['unit']}")
    follows = re.match(r"\s*(?:and )?(\d+\s*[a-z]+)\b", found.rest[match.start() :])
    second = read_duration(follows[1]) if follows and found.duration else None
    if second is not None and found.duration is not None and follows is not None:
        found.rest = found.rest.replace(follows[0], " ", 1)
        found.duration = Duration((*found.duration.parts, *second.parts))


def _hint(found: _Found, text: str) -> Hint | None:
    """The schedule that what was found makes up; ``None`` where it does not."""
    days = f"{found.month_day} {found.month} {found.weekdays}"
    compact, single = (found.duration.compact(), found.duration.single) if found.duration else (None, None)
    is_short = compact is not None and (single is None or single[1] in ("s", "m", "h", "ms"))
    if is_short and found.duration is not None:
        if days == "* * *" and found.window is None:
            return None if found.clocks else Hint(what=_WHAT, write=same_here(found.duration))
        return _within(found, days)
    if not found.clocks and days == "* * *":
        if found.duration is None:
            return None
        note = "the week of @weekly begins on Sunday" if single == (1, "w") else ""
        more_weeks = ("0 0 * * MON",) if single == (1, "w") else ()
        return Hint(what=_WHAT, write=(*same_here(found.duration), *more_weeks), more=note)
    if found.window is not None:
        return None
    if single is not None and single[0] > 1:
        return Hint(what=_WHAT, write=same_here(found.duration)[:1] if found.duration else (), more=_ANCHOR)
    unit = single[1] if single else "d"
    if days == "* * *":
        days = {"w": "* * MON", "month": "1 * *", "year": "1 1 *"}.get(unit, days)
    elif unit == "year" and found.month == "*":
        return None
    both = 'day_match: "and" makes both match' if "*" not in (found.month_day, found.weekdays) else ""
    lines = _lines(found.clocks or [(0, 0, 0)], days)
    return Hint(what=_WHAT, write=(lines,), more=both) if lines else None


_ANCHOR = "anchor says from when it counts"


def _within(found: _Found, days: str) -> Hint | None:
    """A short frequency on some days or in some hours of them: aligned to the clock."""
    aligned = [line for line in same_here(found.duration) if not line.startswith("@every")] if found.duration else []
    if not aligned or found.clocks:
        return None
    line = {"@hourly": "0 * * * *"}.get(aligned[0], aligned[0])
    *times, hour, _, _, _ = line.split()
    if found.window is None:
        return Hint(what=_WHAT, write=(f"{' '.join(times)} {hour} {days}",))
    first, last = found.window
    step = hour.removeprefix("*")
    is_hourly = times == ["0"]
    hours = f"{first}-{last if is_hourly else (last - 1) % 24}{step}"
    more = "" if is_hourly else f"it ends before {last:02d}:00"
    return Hint(what=_WHAT, write=(f"{' '.join(times)} {hours} {days}",), more=more)


def _lines(clocks: list[tuple[int, int, int]], days: str) -> str | None:
    """One line for all times of day, which must share their minute or their hour."""
    hours, minutes, seconds = ([*dict.fromkeys(clock[part] for clock in clocks)] for part in range(3))
    if len(seconds) > 1 or (len(hours) > 1 and len(minutes) > 1):
        return None
    prefix = f"{seconds[0]} " if seconds != [0] else ""
    return f"{prefix}{','.join(map(str, minutes))} {','.join(map(str, hours))} {days}"


def _clock_of(text: str) -> tuple[int, int, int] | None:
    named = re.search(r"noon|midday|midnight", text)
    if named is not None:
        return (0 if named[0] == "midnight" else 12), 0, 0
    match = re.search(r"([0-9]{1,2})(?:[:.h]([0-9]{2}))?(?::([0-9]{2}))?\s?([ap])?", text)
    if match is None:
        return None
    hour, half = int(match[1]), match[4]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    clock = hour, int(match[2] or 0), int(match[3] or 0)
    return clock if clock[0] < 24 and clock[1] < 60 and clock[2] < 60 else None


def _weekday_field(text: str) -> str:
    field = re.sub(r"\s?(?:-|\bto\b|\bthrough\b|\bthru\b|\bbis\b|\bal?\b)\s?", "-", text)
    field = re.sub(r"\s?(?:,|\band\b|\bund\b|\bet\b|\by\b|&)\s?", ",", field)
    return re.sub(r"[a-z]+", lambda match: WEEKDAYS.get(match[0], match[0]), field)


def _whole_units(seconds: int) -> tuple[tuple[Fraction, str], ...]:
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return ((Fraction(seconds // length), unit),)
    return ((Fraction(seconds), "s"),)
