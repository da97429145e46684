"""Sweeping: deletes the rows of deleted jobs and accounts in slices, so that no other write waits for long."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import DeletionBegun, Events
from scheduler.store.jobs.deletion import DeletionStore

BETWEEN_SWEEPS_S = 60.0
"""How long the sweeper rests when nothing is left. Another node may have ended before it had swept what it deleted."""
_REST_FACTOR = 4
"""After a slice the sweeper rests so many times as long as that took: it has a fifth of the writer at most."""

log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps when something was deleted, and once a minute."""

    def __init__(self, *, store: DeletionStore, clock: Clock, events: Events) -> None:
        self._store = store
        self._clock = clock
        self._begun = asyncio.Event()
        self._is_sweeping = False
        self._swept = 0
        events.listen(DeletionBegun, lambda _: self._begun.set())

    async def run(self) -> None:
        """Sweep, until cancelled."""
        while True:
            self._begun.clear()
            try:
                rest_s = await self.step()
            except SchedulerError as error:
                log.error("sweeping failed: %s", error.message)  # noqa: TRY400
                rest_s = BETWEEN_SWEEPS_S
            if rest_s < BETWEEN_SWEEPS_S:
                await asyncio.sleep(rest_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._begun.wait()

    async def step(self) -> float:
        """Sweep one slice; returns how long to rest, in seconds."""
        started = time.perf_counter()
        if not self._is_sweeping:
            await self._store.mark_jobs(self._clock.now())
        swept = await self._store.sweep()
        self._is_sweeping = swept is not None
        if swept is None:
            if self._swept:
                log.info("swept %d executions of deleted jobs", self._swept)
            self._swept = 0
            return BETWEEN_SWEEPS_S
        self._swept += swept
        return (time.perf_counter() - started) * _REST_FACTOR
