"""A schedule string and when it fires: the public face of the schedule language.

A schedule is one to sixteen lines; its fire times are the union of theirs. A line is a cron expression (five fields, or
six with the seconds first), a macro such as ``@daily``, ``@every 1h30m`` or ``@at 2026-12-24T18:00:00Z``. Wall clocks
follow the job's zone and one of three policies for the hours that daylight saving skips or repeats:

========  =====================================================  ===============================================
policy    a wall time that does not exist                        a wall time that is shown twice
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
from scheduler.domain.schedule.fields import RefusedError
from scheduler.domain.schedule.lines import Line, Moment, Transition
from scheduler.domain.schedule.text import END_S, parse_line, split_lines
from scheduler.domain.schedule.zones import Zone, load_zone

DST_POLICIES = ("debian", "skip", "literal")
DAY_MATCHES = ("or", "and")
_FIRST_S = -62_000_000_000
"""In the year 5, so that no search runs off the beginning of the calendar."""


def parse_schedule(
    text: str,
    *,
    timezone: str | None = "UTC",
    anchor_at: Instant,
    dst_policy: str = "debian",
    day_match: str = "or",
) -> Schedule:
    """The schedule that ``text`` spells. Cheap for a text that was parsed lately.

    ``timezone`` None means that the user gave none: ``CRON_TZ=`` decides, or UTC. ``anchor_at`` is what ``@every`` is
    aligned to: it fires at every whole number of intervals after the anchor and, as a pattern has no beginning, before.

    Raises `SchedulerError`: INVALID_CRON_EXPRESSION for the text (an unknown or a contradicting ``CRON_TZ`` included),
    VALIDATION_ERROR for an unknown ``timezone``, ``dst_policy`` or ``day_match``.
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
    # only intervals depend on the anchor: all other texts are parsed once for all jobs
    anchor_at = anchor_at if "@every" in text.lower() else 0
    try:
        return _parse(text, timezone, anchor_at, dst_policy, day_match)
    except RefusedError as refused:
        raise _bad(str(refused)) from None


def require_fires(schedule: Schedule, after_at: Instant) -> Instant:
    """The first fire time after ``after_at``.

    Raises `SchedulerError` INVALID_CRON_EXPRESSION when any line of the schedule has none, such as 30 February.
    """
    firsts: list[Instant] = []
    for line in schedule.lines:
        found = _first_after(line, after_at)
        if found is None:
            raise _bad(f'"{line.text}" {_why_never(line, schedule.zone)}')
        firsts.append(found)
    return min(firsts)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When something fires. Windows include both ends; fire times that two lines name count once."""

    text: str
    timezone: str
    """The zone in force, be it from ``CRON_TZ=`` or from the job."""
    zone: Zone
    lines: tuple[Line, ...]

    def next_after(self, instant: Instant) -> Instant | None:
        """The first fire time strictly after the instant; None when there is none, or none for 41 years."""
        if len(self.lines) == 1:
            return _first_after(self.lines[0], instant)
        found = [at for line in self.lines if (at := _first_after(line, instant)) is not None]
        return min(found, default=None)

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """The newest fire time t with ``start_at <= t <= end_at``."""
        found: list[Instant] = []
        for line in self.lines:
            second = line.last(*_clipped(line, start_at, end_at))
            if second is not None:
                found.append(second * SECOND + line.fraction)
        return max(found, default=None)

    def count_between(self, start_at: Instant, end_at: Instant) -> int:
        """How many fire times t there are with ``start_at <= t <= end_at``; the cost hardly depends on the answer."""
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
        """What a change of the clocks did to this run: moved it out of a gap, or shows its wall time twice."""
        second, fraction = divmod(instant, SECOND)
        touched = [line.transition(second) for line in self.lines if line.fraction == fraction]
        return "gap" if "gap" in touched else "overlap" if "overlap" in touched else None

    def local(self, instant: Instant) -> str:
        """The instant as RFC 3339 on the wall clock of the schedule's zone, with its offset."""
        return self.zone.local(to_datetime(instant))

    def describe(self) -> str:
        """The schedule in plain English; names the zone when it is not UTC."""
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
        raise RefusedError(f"CRON_TZ={zone_name} contradicts the time zone {timezone}: name one of them")
    try:
        zone = load_zone(zone_name)
    except LookupError:
        raise RefusedError(f"CRON_TZ={zone_name}: not an IANA time zone such as Europe/Paris") from None
    lines: dict[str, Line] = {}
    for number, line in written:
        try:
            lines[line] = parse_line(line, zone, anchor_at, dst_policy, day_match)
        except RefusedError as refused:
            place = f"line {number}: " if len(written) > 1 else ""
            raise RefusedError(f"{place}{refused}") from None
    return Schedule(text=text, timezone=zone.name, zone=zone, lines=tuple(lines.values()))


def _bad(reason: str) -> SchedulerError:
    return invalid("schedule", reason, code="INVALID_CRON_EXPRESSION")
