"""Users take turns at work of which only little can be done at a time, such as long computations."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler.domain.errors import SchedulerError


class Turns:
    """Gives users their turns: ``at_once`` in all, ``at_once_per_user`` to one user.

    Users who wait are served in rotation, so that many requests of one delay another by one turn only. At most
    ``most_waiting`` requests of a user wait; ``what`` they wait for is named when one more is refused.
    """

    def __init__(self, *, at_once: int, at_once_per_user: int, most_waiting: int, what: str) -> None:
        self._free = at_once
        self._at_once_per_user = at_once_per_user
        self._most_waiting = most_waiting
        self._what = what
        self._active: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Those who wait, by user; the user who was served last comes last."""

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Waits for a turn of ``user``, which lasts as long as the context. Cancelled while it waits, it has none.

        Raises ``RATE_LIMITED`` when too many requests of the user wait already.
        """
        await self.begin(user)
        try:
            yield
        finally:
            self.end(user)

    async def begin(self, user: str) -> None:
        """As ``turn``, for a turn that another function ends, by ``end``."""
        if self._free and self._active[user] < self._at_once_per_user and user not in self._waiting:
            self._take(user)
            return
        waiting = self._waiting.setdefault(user, deque())
        if len(waiting) >= self._most_waiting:
            raise SchedulerError(
                "RATE_LIMITED", f"{self._most_waiting} of your {self._what} wait already: send fewer at a time"
            )
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # the turn came in the moment of the cancellation
                self.end(user)
            elif given in waiting:
                waiting.remove(given)
                self._forget(user)
            raise

    def _take(self, user: str) -> None:
        self._free -= 1
        self._active[user] += 1

    def end(self, user: str) -> None:
        """End a turn of ``user``."""
        self._free += 1
        self._active[user] -= 1
        if not self._active[user]:
            del self._active[user]
        while self._free and self._give_next():
            pass

    def _give_next(self) -> bool:
        """Give a turn to the user who waits longest without one; returns whether there is one who may have it."""
        for user, waiting in self._waiting.items():
            if self._active[user] >= self._at_once_per_user:
                continue
            given = waiting.popleft()
            del self._waiting[user]
            if waiting:
                self._waiting[user] = waiting
            if not given.cancelled():
                self._take(user)
                given.set_result(None)
            return True
        return False

    def _forget(self, user: str) -> None:
        if user in self._waiting and not self._waiting[user]:
            del self._waiting[user]
