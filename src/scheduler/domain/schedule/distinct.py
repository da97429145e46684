"""Counts the distinct fire times of several lines, without computing each of them.

Lines at different fractions of a second share no fire time and are counted apart. The others are combined day by day as
masks with a bit for each second, or for each minute where all lines fire at second 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.schedule.cron import DAY_S
from scheduler.domain.schedule.lines import Interval, Line, Moment, ZonedCron
from scheduler.domain.schedule.zones import Piece, Zone

_ENUMERATE_UP_TO = 256
"""So many fire times are computed one by one: that is faster than combining masks."""


def window(line: Line, start_at: Instant, end_at: Instant) -> tuple[int, int]:
    """The seconds ``start <= s < stop`` of the line whose fire times t have ``start_at <= t <= end_at``."""
    return -((line.fraction - start_at) // SECOND), (end_at - line.fraction) // SECOND + 1


def count_distinct(lines: Sequence[Line], zone: Zone, start_at: Instant, end_at: Instant) -> int:
    """How many distinct fire times t of all lines there are with ``start_at <= t <= end_at``."""
    total = 0
    for fraction in {line.fraction for line in lines}:
        aligned = [line for line in lines if line.fraction == fraction]
        total += _count_aligned(aligned, zone, *window(aligned[0], start_at, end_at))
    return total


def _count_aligned(lines: Sequence[Line], zone: Zone, start: int, stop: int) -> int:
    counts = [line.count(start, stop) for line in lines]
    firing = [line for line, count in zip(lines, counts, strict=True) if count]
    if len(firing) <= 1:
        return sum(counts)
    if sum(counts) <= _ENUMERATE_UP_TO:
        return len({second for line in firing for second in _seconds(line, start, stop)})
    recurring = [line for line in firing if not isinstance(line, Moment)]
    moments = {second for line in firing if isinstance(line, Moment) for second in _seconds(line, start, stop)}
    moments_only = sum(all(line.first(second, second + 1) is None for line in recurring) for second in moments)
    return moments_only + _count_recurring(recurring, zone, start, stop)


def _seconds(line: Line, start: int, stop: int) -> Iterator[int]:
    while (found := line.first(start, stop)) is not None:
        yield found
        start = found + 1


def _count_recurring(lines: Sequence[Line], zone: Zone, start: int, stop: int) -> int:
    patterns = [line for line in lines if isinstance(line, ZonedCron)]
    intervals = [line for line in lines if isinstance(line, Interval)]
    overlay = _Overlay(patterns, intervals)
    total = 0
    while start < stop:
        piece = zone.piece_at(start)
        ends = min(piece.end, stop)
        total += overlay.count(piece, start, ends)
        if start == piece.start and any(line.runs_after_gap(piece) for line in patterns):
            regular = any(line.shows(piece, start) for line in patterns)
            total += not regular and all(line.first(start, start + 1) is None for line in intervals)
        start = ends
    return total


class _Overlay:
    """Combines the masks of lines, once for each set of lines that fire on the same day."""

    def __init__(self, patterns: Sequence[ZonedCron], intervals: Sequence[Interval]) -> None:
        self._patterns = patterns
        self._intervals = intervals
        self._unit = 60 if not intervals and all(line.cron.seconds == 1 for line in patterns) else 1
        self._masks = [line.cron.times_mask(self._unit) for line in patterns]
        self._combined: dict[int, int] = {}

    def count(self, piece: Piece, start: int, stop: int) -> int:
        """The distinct seconds of the lines in a window within ``piece``."""
        low, high = start + piece.offset, stop + piece.offset
        allowed = [number for number, line in enumerate(self._patterns) if not line.skips(piece)]
        total = 0
        for day in range(low // DAY_S, -(-high // DAY_S)):
            midnight = day * DAY_S
            mask = self._on_day(allowed, day)
            for interval in self._intervals:
                mask |= interval.day_mask(midnight - piece.offset)
            if midnight < low:
                mask &= -1 << -(-(low - midnight) // self._unit)
            if high < midnight + DAY_S:
                mask &= (1 << -(-(high - midnight) // self._unit)) - 1
            total += mask.bit_count()
        return total

    def _on_day(self, allowed: Sequence[int], day: int) -> int:
        matching = sum(1 << number for number in allowed if self._patterns[number].cron.matches_day(day))
        mask = self._combined.get(matching)
        if mask is None:
            mask = 0
            for number in allowed:
                if matching >> number & 1:
                    mask |= self._masks[number]
            self._combined[matching] = mask
        return mask
