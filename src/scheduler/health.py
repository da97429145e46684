"""The health of a running service, for load balancers and operators. Never raises, and answers soon."""

from __future__ import annotations

import asyncio
import platform
import shutil
from dataclasses import dataclass
from typing import Any

from scheduler import __version__
from scheduler.api.services import Health
from scheduler.config import Config, database_dsn, database_path
from scheduler.domain.clock import SECOND, Clock, Instant, format_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.schedule.zones import zone_data
from scheduler.engine.lifecycle import Engine
from scheduler.ops.data_dir import last_backup_at
from scheduler.store.queue.stats import COUNTED_TO, Depth, depth
from scheduler.store.stores import Stores

_STALLED_S = 10
_RESERVE_BYTES = 16 * 1024 * 1024
"""Storage counts as full while less is free, because emptying the write-ahead log takes some."""


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """Reads the health of a running service."""

    config: Config
    clock: Clock
    stores: Stores
    engine: Engine
    database_timeout_s: float = 2
    """A database that takes longer to answer counts as disconnected."""

    async def now(self) -> Health:
        """The health at this moment. ``details`` has no names of hosts or paths, because it needs no token."""
        engine, now = self.engine, self.clock.now()
        database, queue = await self._ask_database(now)
        storage = await asyncio.to_thread(self._storage)
        looked_at = engine.firer.looked_at
        attentive = looked_at is not None and now - looked_at < _STALLED_S * SECOND
        running = engine.trigger_loop.running and attentive and not engine.broken.is_set()
        ready = database and running and not engine.is_draining and storage != "full" and engine.membership.has_lease()
        return Health(
            ready=ready,
            database="connected" if database else "disconnected",
            scheduler_service="running" if running else "stopped",
            draining=engine.is_draining,
            details={
                "storage": storage,
                "version": __version__,
                "python_version": platform.python_version(),
                "zone_data": {
                    **zone_data().to_mapping(),
                    "jobs_in_unknown_zones": engine.replanner.jobs_in_unknown_zones,
                },
                "database_version": self.stores.db.version,
                "last_tick_at": _time_or_none(looked_at),
                "last_backup_at": _time_or_none(await asyncio.to_thread(last_backup_at, self.config)),
                "clock_behind_s": round(engine.clock_watch.behind_s, 3),
                "pool": {"size": engine.pool.size, "in_use": engine.pool.in_use},
                **queue,
            },
        )

    async def _ask_database(self, now: Instant) -> tuple[bool, dict[str, Any]]:
        """Whether the database accepts writes, and, when it answers, the depth of the queue."""
        try:
            async with asyncio.timeout(self.database_timeout_s):
                await self.stores.db.ping()
                found = await depth(self.stores.db, now)
                over = await self.engine.kept_bytes.over()
                nodes = len(await self.stores.nodes.alive()) if self.stores.db.is_shared else 1
        except (SchedulerError, TimeoutError):
            return False, {}
        lease = {"held": self.engine.membership.has_lease(), "clock_skew_s": round(self.engine.membership.skew_s, 3)}
        shared = {"lease": lease} if self.stores.db.is_shared else {}
        return True, {"queue": _queue(found, now), "accounts_over_budget": over, "nodes": nodes, **shared}

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
    oldest_at, deferred_at, due_at = found.oldest_ready_at, found.oldest_in_lanes_at, found.next_due_at
    return {
        "ready": found.ready,
        "planned": found.planned,
        "in_lanes": found.in_lanes,
        "jobs_waiting": found.jobs_waiting,
        "counted_to": COUNTED_TO,
        "lag_s": 0.0 if oldest_at is None else (now - oldest_at) / SECOND,
        "in_lanes_lag_s": 0.0 if deferred_at is None else (now - deferred_at) / SECOND,
        "overdue_s": 0.0 if due_at is None else max(0.0, (now - due_at) / SECOND),
    }


def _time_or_none(at: Instant | None) -> str | None:
    return None if at is None else format_instant(at)
