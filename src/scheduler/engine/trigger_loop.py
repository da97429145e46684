"""The trigger loop: when to look for due jobs. ``engine/firing.py`` finds and fires them."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from scheduler.domain.clock import Clock, Instant, SystemClock, seconds, to_datetime
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, JobPlanned
from scheduler.engine.firing import Firer

log = logging.getLogger(__name__)


class TriggerLoop:
    """Looks for due jobs at every beat of an APScheduler heartbeat, which is pulled forward to the next due time.

    ``tick_s`` is the longest pause between two looks, in seconds. The heartbeat recurs, because a single date that sets
    the next one is lost when that falls due while the look still runs. A look that is requested during a look is a flag
    that is read before it returns.
    """

    def __init__(self, *, firer: Firer, clock: Clock, events: Events, tick_s: float) -> None:
        self._firer = firer
        self._clock = clock
        self._tick_s = tick_s
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._looking = False
        self._look_again = False
        self._next_look_at: Instant = 0
        self._watch: asyncio.TimerHandle | None = None
        events.listen(JobPlanned, lambda event: self.look_by(event.due_at))

    @property
    def running(self) -> bool:
        """Whether the heartbeat is on."""
        return bool(self._scheduler.running)

    def start(self) -> None:
        """Start the heartbeat; needs a running event loop. The first look comes at once."""
        self._scheduler.start()
        self._scheduler.add_job(
            self._beat,
            Heartbeat(self._tick_s),
            id="tick",
            misfire_grace_time=None,
            coalesce=True,
            # a look that is planned for right now begins while the one that planned it still counts as running
            max_instances=2,
            next_run_time=_in_microseconds(0),
        )
        self._keep_beating()

    def stop(self) -> None:
        """Stop the heartbeat; a look that is under way ends with its transaction."""
        if self._watch is not None:
            self._watch.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def look_by(self, due_at: Instant) -> None:
        """Look at ``due_at`` at the latest, or at once if that has passed."""
        if due_at >= self._next_look_at:
            return
        if self._looking:
            self._look_again = True
        elif self._scheduler.running:
            self._plan_look(due_at)

    async def _beat(self) -> None:
        """One heartbeat: fire batch after batch until nothing is due, then plan the next look."""
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        try:
            due_at = await self._fire_until_quiet()
        except SchedulerError as error:
            log.error("looking for due jobs failed: %s", error.message)  # noqa: TRY400
            return
        except asyncio.CancelledError:
            return  # the service stops; a transaction that has begun ends by itself
        finally:
            self._looking = False
        beat_at = self._clock.now() + seconds(self._tick_s)
        self._next_look_at = beat_at
        if due_at is not None and due_at < beat_at and self._scheduler.running:
            self._plan_look(due_at)

    def _plan_look(self, due_at: Instant) -> None:
        self._next_look_at = due_at
        self._scheduler.modify_job("tick", next_run_time=_in_microseconds(max(0, due_at - self._clock.now())))

    async def _fire_until_quiet(self) -> Instant | None:
        while True:
            self._look_again = False
            due_at = await self._firer.fire_due(self._clock.now())
            if (due_at is None or due_at > self._clock.now()) and not self._look_again:
                return due_at

    def _keep_beating(self) -> None:
        """Move a beat that is too far ahead to now: a clock set back leaves it as far ahead as it was set back.

        The timer runs on the monotonic clock, which cannot be set; APScheduler plans on the wall clock.
        """
        beat = self._scheduler.get_job("tick")
        far_at = _in_microseconds(2 * seconds(self._tick_s))
        if beat is not None and beat.next_run_time is not None and beat.next_run_time > far_at:
            self._scheduler.modify_job("tick", next_run_time=_in_microseconds(0))
        self._watch = asyncio.get_running_loop().call_later(self._tick_s, self._keep_beating)


class Heartbeat(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Beats every ``interval_s`` seconds and leaves out the beats that it missed.

    APScheduler's own interval computes every beat between the last one and now before the next, which blocks the loop
    after a long suspension, or when the clock was set forward.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval = timedelta(seconds=interval_s)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now if previous is None else max(previous + self._interval, now + timedelta(microseconds=1))


def _in_microseconds(wait: int) -> datetime:
    """``wait`` microseconds from now on the clock of APScheduler, which is always the machine's."""
    return to_datetime(SystemClock().now() + wait)
