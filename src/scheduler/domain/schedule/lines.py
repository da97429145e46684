"""The three kinds of schedule line as sets of epoch seconds: a cron pattern in a zone, an interval, one moment.

All answer the same questions about a half-open window ``start <= s < stop``: the first second at which they fire, the
last, how many. A line may sit a fraction of a second off the whole seconds (``fraction``, microseconds), as an interval
does whose anchor is a job's creation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from scheduler.domain.schedule.cron import DAY_S, CronLine
from scheduler.domain.schedule.days import HORIZON_YEARS
from scheduler.domain.schedule.zones import MARGIN_S, Piece, Zone

HORIZON_S = HORIZON_YEARS * 366 * DAY_S
Transition = Literal["gap", "overlap"]


class Line(Protocol):
    """One line of a schedule."""

    @property
    def text(self) -> str: ...
    @property
    def fraction(self) -> int: ...
    def first(self, start: int, stop: int) -> int | None: ...
    def last(self, start: int, stop: int) -> int | None: ...
    def count(self, start: int, stop: int) -> int: ...
    def transition(self, second: int) -> Transition | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class InZone:
    """A cron pattern on the wall clock of a zone.

    ``moves``: what fell into a gap runs once, right after it. ``once``: a wall time that is shown twice runs at its
    first showing only. Wall times in a gap do not run otherwise.
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
        # a pattern whose every match falls into a gap would be followed to the end of the calendar
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
            # later pieces begin to show (or to lose) walls at most a margin back from here
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
        return self.once and piece.is_repeat

    def shows(self, piece: Piece, second: int) -> bool:
        """The pattern matches the wall clock of the piece at that second, and the policy lets it run."""
        wall = second + piece.offset
        return not self.skips(piece) and self.cron.first(wall) == wall

    def runs_after_gap(self, piece: Piece) -> bool:
        return self.moves and any(self.cron.count(low, high) for low, high in piece.lost)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """``@every``: every second that is a whole number of intervals away from the anchor, on either side of it."""

    text: str
    every_s: int
    anchor_s: int
    fraction: int = 0

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
        """The day from ``start`` on as a mask, a bit for each second."""
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
    """``@at``: one second, or none when its local time does not exist."""

    text: str
    second: int | None
    fraction: int = 0
    touched: Transition | None = None
    is_local: bool = False
    """It was written as a wall time of the schedule's zone."""

    def first(self, start: int, stop: int) -> int | None:
        return self.second if self.second is not None and start <= self.second < stop else None

    def last(self, start: int, stop: int) -> int | None:
        return self.first(start, stop)

    def count(self, start: int, stop: int) -> int:
        return int(self.first(start, stop) is not None)

    def transition(self, second: int) -> Transition | None:
        return self.touched if second == self.second else None
