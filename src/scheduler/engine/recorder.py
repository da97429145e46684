"""The recorder writes down how attempts ended, as many as have gathered in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Settlement
from scheduler.store.queue.queue import ExecutionQueue

_GATHER_S = 0.0005
_GROUP_LIMIT = 500
_LONGEST_PAUSE_S = 1.0

log = logging.getLogger(__name__)


class Recorder:
    """Groups settlements. What was handed in is written, however long the database takes to come back.

    ``on_write`` is called right before a group is handed to the database, ``on_settled`` with the settlements that took
    effect, after their commit.
    """

    def __init__(
        self,
        *,
        queue: ExecutionQueue,
        clock: Clock,
        on_write: Callable[[], None],
        on_settled: Callable[[Sequence[Settlement]], None],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._on_write = on_write
        self._on_settled = on_settled
        self._gathered: list[Settlement] = []
        self._writing: list[Settlement] = []
        self._arrived = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    def record(self, settlement: Settlement) -> None:
        """Hand in the end of an attempt. Does not wait, so a cancelled caller cannot lose it."""
        self._gathered.append(settlement)
        self._written.clear()
        self._arrived.set()

    def unwritten(self) -> set[str]:
        """The ids of the executions whose ends are handed in and perhaps not on disk yet."""
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
        settled = await self._write(group) if group else []
        self._writing = []
        if not self._gathered:
            self._written.set()
        self._on_settled(settled)

    async def _write(self, group: list[Settlement]) -> list[Settlement]:
        pause_s = 0.05
        while True:
            self._on_write()
            try:
                return await self._queue.settle(group, self._clock.now())
            except SchedulerError as error:
                # The requests were sent: giving up would send them again. The rows are still `running` and ours.
                log.error("settling %d attempts failed, trying again: %s", len(group), error.message)  # noqa: TRY400
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
