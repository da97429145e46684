"""Builds every object of the service, in order, and closes them in reverse."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from aiohttp import web

from scheduler.api.app import build_api
from scheduler.api.services import Services
from scheduler.config import Config
from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.events import Events
from scheduler.domain.slots import SlotLimits
from scheduler.engine.delivery import Deliverer
from scheduler.engine.firing import Firer
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.sender import Sender
from scheduler.engine.http.tls import TlsContexts
from scheduler.engine.http.tunnel import Proxy, Tunnel
from scheduler.engine.lifecycle import Engine
from scheduler.engine.nodes.membership import Membership
from scheduler.engine.nodes.peers import Peers
from scheduler.engine.recorder import Recorder
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.upkeep.clock_watch import ClockWatch
from scheduler.engine.upkeep.kept_bytes import KeptBytes
from scheduler.engine.upkeep.pruner import Pruner
from scheduler.engine.upkeep.replanner import Replanner
from scheduler.engine.upkeep.rescue import Rescuer
from scheduler.engine.upkeep.sweeper import Sweeper
from scheduler.engine.worker_pool import WorkerPool
from scheduler.health import HealthReport
from scheduler.ops.data_dir import DataDir
from scheduler.ops.open_database import open_database, require_sealing_key
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from scheduler.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True)
class Service:
    """All objects of one service. ``engine`` has those that run."""

    config: Config
    clock: Clock
    events: Events
    stores: Stores
    egress: Egress
    tls: TlsContexts
    telemetry: Telemetry
    engine: Engine
    health: HealthReport

    def api(self) -> web.Application:
        """The HTTP interface over this service."""
        return build_api(
            Services(
                config=self.config,
                clock=self.clock,
                events=self.events,
                accounts=self.stores.accounts,
                members=self.stores.members,
                invitations=self.stores.invitations,
                keys=self.stores.keys,
                jobs=self.stores.jobs,
                deletions=self.stores.deletions,
                webhooks=self.stores.webhooks,
                executions=self.stores.executions,
                dead_letters=self.stores.dead_letters,
                audit=self.stores.audit,
                egress=self.egress,
                tls=self.tls,
                telemetry=self.telemetry,
                firer=self.engine.firer,
                kept_bytes=self.engine.kept_bytes,
                worker_pool=self.engine.pool,
                health=self.health.now,
            )
        )


@asynccontextmanager
async def open_service(config: Config, data_dir: DataDir, *, clock: Clock | None = None) -> AsyncIterator[Service]:
    """Build every object of the service over its database. Raises ``StartError`` when the database cannot be used."""
    clock = clock or SystemClock()
    config = replace(
        config, auth=replace(config.auth, jwt_secret=data_dir.jwt_secret.decode("utf-8", "surrogateescape"))
    )
    events = Events()
    telemetry = Telemetry(events, pool_size=config.engine.concurrency)
    async with AsyncExitStack() as stack:
        db = await open_database(config, clock, events=events)
        stack.push_async_callback(db.close)
        vault = Vault(*data_dir.sealing_keys)
        await require_sealing_key(db, vault, config)
        stores = Stores.over(db, vault=vault, worker_id=f"{_process_id()}:0", events=events)
        egress = Egress(allow=config.egress.allow, dev=config.dev)
        tls = TlsContexts(ca_file=config.egress.ca_file, allow_insecure=config.egress.allow_insecure_tls)
        sender = await stack.enter_async_context(
            Sender(
                egress=egress,
                concurrency=config.engine.concurrency,
                body_limit=config.engine.response_body_limit,
                clock=clock,
                tls=tls,
                tunnel=_tunnel(config, egress),
            )
        )
        engine = _build_engine(config, clock, events, stores, sender)
        yield Service(
            config=config,
            clock=clock,
            events=events,
            stores=stores,
            egress=egress,
            tls=tls,
            telemetry=telemetry,
            engine=engine,
            health=HealthReport(config=config, clock=clock, stores=stores, engine=engine),
        )


def _tunnel(config: Config, egress: Egress) -> Tunnel | None:
    url = config.egress.proxy
    return Tunnel(Proxy.parse(url), egress=egress, by_name=config.egress.proxy_resolves) if url is not None else None


def _build_engine(config: Config, clock: Clock, events: Events, stores: Stores, sender: Sender) -> Engine:
    rescuer = Rescuer(queue=stores.queue, clock=clock)
    epochs = itertools.count(clock.now() // 1000)
    membership = Membership(
        nodes=stores.nodes,
        clock=clock,
        lease_s=config.engine.lease_s if stores.db.is_shared else None,
        new_node_id=lambda: f"{_process_id()}:{next(epochs)}",
        adopt=stores.queue.work_as,
        take_over=rescuer.rescue,
    )
    recorder = Recorder(queue=stores.queue, clock=clock, events=events)
    kept_bytes = KeptBytes(store=stores.kept_bytes, clock=clock, events=events, limit=config.limits.bytes_per_account)
    deliverer = Deliverer(
        sender=sender,
        recorder=recorder,
        clock=clock,
        has_lease=membership.has_lease,
        keeps_body=kept_bytes.keeps_body,
    )
    pool = WorkerPool(queue=stores.queue, deliverer=deliverer, clock=clock, limits=_slot_limits(config), events=events)
    firer = Firer(stores=stores, clock=clock, events=events, batch_size=config.engine.batch_size)
    trigger_loop = TriggerLoop(firer=firer, clock=clock, events=events, tick_s=config.engine.tick_s)
    return Engine(
        events=events,
        stores=stores,
        membership=membership,
        rescuer=rescuer,
        recorder=recorder,
        pool=pool,
        clock_watch=ClockWatch(db=stores.db, clock=clock, events=events),
        replanner=Replanner(zones=stores.zones, clock=clock, events=events),
        pruner=Pruner(stores=stores, clock=clock, events=events, retention=config.retention, limits=config.limits),
        sweeper=Sweeper(store=stores.deletions, clock=clock, events=events),
        kept_bytes=kept_bytes,
        peers=Peers(db=stores.db, trigger_loop=trigger_loop, pool=pool, events=events),
        firer=firer,
        trigger_loop=trigger_loop,
        drain_s=config.engine.drain_s,
    )


def _slot_limits(config: Config) -> SlotLimits:
    return SlotLimits(
        size=config.engine.concurrency,
        reserve=min(config.limits.reserve_slots, config.engine.concurrency // 4),
        account_concurrency=config.limits.account_concurrency,
        host_concurrency=config.limits.host_concurrency,
        account_per_minute=config.limits.account_deliveries_per_minute,
        host_per_minute=config.limits.host_deliveries_per_minute,
    )


def _process_id() -> str:
    """This process among those of all machines; with an epoch behind it, the id of a node."""
    return f"{socket.gethostname()}:{os.getpid()}"
