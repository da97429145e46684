"""Detects a clock that was set back: until it is where it was, jobs wait, and new rows look old."""

from __future__ import annotations

import logging

from scheduler.domain.clock import SECOND, Clock, Instant, format_instant, seconds
from scheduler.domain.events import Events, LookedForDueJobs
from scheduler.store.database import Database
from scheduler.store.queue.stats import newest_at

_NOTABLE_S = 5.0
"""Smaller steps come from time synchronisation, and from nodes whose clocks differ a little."""

log = logging.getLogger(__name__)


class ClockWatch:
    """Compares the clock with the latest time that it had, at the last look for due jobs or in the database."""

    def __init__(self, *, db: Database, clock: Clock, events: Events) -> None:
        self._db = db
        self._clock = clock
        self._latest_at: Instant = 0
        self._is_told = False
        events.listen(LookedForDueJobs, lambda event: self._reach(event.at))

    async def start(self) -> None:
        """Look up the newest time on record: the clock may have been set back while no process ran."""
        self._reach(await newest_at(self._db) or 0)
        self.look()

    def look(self) -> None:
        """Log that the clock was set back, once each time, and that it has caught up."""
        behind_s = self.behind_s
        if behind_s and not self._is_told:
            log.warning(
                "the clock is %.1f s behind: it was at %s before, so jobs wait until it is there again; set it right",
                behind_s,
                format_instant(self._latest_at),
            )
        elif self._is_told and not behind_s:
            log.info("the clock has caught up")
        self._is_told = behind_s > 0

    @property
    def behind_s(self) -> float:
        """How far the clock is behind the latest time that it had, in seconds; 0 for a few seconds and less."""
        behind = self._latest_at - self._clock.now()
        return behind / SECOND if behind > seconds(_NOTABLE_S) else 0.0

    def _reach(self, at: Instant) -> None:
        self._latest_at = max(self._latest_at, at)
