"""The transactions of firing: jobs become executions, because they are due or because a person asks for it.

Each locks its jobs, decides (``domain/runs/firing.py``), inserts the executions and advances the jobs, all at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from scheduler.domain.accounts.audit import Action, Actor, AuditedAction
from scheduler.domain.clock import SECOND, Clock, Instant
from scheduler.domain.errors import invalid
from scheduler.domain.events import CancelRequested, Events, ExecutionsEnded, Fired, LookedForDueJobs
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Execution, Status
from scheduler.domain.runs.firing import Firing, Present, backfill, end_broken, fire, run_ids_of, start
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Transaction
from scheduler.store.executions.pruning import check_not_pruned
from scheduler.store.ids import new_id
from scheduler.store.jobs.due import LockedJob
from scheduler.store.queue.queue import BY_NEWER_RUN
from scheduler.store.stores import Stores

_YIELD_EVERY_JOBS = 50
"""Jobs fired before other tasks get a turn: a few milliseconds."""
_LONGEST_GAP_S = 5.0
"""Jobs that came due during a longer gap between two looks count as missed."""
_MOST_ROWS = 5000
"""When the jobs of a batch have made this many rows, the rest are left to the next batch, so that none takes long."""
_MOST_BACKFILLED = 10_000
_CONTENDED_RETRY = SECOND // 50
"""What is due and cannot be locked is just being fired by another node: look again after so many microseconds."""

log = logging.getLogger(__name__)


class Firer:
    """Fires jobs; tells ``Fired`` after each commit."""

    def __init__(self, *, stores: Stores, clock: Clock, events: Events, batch_size: int) -> None:
        self._stores = stores
        self._clock = clock
        self._events = events
        self._batch_size = batch_size
        self._watching_since: Instant | None = None
        self._looked_at: Instant | None = None

    @property
    def looked_at(self) -> Instant | None:
        """When ``fire_due`` last finished; ``None`` before the first time."""
        return self._looked_at

    async def fire_due(self, now: Instant) -> Instant | None:
        """Fire a batch of the jobs due at ``now``; returns when the next is due, perhaps already."""
        self._note_look(now)
        started = time.perf_counter()
        fired = 0
        due_at = await self._stores.due_jobs.next_due_at()
        if due_at is not None and due_at <= now:
            fired = len(await self._write(lambda tx: self._fire_batch(tx, now), now))
            due_at = await self._stores.due_jobs.next_due_at()
            if not fired and due_at is not None:
                due_at = max(due_at, self._clock.now() + _CONTENDED_RETRY)
        self._looked_at = self._clock.now()
        self._events.tell(LookedForDueJobs(at=now, due=fired, seconds=time.perf_counter() - started))
        return due_at

    async def change_job(
        self, job: Job, change: Callable[[Job], Job], now: Instant, *, by: Actor | None = None
    ) -> Job | None:
        """Change a job at ``now``: what was due before still fires as it was. ``None`` when there is no such job.

        ``job`` is the job as it was read; ``change`` is applied to the job as it is in the transaction; ``by`` is for
        the audit.
        """
        await self._fire_if_due(job, now)
        return await self._stores.jobs.change(job.id, change, by=by)

    async def start_run(
        self, job_id: str, now: Instant, *, overlap: str = "allow", by: Actor | None = None
    ) -> list[Execution]:
        """Run a job now, independently of its schedule: one execution per enabled webhook; empty for an unknown job.
        ``by`` is for the audit.
        """

        async def start_it(tx: Transaction) -> list[Firing]:
            found = await self._stores.due_jobs.lock_one(tx, job_id, count_active=True)
            if found is None:
                return []
            active, waiting, present = found.active, found.waiting, self._present(now)
            return [start(found.job, found.webhook_ids, present, overlap=overlap, active=active, waiting=waiting)]

        firings = await self._write(start_it, now, on_record=(Action.JOB_TRIGGERED, by))
        return [execution for firing in firings for execution in firing.rows]

    async def backfill(
        self, job: Job, times: Sequence[Instant], now: Instant, *, dry_run: bool = False, by: Actor | None = None
    ) -> list[Execution]:
        """Run a job for due times that had no run; those that had one keep it. Empty when the job was deleted.

        ``dry_run`` only returns the executions that it would be; ``by`` is for the audit. Raises ``SchedulerError``
        when they are too many, or lie so far back that the record of what ran may be pruned.
        """
        await self._fire_if_due(job, now)

        async def fill(tx: Transaction) -> list[Firing]:
            found = await self._stores.due_jobs.lock_one(tx, job.id)
            return [await self._backfill(tx, found, times, now)] if found else []

        on_record = Action.JOB_BACKFILLED, by
        firings = await (self._stores.db.transaction(fill) if dry_run else self._write(fill, now, on_record=on_record))
        return [execution for firing in firings for execution in firing.executions]

    async def _fire_batch(self, tx: Transaction, now: Instant) -> list[Firing]:
        firings: list[Firing] = []
        rows = 0
        for locked in await self._stores.due_jobs.lock_due(tx, now, self._batch_size):
            firings.append(self._fire(locked, now))
            if len(firings) % _YIELD_EVERY_JOBS == 0:
                await asyncio.sleep(0)  # lets other tasks run, within the transaction
            rows += len(firings[-1].executions) + len(firings[-1].buffered)
            if rows >= _MOST_ROWS:
                break  # the others are still due
        return firings

    async def _fire_if_due(self, job: Job, now: Instant) -> None:
        """Fire one job if it is due, so that a change of it at ``now`` leaves what was due before untouched."""
        if job.next_run_at is None or job.next_run_at > now:
            return

        async def fire_it(tx: Transaction) -> list[Firing]:
            locked = await self._stores.due_jobs.lock_one(tx, job.id)
            is_due = locked is not None and locked.job.next_run_at is not None and locked.job.next_run_at <= now
            return [self._fire(locked, now)] if locked is not None and is_due else []

        await self._write(fire_it, now)

    async def _backfill(self, tx: Transaction, found: LockedJob, times: Sequence[Instant], now: Instant) -> Firing:
        job, webhook_ids = found.job, found.webhook_ids
        if len(times) * len(webhook_ids) > _MOST_BACKFILLED:
            webhooks = f"{len(webhook_ids)} webhooks of the job"
            raise invalid("to", f"{len(times)} times for {webhooks}: at most {_MOST_BACKFILLED} executions a call")
        await check_not_pruned(tx, job.id, times)
        # in a thread, since 10,000 executions take 200 ms
        run_ids = await asyncio.to_thread(run_ids_of, job, webhook_ids, times)
        known = await self._stores.queue.last_attempts(tx, run_ids)
        return await asyncio.to_thread(backfill, job, webhook_ids, times, self._present(now), known=known)

    async def _write(
        self,
        make: Callable[[Transaction], Awaitable[list[Firing]]],
        now: Instant,
        *,
        on_record: tuple[Action, Actor | None] | None = None,
    ) -> list[Firing]:
        """One transaction: lock, decide, insert, advance, and write the audit entry."""

        async def write(tx: Transaction) -> tuple[list[Firing], list[str]]:
            firings = await make(tx)
            if not firings:
                return [], []
            cancelled = await self._stores.queue.apply(tx, firings, now)
            await self._stores.due_jobs.advance(tx, firings, now)
            if on_record is not None:
                action, by = on_record
                await record_on_jobs(tx, by, [(one.job.id, _audited(action, one)) for one in firings if one.rows])
            return firings, cancelled

        firings, cancelled = await self._stores.db.transaction(write)
        for execution_id in cancelled:
            self._events.tell(CancelRequested(execution_id=execution_id))
        if cancelled:
            self._events.tell(ExecutionsEnded(status=Status.CANCELLED, count=len(cancelled), cause=BY_NEWER_RUN))
        if firings:
            self._events.tell(Fired(firings=firings))
        return firings

    def _fire(self, locked: LockedJob, now: Instant) -> Firing:
        job, webhook_ids, present = locked.job, locked.webhook_ids, self._present(now)
        try:
            return fire(job, webhook_ids, present, active=locked.active, waiting=locked.waiting)
        except Exception as error:
            # one job that cannot be fired does not prevent the others
            problem = job.timing.problem()
            if problem is not None:
                log.warning("job %s waits without a next time: %s", job.id, problem)
                active, waiting = locked.active, locked.waiting
                return fire(job, webhook_ids, present, active=active, waiting=waiting, problem=problem)
            log.exception("job %s cannot be fired and is disabled", job.id)
            return end_broken(job, reason=f"its schedule cannot be evaluated any more ({error})")

    def _note_look(self, now: Instant) -> None:
        """Compute since when there has been no gap between looks; a clock that is set forward makes one."""
        last, since = self._looked_at, self._watching_since
        if last is None or since is None or now - last > _LONGEST_GAP_S * SECOND:
            self._watching_since = now
        else:
            self._watching_since = min(since, now)  # a clock set back: what comes due from now on is not missed

    def _present(self, now: Instant) -> Present:
        return Present(
            now=now,
            watching_since=now if self._watching_since is None else self._watching_since,
            new_id=lambda: new_id(now),
            draw=random.random,
        )


def _audited(action: Action, firing: Firing) -> AuditedAction:
    return AuditedAction(action=action, subject_id=firing.job.id, subjects=len(firing.rows))
