"""The wiring, and nothing else: every object of the service is built here, in order, and let go of in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from scheduler import __version__
from scheduler.api.app import build_api
from scheduler.api.services import Health, Services
from scheduler.config import Config
from scheduler.data_dir import DataDir
from scheduler.demo import add_demo_jobs, demo_receiver, remove_demo_jobs
from scheduler.domain.clock import SECOND, Clock, SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.execution import Settlement
from scheduler.domain.places import PlaceLimits
from scheduler.engine.colleagues import Colleagues
from scheduler.engine.delivery import Deliverer
from scheduler.engine.egress import Egress
from scheduler.engine.maintenance import Maintenance
from scheduler.engine.membership import Membership
from scheduler.engine.pruner import Pruner
from scheduler.engine.recorder import Recorder
from scheduler.engine.sender import Sender
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.worker_pool import WorkerPool
from scheduler.opening import demand_key, open_database
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from scheduler.telemetry import Telemetry, attempts_log, configure_logging

_KEEP_ALIVE_S = 15
_STALLED_S = 10
_PATIENCE_S = 2
"""How long the database may take to answer a ping before it counts as gone."""

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

    async def stop(self) -> None:
        """Fire and claim nothing more, wait ``drain_s`` for what is in flight, settle everything."""
        self.draining = True
        self.trigger_loop.stop()
        interrupted = await self.pool.drain(self.config.engine.drain_s)
        recording = self._tasks[0]
        flushing = asyncio.ensure_future(self.recorder.flushed())
        await asyncio.wait([flushing, recording], return_when=asyncio.FIRST_COMPLETED)
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
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.stores.db.ping()
            database = True
        except (SchedulerError, TimeoutError):
            database = False
        looked_at = self.trigger_loop.looked_at
        attentive = looked_at is not None and self.clock.now() - looked_at < _STALLED_S * SECOND
        running = self.trigger_loop.running and attentive and not self.broken.is_set()
        return Health(
            ready=database and running and not self.draining,
            database="connected" if database else "disconnected",
            scheduler_service="running" if running else "stopped",
            draining=self.draining,
            details={
                "version": __version__,
                "database_version": self.stores.db.version,
                "worker_id": self.stores.queue.worker_id,
                "pool": {"size": self.pool.size, "in_use": self.pool.in_use},
            },
        )

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
        telemetry.pool_in_use = lambda: pool.in_use
        telemetry.live_counts = stores.executions.counts
        stores.queue.on_released = pool.wake
        stores.queue.on_disabled = telemetry.disabled
        stores.jobs.on_ended = stores.webhooks.on_ended = telemetry.ended
        trigger_loop = TriggerLoop(stores=stores, clock=clock, pool=pool, telemetry=telemetry, config=config.engine)
        yield Service(
            config=config,
            clock=clock,
            stores=stores,
            egress=egress,
            telemetry=telemetry,
            recorder=recorder,
            pool=pool,
            trigger_loop=trigger_loop,
            maintenance=maintenance,
            pruner=Pruner(store=stores.pruning, clock=clock, retention=config.retention),
            membership=membership,
            colleagues=Colleagues(db=db, trigger_loop=trigger_loop, pool=pool),
        )


def _place_limits(config: Config) -> PlaceLimits:
    return PlaceLimits(
        size=config.engine.concurrency,
        account_concurrency=config.limits.account_concurrency,
        host_concurrency=config.limits.host_concurrency,
        account_per_minute=config.limits.account_deliveries_per_minute,
        host_per_minute=config.limits.host_deliveries_per_minute,
    )


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[tuple[str, int]]:
    """Serve the API of ``service`` while the context is open; yields the address it listens on."""
    runner = web.AppRunner(service.api(), access_log=None, keepalive_timeout=_KEEP_ALIVE_S, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, service.config.server.host, service.config.server.port, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        service.egress.forbid(host, port)
        yield host, port
    finally:
        await runner.cleanup()


async def serve(
    config: Config,
    data_dir: DataDir,
    *,
    demo: bool = False,
    on_ready: Callable[[str, str | None], None],
    report: Callable[[str], None] | None = None,
) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit code. A second signal ends the process at once.

    ``on_ready`` is called with the base URL (and the demo receiver's) once the listener accepts. Raises ``StartError``
    or the ``OSError`` of the listener.
    """
    configure_logging(config.log)
    stopping = _stop_on_signals()
    async with AsyncExitStack() as stack:
        demo_port = await stack.enter_async_context(demo_receiver(report or (lambda _: None))) if demo else None
        if demo_port is not None:
            allow = (*config.egress.allow, f"127.0.0.1:{demo_port}")
            config = replace(config, egress=replace(config.egress, allow=allow))
        service = await stack.enter_async_context(open_service(config, data_dir))
        host, port = await stack.enter_async_context(listening(service))
        await service.start()
        collect_rarely()
        on_ready(_base_url(host, port), f"http://127.0.0.1:{demo_port}/hello" if demo_port else None)
        if demo_port is not None:
            attempts_log.setLevel(logging.WARNING)  # the receiver reports each delivery already
            await add_demo_jobs(
                service.stores, service.trigger_loop, service.egress, service.clock.now(), port=demo_port
            )
        ended = [asyncio.ensure_future(event.wait()) for event in (stopping, service.broken)]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        for waiting in ended:
            waiting.cancel()
        log.info("stopping: %d webhooks in flight", service.pool.in_use)
        await service.stop()
        if demo_port is not None:
            await remove_demo_jobs(service.stores)
        return 1 if service.broken.is_set() else 0


def collect_rarely() -> None:
    """Tell the garbage collector that what is here now stays, and that short-lived records are no reason to hurry."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)  # asked twice: now. Whatever is in flight is rescued by the next start.
        stopping.set()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)
    return stopping


def _base_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
