"""Parses a schedule and computes when it fires.

A schedule is one to sixteen lines; its fire times are the distinct fire times of all lines. A line is a cron expression
(five fields, or six with the seconds first), a macro such as ``@daily``, ``@every 1h30m`` or
``@at 2026-12-24T18:00:00Z``. Wall times are those of the job's zone. One of three policies says what happens to wall
times that a change to or from daylight saving time skips (a gap) or repeats (an overlap):

========  =====================================================  ===============================================
policy    a wall time in a gap                                   a wall time in an overlap
========  =====================================================  ===============================================
debian    a line at fixed times: one run right after the change  a line at fixed times: the first time only
..        a line whose minute or hour starts with ``*``: no run  such a line: both times
skip      no run                                                 the first time only
literal   no run                                                 both times
========  =====================================================  ===============================================
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from scheduler.domain.clock import SECOND, Instant, to_datetime
from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.schedule.days import HORIZON_YEARS
from scheduler.domain.schedule.describe import describe_lines
from scheduler.domain.schedule.distinct import count_distinct, window
from scheduler.domain.schedule.fields import InvalidScheduleError
from scheduler.domain.schedule.lines import Line, Moment, Transition
from scheduler.domain.schedule.text import END_S, parse_line, split_lines
from scheduler.domain.schedule.zones import Zone, load_zone

DST_POLICIES = ("debian", "skip", "literal")
DAY_MATCHES = ("or", "and")
_FIRST_S = -62_000_000_000
"""In the year 5: searches begin no earlier, so that they stay within the range of ``datetime``."""


def parse_schedule(
    text: str,
    *,
    timezone: str | None = "UTC",
    anchor_at: Instant,
    dst_policy: str = "debian",
    day_match: str = "or",
) -> Schedule:
    """Parse ``text``. The results of the last 8,192 different calls are cached.

    ``timezone`` is ``None`` where the user gave none; then ``CRON_TZ=`` has it, or it is UTC. ``@every`` fires at every
    whole number of intervals from ``anchor_at``, after it and also before it.

    Raises ``SchedulerError``: INVALID_CRON_EXPRESSION for ``text`` (also where ``CRON_TZ`` is unknown or contradicts
    ``timezone``), VALIDATION_ERROR for an unknown ``timezone``, ``dst_policy`` or ``day_match``.
    """
    if dst_policy not in DST_POLICIES:
        raise invalid("dst_policy", f"one of {', '.join(DST_POLICIES)}")
    if day_match not in DAY_MATCHES:
        raise invalid("day_match", f"one of {', '.join(DAY_MATCHES)}")
    if timezone is not None:
        try:
            load_zone(timezone)
        except LookupError:
            raise invalid("timezone", f'"{timezone[:64]}" is not an IANA time zone such as Europe/Paris') from None
    # Only intervals depend on the anchor; every other text is parsed and cached once for all jobs.
    anchor_at = anchor_at if "@every" in text.lower() else 0
    try:
        return _parse(text, timezone, anchor_at, dst_policy, day_match)
    except InvalidScheduleError as error:
        raise _invalid(str(error)) from None


def check_fires(schedule: Schedule, after_at: Instant) -> Instant:
    """Check that every line of the schedule fires after ``after_at``; returns the first fire time of all.

    Raises ``SchedulerError`` INVALID_CRON_EXPRESSION when a line never does, such as one for 30 February.
    """
    firsts: list[Instant] = []
    for line in schedule.lines:
        found = _first_after(line, after_at)
        if found is None:
            raise _invalid(f'"{line.text}" {_why_never(line, schedule.zone)}')
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


@lru_cache(maxsize=8192)
def _parse(text: str, timezone: str | None, anchor_at: Instant, dst_policy: str, day_match: str) -> Schedule:
    written, zone_name = split_lines(text)
    if zone_name is None:
        zone_name = timezone or "UTC"
    elif timezone is not None and zone_name != timezone:
        raise InvalidScheduleError(f"CRON_TZ={zone_name} contradicts the time zone {timezone}: name one of them")
    try:
        zone = load_zone(zone_name)
    except LookupError:
        raise InvalidScheduleError(f"CRON_TZ={zone_name}: not an IANA time zone such as Europe/Paris") from None
    lines: dict[str, Line] = {}
    for number, line in written:
        try:
            lines[line] = parse_line(line, zone, anchor_at, dst_policy, day_match)
        except InvalidScheduleError as error:
            where = f"line {number}: " if len(written) > 1 else ""
            raise InvalidScheduleError(f"{where}{error}") from None
    return Schedule(text=text, timezone=zone.name, zone=zone, lines=tuple(lines.values()))


def _invalid(reason: str) -> SchedulerError:
    return invalid("schedule", reason, code="INVALID_CRON_EXPRESSION")
