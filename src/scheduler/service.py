"""The service as a value: every object of it is built here, in order, and let go of in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from scheduler.api.app import build_api
from scheduler.api.services import Health, Services
from scheduler.config import Config
from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Settlement
from scheduler.domain.slots import PlaceLimits
from scheduler.engine.delivery import Deliverer
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.sender import Sender
from scheduler.engine.nodes.membership import Membership
from scheduler.engine.nodes.peers import Colleagues
from scheduler.engine.recorder import Recorder
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.upkeep.pruner import Pruner
from scheduler.engine.upkeep.rescue import Maintenance
from scheduler.engine.worker_pool import WorkerPool
from scheduler.health import Vitals
from scheduler.ops.data_dir import DataDir
from scheduler.ops.open_database import demand_key, open_database
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from scheduler.telemetry import Telemetry

_LAST_WRITE_S = 10
"""How long a stop waits for a database that does not take what is to be settled."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Service:
    """The whole service as a value, so that a test can hold one. ``start`` and ``stop`` it once each."""

    config: Config
    clock: Clock
    stores: Stores
    egress: Egress
    telemetry: Telemetry
    recorder: Recorder
    pool: WorkerPool
    trigger_loop: TriggerLoop
    maintenance: Maintenance
    pruner: Pruner
    membership: Membership
    colleagues: Colleagues
    draining: bool = False
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a part that must run for ever has ended: then the process should, too."""

    async def start(self) -> None:
        """Become a node, close what a crash left open, then fire and deliver."""
        await self.membership.join()
        self.telemetry.rescued(await self.maintenance.rescue())
        self._tasks = [
            asyncio.create_task(self.recorder.run(), name="recorder"),
            asyncio.create_task(self.pool.run(), name="worker-pool"),
            asyncio.create_task(self.maintenance.run(), name="maintenance"),
            asyncio.create_task(self.pruner.run(), name="pruner"),
            *([asyncio.create_task(self.membership.run(), name="membership")] if self.stores.db.is_shared else []),
        ]
        for task in self._tasks:
            task.add_done_callback(self._on_end)
        self.colleagues.listen()
        self.trigger_loop.start()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not self.draining and not task.cancelled():
            log.critical("%s ended, the service cannot go on", task.get_name(), exc_info=task.exception())
            self.broken.set()

    def break_down(self, why: str) -> None:
        """Nothing is certain any more, as what was written may be lost: the process has to end."""
        log.critical("the service cannot go on: %s", why)
        self.broken.set()

    async def stop(self) -> None:
        """Fire and claim nothing more, wait ``drain_s`` for what is in flight, settle everything.

        What cannot be settled, because the database is away, is closed by the next start.
        """
        self.draining = True
        self.trigger_loop.stop()
        # When it is not known what is on disk, there is nothing to wait for: the next start finds out.
        patient = not self.broken.is_set()
        interrupted = await self.pool.drain(self.config.engine.drain_s if patient else 0)
        recording = self._tasks[0]
        flushing = asyncio.ensure_future(self.recorder.flushed())
        await asyncio.wait(
            [flushing, recording], timeout=_LAST_WRITE_S if patient else 0, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (*self._tasks, flushing):
            task.cancel()
        await asyncio.gather(*self._tasks, flushing, return_exceptions=True)
        with contextlib.suppress(SchedulerError):  # neither is worth a failing stop
            await self.stores.keys.write_uses()
            await self.membership.leave()
        if interrupted:
            log.warning("%d webhooks were still running after drain_s and are queued again", interrupted)

    async def health(self) -> Health:
        """How the service is right now; never raises."""
        return await Vitals(
            config=self.config,
            clock=self.clock,
            stores=self.stores,
            pool=self.pool,
            trigger_loop=self.trigger_loop,
            membership=self.membership,
            is_draining=lambda: self.draining,
            is_broken=self.broken.is_set,
        ).health()

    def api(self) -> web.Application:
        """The HTTP interface over this service."""
        return build_api(
            Services(
                config=self.config,
                clock=self.clock,
                accounts=self.stores.accounts,
                members=self.stores.members,
                keys=self.stores.keys,
                jobs=self.stores.jobs,
                webhooks=self.stores.webhooks,
                executions=self.stores.executions,
                dead_letters=self.stores.dead_letters,
                audit=self.stores.audit,
                egress=self.egress,
                telemetry=self.telemetry,
                trigger_loop=self.trigger_loop,
                worker_pool=self.pool,
                health=self.health,
            )
        )


@asynccontextmanager
async def open_service(config: Config, data_dir: DataDir, *, clock: Clock | None = None) -> AsyncIterator[Service]:
    """Build every object of the service over its database. Raises ``StartError`` when the database cannot be used."""
    clock = clock or SystemClock()
    config = replace(
        config, auth=replace(config.auth, jwt_secret=data_dir.jwt_secret.decode("utf-8", "surrogateescape"))
    )
    node = f"{socket.gethostname()}:{os.getpid()}"
    epochs = itertools.count(clock.now() // 1000)
    async with AsyncExitStack() as stack:
        telemetry = Telemetry(pool_size=config.engine.concurrency)
        db = await open_database(config, clock, on_commit=telemetry.committed)
        stack.push_async_callback(db.close)
        vault = Vault(data_dir.secret_key, *data_dir.older_keys)
        await demand_key(db, vault, config)
        stores = Stores.over(db, vault=vault, worker_id=f"{node}:0")
        egress = Egress(allow=config.egress.allow, dev=config.dev)
        sender = await stack.enter_async_context(
            Sender(
                egress=egress,
                concurrency=config.engine.concurrency,
                body_limit=config.engine.response_body_limit,
                clock=clock,
            )
        )

        def on_settled(settlements: Sequence[Settlement]) -> None:
            telemetry.settled(settlements)
            if any(settlement.retry for settlement in settlements):
                pool.wake()

        def on_write() -> None:
            pool.refill()

        maintenance = Maintenance(stores=stores, clock=clock)

        async def take_over() -> int:
            rescued = await maintenance.rescue()
            telemetry.rescued(rescued)
            if rescued:
                pool.wake()
            return rescued

        membership = Membership(
            nodes=stores.nodes,
            clock=clock,
            lease_s=config.engine.lease_s if db.is_shared else None,
            new_node_id=lambda: f"{node}:{next(epochs)}",
            adopt=stores.queue.work_as,
            take_over=take_over,
        )
        recorder = Recorder(queue=stores.queue, clock=clock, on_write=on_write, on_settled=on_settled)
        deliverer = Deliverer(sender=sender, recorder=recorder, clock=clock, may_start=membership.is_held)
        pool = WorkerPool(queue=stores.queue, deliver=deliverer.deliver, clock=clock, limits=_place_limits(config))
        pool.may_start = membership.is_held
        pool.unwritten = recorder.unwritten
        telemetry.pool_in_use = lambda: pool.in_use
        telemetry.live_counts = stores.executions.counts
        stores.queue.on_released = pool.wake
        stores.queue.on_disabled = telemetry.disabled
        stores.jobs.on_ended = stores.webhooks.on_ended = telemetry.ended
        trigger_loop = TriggerLoop(stores=stores, clock=clock, pool=pool, telemetry=telemetry, config=config.engine)
        service = Service(
            config=config,
            clock=clock,
            stores=stores,
            egress=egress,
            telemetry=telemetry,
            recorder=recorder,
            pool=pool,
            trigger_loop=trigger_loop,
            maintenance=maintenance,
            pruner=Pruner(store=stores.pruning, clock=clock, telemetry=telemetry, retention=config.retention),
            membership=membership,
            colleagues=Colleagues(db=db, trigger_loop=trigger_loop, pool=pool),
        )
        db.on_broken = service.break_down
        yield service


def _place_limits(config: Config) -> PlaceLimits:
    return PlaceLimits(
        size=config.engine.concurrency,
        account_concurrency=config.limits.account_concurrency,
        host_concurrency=config.limits.host_concurrency,
        account_per_minute=config.limits.account_deliveries_per_minute,
        host_per_minute=config.limits.host_deliveries_per_minute,
    )
