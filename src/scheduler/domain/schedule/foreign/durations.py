"""Reads durations as people write them ("5 minutes", "1h 30min"), and turns them into schedules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from scheduler.domain.schedule.foreign.names import plain

_WORDS = {
    "s": "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos secondo secondi",
    "m": "m min mins minute minutes minuten minuto minutos minuti minuut minuter",
    "h": "h hr hrs hour hours stunde stunden std heure heures hora horas ora ore uur",
    "d": "d day days tag tage tagen jour jours dia dias giorno giorni dag dagen",
    "w": "w wk wks week weeks woche wochen semaine semaines semana semanas settimana settimane weken",
    "month": "mo month months monat monate monaten mois mes meses mese mesi maand maanden",
    "year": "y yr yrs year years jahr jahre jahren ans annee annees ano anos anno anni jaar",
    "ms": "ms msec millis millisecond milliseconds",
}
UNITS = {word: unit for unit, words in _WORDS.items() for word in words.split()}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"([0-9]{1,9}(?:[.,][0-9]{1,6})?)\s*([^\W\d_]+)(?:\s*(?:,|and|und|et|y|e)?\s+|\s*)")


@dataclass(frozen=True, slots=True)
class Duration:
    """Numbers of units, as they were written. Units are ``s m h d w``, or ``ms month year``."""

    parts: tuple[tuple[Fraction, str], ...]

    @property
    def single(self) -> tuple[int, str] | None:
        """The number and unit, where there is one of them and it is whole."""
        if len(self.parts) != 1 or self.parts[0][0].denominator != 1:
            return None
        return int(self.parts[0][0]), self.parts[0][1]

    def compact(self) -> str | None:
        """As ``@every`` takes it, such as ``1h30m``; ``None`` where it is no fixed number of seconds, or none."""
        units = [unit for _, unit in self.parts]
        if any(unit in ("month", "year") for unit in units):
            return None
        is_plain = all(number.denominator == 1 and number and unit in SECONDS for number, unit in self.parts)
        if is_plain and len(set(units)) == len(units):
            return "".join(f"{number}{unit}" for number, unit in self.parts)
        per = {**{unit: Fraction(length) for unit, length in SECONDS.items()}, "ms": Fraction(1, 1000)}
        total = sum((number * per[unit] for number, unit in self.parts), Fraction(0))
        return _in_units(int(total)) if total.denominator == 1 and total >= 1 else None


def read_duration(text: str) -> Duration | None:
    """The duration that a text is, such as "5 minutes", "1h 30min" or "1.5 hours"; ``None`` where it is something else.

    A unit of one letter is read by its case: ``M`` is a month, as in systemd and rufus-scheduler.
    """
    parts: list[tuple[Fraction, str]] = []
    position, text = 0, text.strip()
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        unit = unit_of(match[2])
        if unit is None:
            return None
        parts.append((Fraction(match[1].replace(",", ".")), unit))
        position = match.end()
    return Duration(tuple(parts)) if parts else None


def unit_of(word: str) -> str | None:
    """The unit that a word such as "minutes" names, in one of several languages."""
    return "month" if word == "M" else UNITS.get(plain(word))


def same_here(duration: Duration) -> tuple[str, ...]:
    """Schedules with this distance: aligned to the clock where it divides the next unit, and in elapsed time."""
    compact, aligned = duration.compact(), _aligned(duration.single)
    every = (f"@every {compact}",) if compact else ()
    return aligned if not every else (every[0], *aligned)


def _aligned(single: tuple[int, str] | None) -> tuple[str, ...]:
    """By the clock, such as ``*/5 * * * *``."""
    if single is None or single[0] < 1:
        return ()
    number, unit = single
    if number == 1:
        once = {"s": "* * * * * *", "m": "* * * * *", "h": "@hourly", "d": "@daily", "w": "@weekly"}
        return (({**once, "month": "@monthly", "year": "@yearly"})[unit],) if unit != "ms" else ()
    patterns = {"s": (60, f"*/{number} * * * * *"), "m": (60, f"*/{number} * * * *"), "h": (24, f"0 */{number} * * *")}
    size, pattern = {**patterns, "month": (12, f"0 0 1 */{number} *")}.get(unit, (1, ""))
    return (pattern,) if number < size and size % number == 0 else ()


def _in_units(seconds: int) -> str:
    text = ""
    for unit in ("d", "h", "m", "s"):
        number, seconds = divmod(seconds, SECONDS[unit])
        if number:
            text += f"{number}{unit}"
    return text
