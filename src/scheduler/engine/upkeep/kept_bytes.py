"""The budget of bytes of each account: what it keeps is counted here and written every few seconds.

Attempts are counted from the events of this process and cost no statement. So the stored figure lacks what the last
seconds brought on each node, and what a crash lost with them; it contains what was deleted since. Both end when the
account is counted from its rows: once a day, and after ten minutes when it has used three quarters of its budget.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from scheduler.domain.accounts.kept_bytes import Kept, kept_by_attempt
from scheduler.domain.clock import Clock, Instant, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import AttemptsSettled, Events
from scheduler.store.accounts.kept_bytes import KeptAccount, KeptBytesStore

_WRITE_EVERY_S = 5.0
_LOOK_EVERY_S = 30.0
_COUNT_EVERY_S = 86_400
_COUNT_NEAR_EVERY_S = 600
_REST_FACTOR = 4
"""After a slice the count pauses for this many times as long as that took."""
_RETRY_AFTER_S = 600
_NOTHING = Kept()

log = logging.getLogger(__name__)


class KeptBytes:
    """What each account keeps; ``limit`` is its budget, in bytes, 0 for none."""

    def __init__(self, *, store: KeptBytesStore, clock: Clock, events: Events, limit: int) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit
        self._stored: dict[str, Kept] = {}
        """What was last read of the stored figures, of accounts that kept much or for which something was written."""
        self._unwritten: dict[str, Kept] = {}
        events.listen(AttemptsSettled, self._on_settled)

    def keeps_body(self, account_id: str) -> bool:
        """Is the body of an answer to be kept?"""
        return not self._limit or self._known(account_id).total < self._limit

    async def check_room(self, wanted: Mapping[str, int]) -> None:
        """Raises ``RATE_LIMITED`` when an account would keep more than its budget, even without bodies of answers."""
        for account_id, more in wanted.items() if self._limit else ():
            stored = await self._store.get(account_id) or _NOTHING
            kept = (stored + self._unwritten.get(account_id, _NOTHING)).without_bodies
            if kept + more > self._limit:
                raise SchedulerError(
                    "RATE_LIMITED",
                    f"account {account_id} keeps {kept} bytes without the bodies of answers, and may keep "
                    f"{self._limit} (limits.bytes_per_account): {more} more would be too many; delete jobs, purge dead "
                    "letters or shorten templates, what that frees is seen within ten minutes",
                    retry_after_s=_RETRY_AFTER_S,
                )

    def add(self, account_id: str, kept: Kept) -> None:
        """Count what was stored for an account."""
        self._unwritten[account_id] = self._unwritten.get(account_id, _NOTHING) + kept

    async def over(self) -> int:
        """How many accounts keep as much as their budget, or more."""
        return len(await self._store.over(self._limit)) if self._limit else 0

    async def run(self) -> None:
        """Write and count, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_on())
            tasks.create_task(self._count_on())

    async def write(self) -> None:
        """Add to the stored figures what was counted since the last time, and read what other nodes have added."""
        changes, self._unwritten = self._unwritten, {}
        try:
            stored = await self._store.add(changes) if changes else {}
        except SchedulerError:
            for account_id, kept in changes.items():
                self.add(account_id, kept)
            raise
        over = await self._store.over(self._limit) if self._limit else {}
        self._stored = over | stored

    async def count(self) -> None:
        """Count those accounts from their rows for which it is time."""
        while True:
            # what ended until now is in the stored figure before that is read, on this node
            at = self._clock.now()
            await self.write()
            account = await self._next_to_count(at)
            if account is None:
                return
            await self._count(account, at)

    def _known(self, account_id: str) -> Kept:
        return self._stored.get(account_id, _NOTHING) + self._unwritten.get(account_id, _NOTHING)

    async def _next_to_count(self, now: Instant) -> KeptAccount | None:
        return await self._store.next_to_count(
            before_at=now - seconds(_COUNT_EVERY_S),
            near=self._limit * 3 // 4 if self._limit else 2**62,
            near_before_at=now - seconds(_COUNT_NEAR_EVERY_S),
        )

    async def _count(self, account: KeptAccount, at: Instant) -> None:
        counted, started = _NOTHING, time.perf_counter()
        async for kept in self._store.slices(account.id, at):
            counted += kept
            await asyncio.sleep((time.perf_counter() - started) * _REST_FACTOR)
            started = time.perf_counter()
        await self._store.correct(account, counted, at)

    async def _write_on(self) -> None:
        while True:
            try:
                await self.write()
            except SchedulerError as error:
                log.error("writing what accounts keep failed, trying again: %s", error.message)  # noqa: TRY400
            await asyncio.sleep(_WRITE_EVERY_S)

    async def _count_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)  # first: a start has more urgent things to read
            try:
                await self.count()
            except SchedulerError as error:
                log.error("counting what accounts keep failed: %s", error.message)  # noqa: TRY400

    def _on_settled(self, event: AttemptsSettled) -> None:
        unwritten = self._unwritten
        for settlement in event.settlements:
            account_id = settlement.execution.account_id
            unwritten[account_id] = unwritten.get(account_id, _NOTHING) + kept_by_attempt(settlement)
