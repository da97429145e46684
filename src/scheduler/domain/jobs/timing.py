"""When a job runs: its schedule, what that is evaluated with, and its bounds.

``Job``, ``JobVersion`` and ``Plan`` hold a ``Timing`` each. A further field of it is a column of ``jobs`` and of
``job_history``; all statements take their columns from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.schedule.schedule import Schedule
from scheduler.domain.schedule.text import DAY_MATCHES, DST_POLICIES, is_one_off, parse_schedule, settle_delays
from scheduler.domain.schedule.zones import is_zone, zone_data


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """All that decides at which times a job is due. Windows include both ends."""

    schedule: str
    timezone: str = "UTC"
    dst_policy: str = DST_POLICIES[0]
    day_match: str = DAY_MATCHES[0]
    anchor_at: Instant
    """Where ``@every`` counts from; the API calls it ``anchor``."""
    starts_at: Instant | None = None
    """No run before this instant (included)."""
    ends_at: Instant | None = None
    """No run from this instant on (excluded)."""

    @classmethod
    def of(cls, given: Mapping[str, Any], *, now: Instant) -> Timing:
        """The timing that ``given`` values ask for at ``now``, under the names of its fields; others are ignored.

        Without a ``timezone`` it is that of ``CRON_TZ=`` in the schedule, or UTC; without an ``anchor_at`` it counts
        from ``starts_at``, or from ``now``. Raises ``SchedulerError`` when ``CRON_TZ=`` cannot be parsed.
        """
        chosen = _timing_in(given, now)
        chosen.setdefault("anchor_at", chosen.get("starts_at") or now)
        return cls(**chosen | {"timezone": _timezone(chosen, fallback="UTC")})

    def changed(self, given: Mapping[str, Any], *, now: Instant) -> Timing:
        """With ``given`` values in place of its own; a new schedule may name another time zone by ``CRON_TZ=``."""
        chosen = _timing_in(given, now)
        if "schedule" in chosen:
            chosen["timezone"] = _timezone(chosen, fallback=self.timezone)
        return replace(self, **chosen)

    def without_bounds(self) -> Timing:
        """The same schedule without its first and its last instant."""
        return replace(self, starts_at=None, ends_at=None)

    def parsed(self, *, is_stored: bool = True) -> Schedule:
        """The schedule, without the bounds. Parsing is cached. Raises ``SchedulerError``.

        A text that is not stored yet is parsed more strictly.
        """
        return parse_schedule(
            self.schedule,
            timezone=self.timezone,
            anchor_at=self.anchor_at,
            dst_policy=self.dst_policy,
            day_match=self.day_match,
            is_stored=is_stored,
        )

    @property
    def is_one_off(self) -> bool:
        """Are all its lines single moments?"""
        return is_one_off(self.schedule)

    def problem(self) -> str | None:
        """Why the due times of a stored timing cannot be computed now, as a sentence; ``None`` when they can.

        It was valid when it was saved; the zone data, or this program, may be others since.
        """
        try:
            self.parsed()
        except SchedulerError as error:
            if not is_zone(self.timezone):
                return f'its time zone "{self.timezone[:64]}" is not in the time zone data ({zone_data()})'
            return f"its schedule is not valid any more: {error.message}"
        return None

    def next_after(self, instant: Instant) -> Instant | None:
        """The first due time after ``instant``; ``None`` when there is none."""
        if self.starts_at is not None:
            instant = max(instant, self.starts_at - 1)
        due_at = self.parsed().next_after(instant)
        return None if due_at is None or (self.ends_at is not None and due_at >= self.ends_at) else due_at

    def latest_between(self, start_at: Instant, end_at: Instant) -> Instant | None:
        """The newest due time of a window; ``None`` when there is none."""
        start_at, end_at = self.clipped(start_at, end_at)
        return self.parsed().latest_between(start_at, end_at) if start_at <= end_at else None

    def is_due(self, at: Instant) -> bool:
        """Is ``at`` a due time?"""
        return self.next_after(at - 1) == at

    def clipped(self, start_at: Instant, end_at: Instant) -> tuple[Instant, Instant]:
        """The part of a window that is within the bounds; empty when its start is behind its end."""
        if self.starts_at is not None:
            start_at = max(start_at, self.starts_at)
        if self.ends_at is not None:
            end_at = min(end_at, self.ends_at - 1)
        return start_at, end_at


_NAMES = frozenset(field.name for field in fields(Timing))


def without_timing(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``given`` values that are no fields of a ``Timing``."""
    return {name: value for name, value in given.items() if name not in _NAMES}


def _timing_in(given: Mapping[str, Any], now: Instant) -> dict[str, Any]:
    chosen = {name: value for name, value in given.items() if name in _NAMES}
    return chosen | {"schedule": settle_delays(chosen["schedule"], now)} if "schedule" in chosen else chosen


def _timezone(given: Mapping[str, Any], *, fallback: str) -> str:
    """The time zone that a user named: in ``timezone``, or else in the schedule by ``CRON_TZ=``."""
    if "timezone" in given:
        return str(given["timezone"])
    if "CRON_TZ=" not in given["schedule"]:
        return fallback
    return parse_schedule(given["schedule"], timezone=None, anchor_at=0).timezone
