"""Waits in a test for events of a service, instead of polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from scheduler.domain.events import Events

E = TypeVar("E")


class EventLog(Generic[E]):
    """The events of one kind that were told since this was made, oldest first."""

    def __init__(self, events: Events, kind: type[E]) -> None:
        self.told: list[E] = []
        self._arrived = asyncio.Event()
        events.listen(kind, self._keep)

    def _keep(self, event: E) -> None:
        self.told.append(event)
        self._arrived.set()

    async def wait_for(self, wanted: Callable[[list[E]], bool] = bool, *, within_s: float = 20) -> None:
        """Until what was told is ``wanted``, by default anything; fails loudly instead of hanging."""
        async with asyncio.timeout(within_s):
            while not wanted(self.told):
                self._arrived.clear()
                await self._arrived.wait()
