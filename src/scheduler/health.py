"""How the service is: what load balancers and operators ask. Never raises, and answers soon whatever is wrong."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scheduler import __version__
from scheduler.api.services import Health
from scheduler.config import Config, database_dsn, database_path
from scheduler.domain.clock import SECOND, Clock, Instant, format_instant
from scheduler.domain.errors import SchedulerError
from scheduler.engine.nodes.membership import Membership
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.worker_pool import WorkerPool
from scheduler.ops.data_dir import last_backup_at
from scheduler.store.queue.stats import COUNTED_TO, Depth, depth
from scheduler.store.stores import Stores

_STALLED_S = 10
_PATIENCE_S = 2
"""How long the database may take to answer before it counts as gone."""
_RESERVE_BYTES = 16 * 1024 * 1024
"""Storage counts as full while less is free: the write-ahead log needs some to be emptied."""


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """Feels the pulse of one service; ``is_draining`` and ``is_broken`` are its own word."""

    config: Config
    clock: Clock
    stores: Stores
    pool: WorkerPool
    trigger_loop: TriggerLoop
    membership: Membership
    is_draining: Callable[[], bool]
    is_broken: Callable[[], bool]

    async def health(self) -> Health:
        """How the service is right now. ``details`` has no names of hosts or paths: anybody may read it."""
        now = self.clock.now()
        database, queue = await self._ask_database(now)
        storage = await asyncio.to_thread(self._storage)
        looked_at = self.trigger_loop.looked_at
        attentive = looked_at is not None and now - looked_at < _STALLED_S * SECOND
        running = self.trigger_loop.running and attentive and not self.is_broken()
        ready = database and running and not self.is_draining() and storage != "full" and self.membership.is_held()
        return Health(
            ready=ready,
            database="connected" if database else "disconnected",
            scheduler_service="running" if running else "stopped",
            draining=self.is_draining(),
            details={
                "storage": storage,
                "version": __version__,
                "python_version": platform.python_version(),
                "database_version": self.stores.db.version,
                "last_tick_at": _told(looked_at),
                "last_backup_at": _told(await asyncio.to_thread(last_backup_at, self.config)),
                "pool": {"size": self.pool.size, "in_use": self.pool.in_use},
                **queue,
            },
        )

    async def _ask_database(self, now: Instant) -> tuple[bool, dict[str, Any]]:
        """Does it take writes, and what waits in it? Nothing is known of a queue that cannot be read."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.stores.db.ping()
                found = await depth(self.stores.db, now)
                nodes = len(await self.stores.nodes.alive()) if self.stores.db.is_shared else 1
        except (SchedulerError, TimeoutError):
            return False, {}
        lease = {"held": self.membership.is_held(), "clock_skew_s": round(self.membership.skew_s, 3)}
        shared = {"lease": lease} if self.stores.db.is_shared else {}
        return True, {"queue": _queue(found, now), "nodes": nodes, **shared}

    def _storage(self) -> str:
        """``ok``, ``full``, or ``unknown`` where it is not this machine's."""
        if database_dsn(self.config) is not None:
            return "unknown"
        try:
            free = shutil.disk_usage(database_path(self.config).parent).free
        except OSError:
            return "unknown"
        return "ok" if free >= _RESERVE_BYTES else "full"


def _queue(found: Depth, now: Instant) -> dict[str, Any]:
    oldest_at, due_at = found.oldest_ready_at, found.next_due_at
    return {
        "ready": found.ready,
        "planned": found.planned,
        "in_lanes": found.in_lanes,
        "counted_to": COUNTED_TO,
        "lag_s": 0.0 if oldest_at is None else (now - oldest_at) / SECOND,
        "overdue_s": 0.0 if due_at is None else max(0.0, (now - due_at) / SECOND),
    }


def _told(at: Instant | None) -> str | None:
    return None if at is None else format_instant(at)
