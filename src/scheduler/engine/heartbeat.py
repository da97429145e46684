"""The heartbeat that APScheduler gives the trigger loop."""

from __future__ import annotations

from datetime import datetime, timedelta

from apscheduler.triggers.base import BaseTrigger

from scheduler.domain.clock import SystemClock, to_datetime


class Heartbeat(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Beats every ``interval_s`` seconds and owes nothing for beats it missed.

    APScheduler's own interval walks through every beat between the last one and now, one by one, before the next: after
    a suspended weekend, or a clock set forward, that is a frozen loop.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval = timedelta(seconds=interval_s)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now if previous is None else max(previous + self._interval, now + timedelta(microseconds=1))


def in_microseconds(wait: int) -> datetime:
    """``wait`` microseconds from now on the clock of APScheduler, which is the machine's whatever ours says."""
    return to_datetime(SystemClock().now() + wait)
