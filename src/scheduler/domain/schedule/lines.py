"""The three kinds of schedule line as sets of epoch seconds: a cron pattern in a zone, an interval, one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.schedule.cron import DAY_S, CronLine
from scheduler.domain.schedule.days import HORIZON_YEARS
from scheduler.domain.schedule.zones import MARGIN_S, Piece, Zone

HORIZON_S = HORIZON_YEARS * 366 * DAY_S
END_S = 253_370_764_800
"""9999-01-01: nothing fires from then on, so that every fire time can be written as a local time in RFC 3339."""
Transition = Literal["gap", "overlap"]


class Line(Protocol):
    """One line of a schedule. Its windows are half-open, ``start <= s < stop``, and in whole epoch seconds."""

    @property
    def text(self) -> str:
        """The line as its author wrote it."""
        ...

    @property
    def fraction(self) -> int:
        """Microseconds between each second of the line and its fire time; an interval has those of its anchor."""
        ...

    def first(self, start: int, stop: int) -> int | None:
        """The first second of the window at which the line fires."""
        ...

    def last(self, start: int, stop: int) -> int | None:
        """The last second of the window at which the line fires."""
        ...

    def count(self, start: int, stop: int) -> int:
        """At how many seconds of the window the line fires."""
        ...

    def transition(self, second: int) -> Transition | None:
        """How a change of the offset affects the fire time of this second."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ZonedCron:
    """A cron pattern over the wall times of a zone.

    ``moves``: matches in a gap fire once, at the end of the gap; otherwise they do not fire. ``once``: matches in an
    overlap fire only the first time.
    """

    cron: CronLine
    zone: Zone
    moves: bool
    once: bool

    @property
    def text(self) -> str:
        return self.cron.text

    @property
    def fraction(self) -> int:
        return 0

    def first(self, start: int, stop: int) -> int | None:
        # Without this limit the search for a pattern that matches only in gaps would go on to the end of the calendar.
        stop = min(stop, start + HORIZON_S)
        while start < stop:
            piece = self.zone.piece_at(start)
            if start == piece.start and self.runs_after_gap(piece):
                return start
            if not self.skips(piece):
                wall = self.cron.first(start + piece.offset)
                if wall is not None and wall < piece.end + piece.offset:
                    found = wall - piece.offset
                    return found if found < stop else None
            # Later pieces begin, or have a gap, at wall times that are at most MARGIN_S before the end of this one.
            ahead = self.cron.first(piece.end + piece.offset - MARGIN_S)
            if ahead is None:
                return None
            start = max(piece.end, ahead - MARGIN_S)
        return None

    def last(self, start: int, stop: int) -> int | None:
        while start < stop:
            piece = self.zone.piece_at(stop - 1)
            begins = max(piece.start, start)
            if not self.skips(piece):
                wall = self.cron.last(stop + piece.offset)
                if wall is not None and wall - piece.offset >= begins:
                    return wall - piece.offset
            if begins == piece.start and self.runs_after_gap(piece):
                return begins
            behind = self.cron.last(piece.start + piece.offset + MARGIN_S)
            if behind is None:
                return None
            stop = min(begins, behind + MARGIN_S)
        return None

    def count(self, start: int, stop: int) -> int:
        total = 0
        while start < stop:
            piece = self.zone.piece_at(start)
            ends = min(piece.end, stop)
            if not self.skips(piece):
                total += self.cron.count(start + piece.offset, ends + piece.offset)
            if start == piece.start and self.runs_after_gap(piece):
                total += not self.shows(piece, start)
            start = ends
        return total

    def transition(self, second: int) -> Transition | None:
        piece = self.zone.piece_at(second)
        if second == piece.start and self.runs_after_gap(piece):
            return "gap"
        return "overlap" if piece.is_twice and self.shows(piece, second) else None

    def skips(self, piece: Piece) -> bool:
        """Does nothing fire in the piece, because it repeats wall times and the policy takes only the first?"""
        return self.once and piece.is_repeat

    def shows(self, piece: Piece, second: int) -> bool:
        """Does the line fire at this second of the piece, because the pattern matches its wall time?"""
        wall = second + piece.offset
        return not self.skips(piece) and self.cron.first(wall) == wall

    def runs_after_gap(self, piece: Piece) -> bool:
        """Does the line fire at the start of the piece, because the pattern matches in the gap before it?"""
        return self.moves and any(self.cron.count(low, high) for low, high in piece.lost)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """``@every``: every second that is a whole number of intervals before or after the anchor."""

    text: str
    every_s: int
    anchor_at: Instant

    @property
    def anchor_s(self) -> int:
        return self.anchor_at // SECOND

    @property
    def fraction(self) -> int:
        return self.anchor_at % SECOND

    def first(self, start: int, stop: int) -> int | None:
        found = start + (self.anchor_s - start) % self.every_s
        return found if found < stop else None

    def last(self, start: int, stop: int) -> int | None:
        found = stop - 1 - (stop - 1 - self.anchor_s) % self.every_s
        return found if found >= start else None

    def count(self, start: int, stop: int) -> int:
        if start >= stop:
            return 0
        return (stop - 1 - self.anchor_s) // self.every_s - (start - 1 - self.anchor_s) // self.every_s

    def transition(self, second: int) -> Transition | None:
        return None

    def day_mask(self, start: int) -> int:
        """The 24 hours from ``start`` on as a mask, a bit for each second."""
        offset = (self.anchor_s - start) % self.every_s
        if offset >= DAY_S:
            return 0
        mask, covered = 1 << offset, self.every_s
        while covered < DAY_S:
            mask |= mask << covered
            covered *= 2
        return mask & ((1 << DAY_S) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """``@at``: one second, or ``None`` when its local time does not exist."""

    text: str
    second: int | None
    fraction: int = 0
    affected_by: Transition | None = None
    is_local: bool = False
    """Was it written as a wall time of the schedule's zone, without an offset?"""

    def first(self, start: int, stop: int) -> int | None:
        return self.second if self.second is not None and start <= self.second < stop else None

    def last(self, start: int, stop: int) -> int | None:
        return self.first(start, stop)

    def count(self, start: int, stop: int) -> int:
        return int(self.first(start, stop) is not None)

    def transition(self, second: int) -> Transition | None:
        return self.affected_by if second == self.second else None
