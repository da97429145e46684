"""The trigger loop: jobs that are due become executions. The database says what is due; this only asks in time."""

from __future__ import annotations

import logging
import random
import time
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scheduler.config import EngineConfig
from scheduler.domain.clock import SECOND, Clock, Instant, seconds, to_datetime
from scheduler.domain.errors import SchedulerError
from scheduler.domain.firing import Firing, Present, fire
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.database import Transaction
from scheduler.store.ids import new_id
from scheduler.store.stores import Stores
from scheduler.telemetry import Telemetry

_INATTENTIVE_S = 5.0
"""After a longer break between two looks, what came due meanwhile counts as missed."""

log = logging.getLogger(__name__)


class TriggerLoop:
    """Fires due jobs, woken by an APScheduler heartbeat that is pulled forward to the next due time.

    The heartbeat is an interval, not a date that re-arms itself: that one dies silently when its next date falls due
    while it is still running. A wish to look again that comes during a look is a flag that is read before returning.
    """

    def __init__(
        self, *, stores: Stores, clock: Clock, pool: WorkerPool, telemetry: Telemetry, config: EngineConfig
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._pool = pool
        self._telemetry = telemetry
        self._config = config
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._looking = False
        self._look_again = False
        self._attentive_since: Instant | None = None
        self._looked_at: Instant | None = None

    @property
    def running(self) -> bool:
        """Is the heartbeat on?"""
        return bool(self._scheduler.running)

    @property
    def looked_at(self) -> Instant | None:
        """When it last looked for due jobs."""
        return self._looked_at

    def start(self) -> None:
        """Start the heartbeat; needs a running event loop. The first look comes at once."""
        self._scheduler.start()
        self._scheduler.add_job(
            self._tick,
            IntervalTrigger(seconds=self._config.tick_s, timezone=UTC),
            id="tick",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            next_run_time=to_datetime(self._clock.now()),
        )

    def stop(self) -> None:
        """Stop the heartbeat; a look that is under way ends with its transaction."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def wake(self) -> None:
        """A job may have become due earlier than planned: look again."""
        if self._looking:
            self._look_again = True
        elif self._scheduler.running:
            self._scheduler.modify_job("tick", next_run_time=to_datetime(self._clock.now()))

    async def fire_due(self, now: Instant) -> Instant | None:
        """One step: fire a batch of the jobs due at ``now``; returns when the next is due, perhaps already."""
        self._pay_attention(now)
        await self._fire(now, self._config.batch_size)
        return await self._stores.jobs.next_due_at()

    async def fire_one(self, job_id: str, now: Instant) -> None:
        """Fire one job if it is due, so that a change of it at ``now`` leaves what was due before untouched."""
        await self._fire(now, 1, job_id=job_id)

    async def _fire(self, now: Instant, limit: int, *, job_id: str | None = None) -> None:
        started = time.perf_counter()
        present = Present(
            now=now,
            attentive_since=now if self._attentive_since is None else self._attentive_since,
            new_id=lambda: new_id(now),
            draw=random.random,
        )

        async def fire_batch(tx: Transaction) -> list[Firing]:
            due = await self._stores.jobs.lock_due(tx, now, limit, job_id=job_id)
            firings = [
                fire(entry.job, entry.webhook_ids, present, active=entry.active, waiting=entry.waiting) for entry in due
            ]
            if firings:
                await self._write(tx, firings, now)
            return firings

        firings = await self._stores.db.transaction(fire_batch)
        self._telemetry.looked(now, firings, seconds=time.perf_counter() - started)
        if firings:
            self._pool.wake()

    async def _write(self, tx: Transaction, firings: list[Firing], now: Instant) -> None:
        queue = self._stores.queue
        for firing in firings:
            if firing.cancels_active:
                for execution_id in await queue.cancel_active(tx, firing.job.id, now):
                    self._pool.cancel(execution_id)
        await queue.enqueue(tx, [execution for firing in firings for execution in firing.executions])
        await queue.enqueue(tx, [execution for firing in firings for execution in firing.buffered], buffered=True)
        await self._stores.jobs.advance(tx, [firing.job for firing in firings])

    async def _tick(self) -> None:
        """One heartbeat: fire batch after batch until nothing is due, then arrange the next look."""
        self._looking = True
        try:
            due_at = await self._fire_until_quiet()
        except SchedulerError as error:
            log.error("looking for due jobs failed: %s", error.message)  # noqa: TRY400
            return
        finally:
            self._looking = False
        if due_at is not None and due_at < self._clock.now() + seconds(self._config.tick_s):
            self._scheduler.modify_job("tick", next_run_time=to_datetime(due_at))

    async def _fire_until_quiet(self) -> Instant | None:
        while True:
            self._look_again = False
            due_at = await self.fire_due(self._clock.now())
            if (due_at is None or due_at > self._clock.now()) and not self._look_again:
                return due_at

    def _pay_attention(self, now: Instant) -> None:
        """Keep account of since when we have been looking without a break; a clock that jumps breaks it, too."""
        last = self._looked_at
        if last is None or now - last > _INATTENTIVE_S * SECOND:
            self._attentive_since = now
        self._looked_at = now
