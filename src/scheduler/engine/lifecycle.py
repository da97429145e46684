"""Starts and stops the engine: from the rescue at the start to the last settlement at the stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import InitVar, dataclass, field
from typing import Any

from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import DatabaseBroken, Events
from scheduler.engine.firing import Firer
from scheduler.engine.nodes.membership import Membership
from scheduler.engine.nodes.peers import Peers
from scheduler.engine.recorder import Recorder
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.upkeep.clock_watch import ClockWatch
from scheduler.engine.upkeep.housekeeping import keep_house
from scheduler.engine.upkeep.kept_bytes import KeptBytes
from scheduler.engine.upkeep.pruner import Pruner
from scheduler.engine.upkeep.replanner import Replanner
from scheduler.engine.upkeep.rescue import Rescuer
from scheduler.engine.upkeep.sweeper import Sweeper
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.stores import Stores

_LAST_WRITE_S = 10
"""How long a stop waits for a database that does not take what is to be settled."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Engine:
    """The engine of one service: its parts, started and stopped together, once each.

    ``drain_s`` is how long a stop waits for deliveries in flight, in seconds.
    """

    events: InitVar[Events]
    stores: Stores
    membership: Membership
    rescuer: Rescuer
    recorder: Recorder
    pool: WorkerPool
    replanner: Replanner
    clock_watch: ClockWatch
    pruner: Pruner
    sweeper: Sweeper
    kept_bytes: KeptBytes
    firer: Firer
    trigger_loop: TriggerLoop
    peers: Peers
    drain_s: float
    is_draining: bool = field(default=False, init=False)
    """Whether a stop has begun."""
    broken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set when a task that must run for ever has ended, or the database is broken; the process then ends."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)

    def __post_init__(self, events: Events) -> None:
        events.listen(DatabaseBroken, lambda event: self._break(event.why))

    async def start(self) -> None:
        """Become a node, settle what a crash left open, plan by the present zone data, then fire and deliver."""
        await self.membership.join()
        await self.rescuer.rescue()
        await self.replanner.start()
        await self.clock_watch.start()
        self._run("recorder", self.recorder.run())
        self._run("worker-pool", self.pool.run())
        self._run("housekeeping", keep_house(self.stores, self.replanner, self.clock_watch))
        self._run("pruner", self.pruner.run())
        self._run("sweeper", self.sweeper.run())
        self._run("kept-bytes", self.kept_bytes.run())
        if self.stores.db.is_shared:
            self._run("membership", self.membership.run())
        self.peers.start()
        self.trigger_loop.start()

    async def stop(self) -> None:
        """Fire and claim nothing more, wait ``drain_s`` for what is in flight, settle everything.

        What cannot be settled, because the database does not answer, is settled by the next start.
        """
        self.is_draining = True
        self.trigger_loop.stop()
        # when it is unknown what is on disk nothing more is written: the next start rescues what is left
        is_broken = self.broken.is_set()
        interrupted = await self.pool.drain(0 if is_broken else self.drain_s)
        flushing = asyncio.ensure_future(self.recorder.flushed())
        await asyncio.wait(
            [flushing, self._tasks["recorder"]],
            timeout=0 if is_broken else _LAST_WRITE_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        ending = [*self._tasks.values(), flushing]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        with contextlib.suppress(SchedulerError):  # neither is worth a failing stop
            await self.stores.keys.write_uses()
            await self.kept_bytes.write()
            await self.membership.leave()
        if interrupted:
            log.warning("%d webhooks were still running after drain_s and are queued again", interrupted)

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not self.is_draining and not task.cancelled():
            log.critical("%s ended, the service cannot go on", task.get_name(), exc_info=task.exception())
            self.broken.set()

    def _break(self, why: str) -> None:
        log.critical("the service cannot go on: %s", why)
        self.broken.set()
