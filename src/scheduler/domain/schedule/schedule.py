"""A parsed schedule: computes when it fires. ``text.py`` parses it."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import SECOND, Instant, to_datetime
from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.schedule.days import HORIZON_YEARS
from scheduler.domain.schedule.distinct import count_distinct, window
from scheduler.domain.schedule.lines import END_S, Line, Moment, Transition
from scheduler.domain.schedule.words.describe import describe_lines
from scheduler.domain.schedule.zones import Zone

_FIRST_S = -62_000_000_000
"""In the year 5: searches begin no earlier, so that they stay within the range of ``datetime``."""


def check_fires(schedule: Schedule, after_at: Instant) -> Instant:
    """Check that every line of the schedule fires after ``after_at``; returns the first fire time of all.

    Raises ``SchedulerError`` INVALID_CRON_EXPRESSION when a line never does, such as one for 30 February.
    """
    firsts: list[Instant] = []
    for line in schedule.lines:
        found = _first_after(line, after_at)
        if found is None:
            raise invalid_schedule(f'"{line.text}" {_why_never(line, schedule.zone)}')
        firsts.append(found)
    return min(firsts)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A parsed schedule. Windows include both ends; a fire time that several lines share counts once."""

    text: str
    timezone: str
    """The name of ``zone``, from ``CRON_TZ=`` or from the job."""
    zone: Zone
    lines: tuple[Line, ...]

    def next_after(self, instant: Instant) -> Instant | None:
        """The first fire time after ``instant``; ``None`` when there is none within 41 years."""
        if len(self.lines) == 1:
            return _first_after(self.lines[0], instant)
        found = [at for line in self.lines if (at := _first_after(line, instant)) is not None]
        return min(found, default=None)

    def lines_over(self, instant: Instant) -> list[Line]:
        """The lines that do not fire after ``instant`` any more."""
        return [line for line in self.lines if _first_after(line, instant) is None]

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """The newest fire time t with ``start_at <= t <= end_at``; ``None`` when there is none."""
        found: list[Instant] = []
        for line in self.lines:
            second = line.last(*_clipped(line, start_at, end_at))
            if second is not None:
                found.append(second * SECOND + line.fraction)
        return max(found, default=None)

    def count_between(self, start_at: Instant, end_at: Instant) -> int:
        """How many fire times t there are with ``start_at <= t <= end_at``; the cost grows little with the number."""
        start_at, end_at = max(start_at, _FIRST_S * SECOND), min(end_at, END_S * SECOND - 1)
        if len(self.lines) == 1:
            return self.lines[0].count(*window(self.lines[0], start_at, end_at))
        return count_distinct(self.lines, self.zone, start_at, end_at)

    def between(self, start_at: Instant, end_at: Instant, limit: int) -> list[Instant]:
        """The first ``limit`` fire times t with ``start_at <= t <= end_at``, ascending."""
        found: list[Instant] = []
        after_at = start_at - 1
        while len(found) < limit:
            at = self.next_after(after_at)
            if at is None or at > end_at:
                break
            found.append(at)
            after_at = at
        return found

    def newest_between(self, start_at: Instant, end_at: Instant, limit: int) -> list[Instant]:
        """The newest ``limit`` fire times t with ``start_at <= t <= end_at``, ascending."""
        found: list[Instant] = []
        while len(found) < limit:
            at = self.latest_between(start_at, end_at)
            if at is None:
                break
            found.append(at)
            end_at = at - 1
        return found[::-1]

    def transition(self, instant: Instant) -> Transition | None:
        """How a change of the offset affects this fire time: it was moved out of a gap, or is in an overlap."""
        second, fraction = divmod(instant, SECOND)
        transitions = [line.transition(second) for line in self.lines if line.fraction == fraction]
        return "gap" if "gap" in transitions else "overlap" if "overlap" in transitions else None

    def local(self, instant: Instant) -> str:
        """The instant in RFC 3339, as wall time of the schedule's zone with its offset."""
        return self.zone.local(to_datetime(instant))

    def describe(self) -> str:
        """The schedule in plain English, with its zone when that is not UTC."""
        return describe_lines(self.lines, self.zone)


def _first_after(line: Line, instant: Instant) -> Instant | None:
    start = max((instant - line.fraction) // SECOND + 1, _FIRST_S)
    second = line.first(start, END_S)
    return None if second is None else second * SECOND + line.fraction


def _clipped(line: Line, start_at: Instant, end_at: Instant) -> tuple[int, int]:
    start, stop = window(line, start_at, end_at)
    return max(start, _FIRST_S), min(stop, END_S)


def _why_never(line: Line, zone: Zone) -> str:
    if isinstance(line, Moment):
        if line.second is None:
            return f"never fires: the clocks of {zone.name} skip this time"
        return "is in the past: a time to come is needed"
    return f"never fires: no such time comes in the next {HORIZON_YEARS - 1} years"


def invalid_schedule(reason: str) -> SchedulerError:
    """The refusal of a schedule: INVALID_CRON_EXPRESSION with the reason."""
    return invalid("schedule", reason, code="INVALID_CRON_EXPRESSION")
