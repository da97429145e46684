"""Writes settlements, as many in one transaction as have gathered."""

from __future__ import annotations

import asyncio
import logging

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, WritingEnds
from scheduler.domain.runs.execution import Settlement
from scheduler.store.queue.queue import ExecutionQueue

_GATHER_S = 0.0005
_GROUP_LIMIT = 500
_LONGEST_PAUSE_S = 1.0

log = logging.getLogger(__name__)


class Recorder:
    """Groups settlements and writes them; tries again until the database accepts them.

    Tells ``WritingEnds`` right before a group is handed to the database; the queue tells which settlements took effect.
    """

    def __init__(self, *, queue: ExecutionQueue, clock: Clock, events: Events) -> None:
        self._queue = queue
        self._clock = clock
        self._events = events
        self._gathered: list[Settlement] = []
        self._writing: list[Settlement] = []
        self._arrived = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    def record(self, settlement: Settlement) -> None:
        """Hand in a settlement. Does not wait, so that it is not lost when the caller is cancelled."""
        self._gathered.append(settlement)
        self._written.clear()
        self._arrived.set()

    def unwritten(self) -> set[str]:
        """The ids of the executions whose settlements are handed in and perhaps not on disk yet."""
        return {settlement.execution.id for settlement in (*self._writing, *self._gathered)}

    async def flushed(self) -> None:
        """Wait until everything handed in so far is on disk."""
        await self._written.wait()

    async def run(self) -> None:
        """Write what gathers, until cancelled."""
        while True:
            await self._arrived.wait()
            if len(self._gathered) < _GROUP_LIMIT:
                await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """One step: write one group."""
        group, self._gathered = self._gathered[:_GROUP_LIMIT], self._gathered[_GROUP_LIMIT:]
        self._writing = group
        if not self._gathered:
            self._arrived.clear()
        if group:
            await self._write(group)
        self._writing = []
        if not self._gathered:
            self._written.set()

    async def _write(self, group: list[Settlement]) -> None:
        pause_s = 0.05
        while True:
            self._events.tell(WritingEnds())
            try:
                await self._queue.settle(group, self._clock.now())
            except SchedulerError as error:
                # the requests were sent, and would be sent again if this gave up; the rows are still `running` for this
                # worker
                log.error("settling %d attempts failed, trying again: %s", len(group), error.message)  # noqa: TRY400
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
