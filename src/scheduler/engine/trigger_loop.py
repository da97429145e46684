"""The trigger loop: jobs that are due become executions. The database says what is due; this only asks in time."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from scheduler.config import EngineConfig
from scheduler.domain.accounts.audit import Action, Actor, Deed
from scheduler.domain.clock import SECOND, Clock, Instant, seconds
from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.runs.execution import Execution, Status
from scheduler.domain.runs.firing import Firing, Present, backfill, fire, give_up, run_ids_of, start
from scheduler.engine.heartbeat import Heartbeat, in_microseconds
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Transaction
from scheduler.store.executions.pruning import refuse_pruned
from scheduler.store.ids import new_id
from scheduler.store.jobs.jobs import JobAtHand
from scheduler.store.stores import Stores
from scheduler.telemetry import Telemetry

_BREATH = 50
"""Jobs fired in one go, a few milliseconds."""
_INATTENTIVE_S = 5.0
"""After a longer break between two looks, what came due meanwhile counts as missed."""
_MOST_ROWS = 5000
"""When the jobs of a batch have made so many rows, the rest of them wait for the next: no transaction takes long."""
_MOST_BACKFILLED = 10_000
_OTHERS = SECOND // 50
"""What is due and cannot be locked is just being fired by another node."""

log = logging.getLogger(__name__)


class TriggerLoop:
    """Fires due jobs, woken by an APScheduler heartbeat that is pulled forward to the next due time.

    The heartbeat recurs, it is no date that re-arms itself: that one dies silently when its next date falls due while
    it is still running. A wish to look again that comes during a look is a flag that is read before returning.
    """

    def __init__(
        self, *, stores: Stores, clock: Clock, pool: WorkerPool, telemetry: Telemetry, config: EngineConfig
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._pool = pool
        self._telemetry = telemetry
        self._config = config
        self._tick = seconds(config.tick_s)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._looking = False
        self._look_again = False
        self._next_look_at: Instant = 0
        self._attentive_since: Instant | None = None
        self._looked_at: Instant | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.announce: Callable[[str], None] = lambda _: None
        """Tells the other nodes, see ``Colleagues``."""

    @property
    def running(self) -> bool:
        """Is the heartbeat on?"""
        return bool(self._scheduler.running)

    @property
    def looked_at(self) -> Instant | None:
        """When it last finished looking for due jobs."""
        return self._looked_at

    def start(self) -> None:
        """Start the heartbeat; needs a running event loop. The first look comes at once."""
        self._scheduler.start()
        self._scheduler.add_job(
            self._beat,
            Heartbeat(self._config.tick_s),
            id="tick",
            misfire_grace_time=None,
            coalesce=True,
            # a look that is planned for right now begins while the one that planned it still counts as running
            max_instances=2,
            next_run_time=in_microseconds(0),
        )
        self._keep_beating()

    def stop(self) -> None:
        """Stop the heartbeat; a look that is under way ends with its transaction."""
        if self._watch is not None:
            self._watch.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def wake(self, due_at: Instant | None) -> None:
        """A job is now due at ``due_at``: see to it that the next look of every node comes no later.

        ``None`` changes nothing.
        """
        if due_at is not None:
            self.announce(f"due {due_at}")
            self.wake_here(due_at)

    def wake_here(self, due_at: Instant) -> None:
        """``wake`` for this node alone."""
        if due_at >= self._next_look_at:
            return
        if self._looking:
            self._look_again = True
        elif self._scheduler.running:
            self._plan_look(due_at)

    async def fire_due(self, now: Instant) -> Instant | None:
        """One step: fire a batch of the jobs due at ``now``; returns when the next is due, perhaps already."""
        self._pay_attention(now)
        started = time.perf_counter()
        due_at = await self._stores.jobs.next_due_at()
        if due_at is not None and due_at <= now:
            fired = await self._fire_batch(now)
            due_at = await self._stores.jobs.next_due_at()
            if not fired and due_at is not None:
                due_at = max(due_at, self._clock.now() + _OTHERS)
        self._looked_at = self._clock.now()
        self._telemetry.looked(now, seconds=time.perf_counter() - started)
        return due_at

    async def _fire_batch(self, now: Instant) -> int:
        """Fire up to a batch of the jobs due at ``now``; returns how many."""

        async def fire_batch(tx: Transaction) -> list[Firing]:
            firings: list[Firing] = []
            rows = 0
            for at_hand in await self._stores.jobs.lock_due(tx, now, self._config.batch_size):
                firings.append(self._fire(at_hand, now))
                if len(firings) % _BREATH == 0:
                    await asyncio.sleep(0)  # others have a turn on the loop; the transaction stays ours
                rows += len(firings[-1].executions) + len(firings[-1].buffered)
                if rows >= _MOST_ROWS:
                    break  # the others are still due
            return firings

        fired = len(await self._write(fire_batch, now))
        self._telemetry.polled(fired)
        return fired

    async def fire_one(self, job_id: str, now: Instant) -> None:
        """Fire one job if it is due, so that a change of it at ``now`` leaves what was due before untouched."""

        async def fire_it(tx: Transaction) -> list[Firing]:
            at_hand = await self._stores.jobs.lock_one(tx, job_id)
            is_due = at_hand is not None and at_hand.job.next_run_at is not None and at_hand.job.next_run_at <= now
            return [self._fire(at_hand, now)] if at_hand is not None and is_due else []

        await self._write(fire_it, now)

    async def start_run(
        self, job_id: str, now: Instant, *, overlap: str = "allow", by: Actor | None = None
    ) -> list[Execution]:
        """Run a job now, whatever its schedule says: one execution per enabled webhook; empty for an unknown job.

        ``by`` is who is on record for it.
        """

        async def start_it(tx: Transaction) -> list[Firing]:
            found = await self._stores.jobs.lock_one(tx, job_id, count_active=True)
            if found is None:
                return []
            active, waiting, present = found.active, found.waiting, self._present(now)
            return [start(found.job, found.webhook_ids, present, overlap=overlap, active=active, waiting=waiting)]

        firings = await self._write(start_it, now, on_record=(Action.JOB_TRIGGERED, by))
        return [execution for firing in firings for execution in firing.rows]

    async def backfill(
        self, job_id: str, times: Sequence[Instant], now: Instant, *, dry_run: bool = False, by: Actor | None = None
    ) -> list[Execution]:
        """Run a job for due times that had no run; those that had one keep it. Empty for an unknown job.

        ``dry_run`` only tells which executions it would be; ``by`` is who is on record for it. Raises
        ``SchedulerError`` when they are too many, or lie so far back that the record of what ran may be pruned.
        """

        async def fill(tx: Transaction) -> list[Firing]:
            found = await self._stores.jobs.lock_one(tx, job_id)
            return [await self._backfill(tx, found, times, now)] if found else []

        on_record = Action.JOB_BACKFILLED, by
        firings = await (self._stores.db.transaction(fill) if dry_run else self._write(fill, now, on_record=on_record))
        return [execution for firing in firings for execution in firing.executions]

    async def _backfill(self, tx: Transaction, found: JobAtHand, times: Sequence[Instant], now: Instant) -> Firing:
        job, webhook_ids = found.job, found.webhook_ids
        if len(times) * len(webhook_ids) > _MOST_BACKFILLED:
            webhooks = f"{len(webhook_ids)} webhooks of the job"
            raise invalid("to", f"{len(times)} times for {webhooks}: at most {_MOST_BACKFILLED} executions a call")
        await refuse_pruned(tx, job.id, times)
        known = await self._stores.queue.last_attempts(tx, run_ids_of(job, webhook_ids, times))
        return backfill(job, webhook_ids, times, self._present(now), known=known)

    async def _write(
        self,
        make: Callable[[Transaction], Awaitable[list[Firing]]],
        now: Instant,
        *,
        on_record: tuple[Action, Actor | None] | None = None,
    ) -> list[Firing]:
        """One transaction: lock, decide, insert, advance, and put on record who asked for it.

        What made way is aborted once that is on disk.
        """

        async def write(tx: Transaction) -> tuple[list[Firing], list[str]]:
            firings = await make(tx)
            if not firings:
                return [], []
            cancelled = await self._stores.queue.apply(tx, firings, now)
            await self._stores.jobs.advance(tx, firings, now)
            if on_record is not None:
                action, by = on_record
                await record_on_jobs(tx, by, [(one.job.id, _deed(action, one)) for one in firings if one.rows])
            return firings, cancelled

        firings, cancelled = await self._stores.db.transaction(write)
        for execution_id in cancelled:
            self._pool.cancel(execution_id)
        self._telemetry.ended(Status.CANCELLED, len(cancelled))
        if firings:
            self._telemetry.fired(firings)
            self._pool.wake()
            if sum(len(firing.executions) for firing in firings) > self._pool.size - self._pool.in_use:
                self.announce("ready")
        return firings

    def _fire(self, at_hand: JobAtHand, now: Instant) -> Firing:
        try:
            return fire(
                at_hand.job, at_hand.webhook_ids, self._present(now), active=at_hand.active, waiting=at_hand.waiting
            )
        except Exception as error:
            # A zone that an upgrade dropped, say. One job that cannot be fired must not keep all others from it.
            log.exception("job %s cannot be fired and is disabled", at_hand.job.id)
            return give_up(at_hand.job, reason=f"its schedule cannot be evaluated any more ({error})")

    async def _beat(self) -> None:
        """One heartbeat: fire batch after batch until nothing is due, then arrange the next look."""
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        try:
            due_at = await self._fire_until_quiet()
        except SchedulerError as error:
            log.error("looking for due jobs failed: %s", error.message)  # noqa: TRY400
            return
        except asyncio.CancelledError:
            return  # the service stops; a transaction that has begun ends by itself
        finally:
            self._looking = False
        beat_at = self._clock.now() + self._tick
        self._next_look_at = beat_at
        if due_at is not None and due_at < beat_at and self._scheduler.running:
            self._plan_look(due_at)

    def _plan_look(self, due_at: Instant) -> None:
        self._next_look_at = due_at
        self._scheduler.modify_job("tick", next_run_time=in_microseconds(max(0, due_at - self._clock.now())))

    async def _fire_until_quiet(self) -> Instant | None:
        while True:
            self._look_again = False
            due_at = await self.fire_due(self._clock.now())
            if (due_at is None or due_at > self._clock.now()) and not self._look_again:
                return due_at

    def _keep_beating(self) -> None:
        """See to it that the next beat is near. A clock set back leaves it as far ahead as it was set back.

        The timer runs on the monotonic clock, which nobody sets; APScheduler plans on the wall clock.
        """
        beat = self._scheduler.get_job("tick")
        if beat is not None and beat.next_run_time is not None and beat.next_run_time > in_microseconds(2 * self._tick):
            self._scheduler.modify_job("tick", next_run_time=in_microseconds(0))
        self._watch = asyncio.get_running_loop().call_later(self._config.tick_s, self._keep_beating)

    def _pay_attention(self, now: Instant) -> None:
        """Keep account of since when we have been looking without a break; a clock that jumps breaks it, too."""
        last, since = self._looked_at, self._attentive_since
        if last is None or since is None or now - last > _INATTENTIVE_S * SECOND:
            self._attentive_since = now
        else:
            self._attentive_since = min(since, now)  # a clock set back: what comes due from now on is not missed

    def _present(self, now: Instant) -> Present:
        return Present(
            now=now,
            attentive_since=now if self._attentive_since is None else self._attentive_since,
            new_id=lambda: new_id(now),
            draw=random.random,
        )


def _deed(action: Action, firing: Firing) -> Deed:
    return Deed(action=action, subject_id=firing.job.id, subjects=len(firing.rows))
