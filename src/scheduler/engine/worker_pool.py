"""The worker pool: a bounded number of deliveries in flight. A slot first, then the claim."""

from __future__ import annotations

import asyncio
import logging

from scheduler.domain.clock import SECOND, Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import AttemptsSettled, CancelRequested, Events, Fired, WorkReady, WritingEnds
from scheduler.domain.slots import Candidate, Owner, SlotLimits, Slots, is_late
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.url import host_of
from scheduler.engine.delivery import Deliverer
from scheduler.store.queue.queue import ExecutionQueue

_LONGEST_SLEEP_S = 1.0
"""The wall clock is read at least this often, because monotonic timers stop while a machine sleeps."""
_CONTENDED_RETRY_S = 0.02
"""When what is ready cannot be claimed, because another node is claiming it, the next try is after this time."""

log = logging.getLogger(__name__)


class WorkerPool:
    """Claims as many executions as it has free slots and delivers each in a task of its own.

    ``limits`` bounds what one account and one host may take, so that hanging receivers do not delay other accounts.
    """

    def __init__(
        self, *, queue: ExecutionQueue, deliverer: Deliverer, clock: Clock, limits: SlotLimits, events: Events
    ) -> None:
        self._queue = queue
        self._deliverer = deliverer
        self._clock = clock
        self._slots = Slots(limits)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._more_waiting = False
        self._stopping = False
        self._in_doubt = False
        self.size = limits.size
        events.listen(WorkReady, lambda _: self.wake())
        events.listen(Fired, lambda _: self.wake())
        events.listen(AttemptsSettled, self._on_settled)
        events.listen(WritingEnds, self._on_writing)
        events.listen(CancelRequested, lambda event: self.cancel(event.execution_id))

    @property
    def in_use(self) -> int:
        """Deliveries in flight."""
        return len(self._tasks)

    def wake(self) -> None:
        """Claim now, because more executions may be ready."""
        self._woken.set()

    def is_delivering(self, execution_id: str) -> bool:
        """Whether the execution is in flight in this process."""
        return execution_id in self._tasks

    def cancel(self, execution_id: str) -> None:
        """Abort the delivery of an execution, if it is in flight in this process."""
        task = self._tasks.get(execution_id)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Fill slots until stopped."""
        while not self._stopping:
            self._woken.clear()
            try:
                sleep_s = await self.fill_slots()
            except SchedulerError as error:
                log.error("claiming failed: %s", error.message)  # noqa: TRY400
                sleep_s = _LONGEST_SLEEP_S
            except Exception:
                log.exception("claiming failed: a defect of the service")
                sleep_s = _LONGEST_SLEEP_S
            await self._sleep(sleep_s)

    async def fill_slots(self) -> float:
        """One step: claim what may start into the free slots; returns how long to sleep, in seconds."""
        if self._in_doubt:
            await self._find_lost()
        free = self.size - len(self._tasks)
        if free <= 0 or not self._deliverer.may_start():
            self._more_waiting = True
            return _LONGEST_SLEEP_S
        self._in_doubt = True  # until it returns: a claim can be committed although its answer is lost
        claims = await self._queue.claim(self._clock.now(), free, self._slots)
        self._in_doubt = False
        for claim in claims:
            self._start(claim)
        self._more_waiting = len(claims) == free or self._queue.has_deferred
        if len(claims) == free:
            return _LONGEST_SLEEP_S  # the settlements of these attempts wake the pool
        start_at = await self._queue.next_start_at(self._slots, self._clock.now())
        if start_at is None:
            return _LONGEST_SLEEP_S
        sleep_s = (start_at - self._clock.now()) / SECOND
        return min(sleep_s if sleep_s > 0 else 0.0 if claims else _CONTENDED_RETRY_S, _LONGEST_SLEEP_S)

    async def _find_lost(self) -> None:
        """Start what an earlier claim committed although its answer was lost."""
        # read first, so that what ends meanwhile does not count as lost
        known = self._tasks.keys() | self._deliverer.unwritten()
        for claim in await self._queue.claimed():
            if claim.execution.id not in known:
                self._start(claim)
        self._in_doubt = False

    async def idle(self, timeout_s: float | None = None) -> None:
        """Wait until what is in flight now has ended, or the time is up."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)

    async def drain(self, timeout_s: float) -> int:
        """Claim nothing more, wait ``timeout_s`` for what is in flight, abort the rest; returns how many that were."""
        self._stopping = True
        self._woken.set()
        await self.idle(timeout_s)
        rest = list(self._tasks.values())
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        return len(rest)

    def _start(self, claim: Claim) -> None:
        execution = claim.execution
        slot = Candidate(
            id=execution.id,
            owner=Owner(account_id=execution.account_id, user=claim.account_user),
            host=host_of(claim.webhook.url)
            if claim.webhook is not None and self._slots.limits.depends_on_host
            else None,
            is_late=is_late(
                attempt=execution.attempt, scheduled_at=execution.scheduled_at, created_at=execution.created_at
            ),
        )
        self._slots.take(slot, self._clock.now())
        task = asyncio.create_task(self._deliver_one(claim), name=f"deliver-{execution.id}")
        self._tasks[execution.id] = task
        # a task that is cancelled before its first step never runs, so a callback frees the slot
        task.add_done_callback(lambda _: self._free(slot))

    async def _deliver_one(self, claim: Claim) -> None:
        try:
            await self._deliverer.deliver(claim)
        except Exception:
            log.exception("delivering %s failed: a defect of the service", claim.execution.id)

    def _on_settled(self, event: AttemptsSettled) -> None:
        if any(settlement.retry for settlement in event.settlements):
            self.wake()

    def _on_writing(self, _: WritingEnds) -> None:
        # the slots of these attempts are free: a claim now shares the commit of their settlements
        if self._more_waiting:
            self.wake()

    def _free(self, slot: Candidate) -> None:
        del self._tasks[slot.id]
        self._slots.give_back(slot)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until woken."""
        handle = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            handle.cancel()
