"""Rescue: settles the attempts that a process left ``running`` when it ended or lost its lease."""

from __future__ import annotations

import logging

from scheduler.domain.clock import Clock
from scheduler.domain.runs.execution import INTERRUPTED, settle
from scheduler.store.queue.queue import ExecutionQueue

_BATCH = 500

log = logging.getLogger(__name__)


class Rescuer:
    """Rescues at start, and when the lease of another node has ended."""

    def __init__(self, *, queue: ExecutionQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    async def rescue(self) -> int:
        """Settle the attempts that are ``running`` and belong to no node, and queue their retries at once.

        Returns how many there were.
        """
        rescued = 0
        while orphans := await self._queue.orphans(_BATCH):
            now = self._clock.now()
            await self._queue.settle(
                [
                    settle(orphan.execution, INTERRUPTED, now, policy=orphan.policy, at_most_once=orphan.at_most_once)
                    for orphan in orphans
                ],
                now,
                rescued=True,
            )
            rescued += len(orphans)
        if rescued:
            log.warning("rescued %d attempts whose process had stopped or lost its lease", rescued)
        return rescued
