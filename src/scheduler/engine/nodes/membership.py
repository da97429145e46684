"""Membership: this process is a node of its database for as long as it renews its lease in time.

On SQLite, which permits one process, the lease never ends and is not renewed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from scheduler.domain.clock import SECOND, Clock
from scheduler.domain.errors import SchedulerError
from scheduler.store.queue.nodes import NodeStore

_LONGEST_STEP_S = 1.0
_RENEWALS_PER_LEASE = 3
_NOTABLE_SKEW_S = 1.0
"""Clocks that differ by less are not worth a line in the log."""

log = logging.getLogger(__name__)


class Membership:
    """Renews the lease of this node, and takes over the attempts of nodes whose lease has ended.

    ``lease_s`` is how long a lease lasts in seconds; ``None`` where one process has the database. ``new_node_id`` makes
    the id of a new epoch, and ``adopt`` gets it before anything is done under it. ``take_over`` settles the attempts
    that belong to no node, and returns how many there were.
    """

    def __init__(
        self,
        *,
        nodes: NodeStore,
        clock: Clock,
        lease_s: float | None,
        new_node_id: Callable[[], str],
        adopt: Callable[[str], None],
        take_over: Callable[[], Awaitable[int]],
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._lease_s = lease_s
        self._new_node_id = new_node_id
        self._adopt = adopt
        self._take_over = take_over
        self._node_id = ""
        self._lease_until_s = 0.0
        self._renew_at_s = 0.0
        self.skew_s = 0.0
        """How far the database's clock is ahead of this machine's, in seconds."""

    def has_lease(self) -> bool:
        """Whether this node holds its lease. Without it other nodes take over its attempts, and it may begin none."""
        return self._lease_s is None or _steady_s() < self._lease_until_s

    async def join(self) -> None:
        """Become a node under a new id."""
        if self._node_id:
            await self._nodes.leave(self._node_id)
        self._node_id = self._new_node_id()
        self._adopt(self._node_id)
        began_s = _steady_s()
        await self._nodes.join(self._node_id, lease_s=self._lease_s or 0)
        self._extend(began_s)

    async def leave(self) -> None:
        """Give up the lease: what is left ``running`` is rescued at once, by another node or by the next start."""
        self._lease_until_s = 0.0
        await self._nodes.leave(self._node_id)

    async def run(self) -> None:
        """Call ``step`` several times a lease, until cancelled."""
        if self._lease_s is None:
            return
        while True:
            await asyncio.sleep(min(_LONGEST_STEP_S, self._lease_s / (2 * _RENEWALS_PER_LEASE)))
            try:
                await self.step()
            except SchedulerError as error:
                log.error("the lease was not renewed: %s", error.message)  # noqa: TRY400

    async def step(self) -> None:
        """Renew the lease if that is due, and take over from nodes whose lease has ended. Raises ``SchedulerError``."""
        if _steady_s() >= self._renew_at_s:
            await self._renew()
        if gone := await self._nodes.remove_expired():
            log.warning("%d nodes have not renewed their lease, this one takes over: %s", len(gone), ", ".join(gone))
        await self._take_over()

    async def _renew(self) -> None:
        began_s, asked_at = _steady_s(), self._clock.now()
        database_now = await self._nodes.renew(self._node_id, lease_s=self._lease_s or 0)
        if database_now is None:
            log.error("the lease of %s was lost: others have taken over, it goes on as a new node", self._node_id)
            await self.join()
            return
        self._extend(began_s)
        skew_s = (database_now - asked_at) / SECOND
        if abs(skew_s) >= _NOTABLE_SKEW_S > abs(self.skew_s):
            log.warning("this machine's clock is %.1f s off the database's: jobs run by this machine's", skew_s)
        self.skew_s = skew_s

    def _extend(self, began_s: float) -> None:
        """Count the lease from ``began_s``, before the request for it: by the database's clock it ends no earlier."""
        lease_s = self._lease_s or 0
        self._lease_until_s = began_s + lease_s
        self._renew_at_s = began_s + lease_s / _RENEWALS_PER_LEASE


def _steady_s() -> float:
    """A clock that cannot be set and that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
