"""What has to be done now and then: closing what a crash left open, and the database's housekeeping."""

from __future__ import annotations

import asyncio
import logging

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import INTERRUPTED, settle
from scheduler.store.stores import Stores

_RESCUE_BATCH = 500
_HOUSEKEEPING_S = 60

log = logging.getLogger(__name__)


class Maintenance:
    """Rescue at start and when a node is gone, housekeeping once a minute."""

    def __init__(self, *, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock

    async def rescue(self) -> int:
        """Close the attempts that are ``running`` for nobody who is still a node, and queue their retries at once.

        Returns how many.
        """
        rescued = 0
        while orphans := await self._stores.queue.orphans(_RESCUE_BATCH):
            now = self._clock.now()
            await self._stores.queue.settle(
                [
                    settle(orphan.execution, INTERRUPTED, now, policy=orphan.policy, at_most_once=orphan.at_most_once)
                    for orphan in orphans
                ],
                now,
            )
            rescued += len(orphans)
        if rescued:
            log.warning("rescued %d attempts whose process had stopped or lost its lease", rescued)
        return rescued

    async def run(self) -> None:
        """Housekeeping, until cancelled."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                await self._stores.keys.write_uses()
                await self._stores.db.maintain()
            except SchedulerError as error:
                log.error("housekeeping failed: %s", error.message)  # noqa: TRY400
