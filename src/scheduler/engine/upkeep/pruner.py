"""Pruning: deletes what retention does not keep, in slices, so that no other write waits for long.

Executions are removed by age and by number, dead letters also by their number in an account, jobs that run only at
given moments some time after they have ended, and the audit by age.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scheduler.config.limits import LimitsConfig
from scheduler.config.retention import RetentionConfig
from scheduler.domain.clock import Clock, Instant, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, ExecutionsPruned, PruneCause
from scheduler.store.executions.pruning import Edge
from scheduler.store.ids import first_id
from scheduler.store.stores import Stores

SLICE = 200
"""How many runs are looked at, or pruned in one transaction, at a time."""
BETWEEN_SWEEPS_S = 300.0
"""How long the pruner rests after a whole sweep."""
_REST_FACTOR = 4
"""After a slice the pruner pauses for this many times as long as that took: it has a fifth of the writer at most."""
_DAY_S = 86_400

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What one slice has deleted."""

    count: int
    cause: PruneCause


class Pruner:
    """Sweeps through all executions every five minutes."""

    def __init__(
        self, *, stores: Stores, clock: Clock, events: Events, retention: RetentionConfig, limits: LimitsConfig
    ) -> None:
        self._store = stores.pruning
        self._one_offs = stores.one_offs
        self._audit = stores.audit
        self._clock = clock
        self._events = events
        self._retention = retention
        self._limits = limits
        self._slices: AsyncIterator[Pruned] | None = None
        self._pruned = 0
        self._removed = 0
        self._entries = 0

    def keep(self, retention: RetentionConfig) -> None:
        """Prune by this retention from the next sweep on."""
        self._retention = retention

    async def run(self) -> None:
        """Prune, until cancelled."""
        while True:
            try:
                rest_s = await self.step()
            except SchedulerError as error:
                log.error("pruning failed: %s", error.message)  # noqa: TRY400
                rest_s = BETWEEN_SWEEPS_S
            await asyncio.sleep(rest_s)

    async def step(self) -> float:
        """Prune one slice; returns how long to rest, in seconds. After the last slice the next sweep begins."""
        slices = self._slices or self._sweep(self._clock.now())
        self._slices = None  # unless this slice succeeds the sweep begins anew
        started = time.perf_counter()
        try:
            pruned = await anext(slices)
        except StopAsyncIteration:
            self._log()
            return BETWEEN_SWEEPS_S
        self._slices = slices
        self._pruned += pruned.count
        self._events.tell(ExecutionsPruned(count=pruned.count, cause=pruned.cause))
        return (time.perf_counter() - started) * _REST_FACTOR

    def _log(self) -> None:
        if self._pruned or self._removed or self._entries:
            log.info(
                "pruned %d executions and %d entries of the audit, and removed %d one-off jobs",
                *(self._pruned, self._entries, self._removed),
            )
        self._pruned = self._removed = self._entries = 0

    async def _sweep(self, now: Instant) -> AsyncIterator[Pruned]:
        """One sweep; yields after each slice how many executions it deleted, and why."""
        for cause, slices in self._parts(now):
            async for count in slices:
                yield Pruned(count=count, cause=cause)

    def _parts(self, now: Instant) -> Iterator[tuple[PruneCause, AsyncIterator[int]]]:
        retention = self._retention
        dead_until_id = _age_edge(now, retention.dead_letter_days)
        edge = Edge(until_id=_age_edge(now, retention.executions_days), dead_until_id=dead_until_id)
        yield "age", self._by_age(edge)
        if retention.executions_per_job:
            yield "number", self._by_count(dead_until_id)
        if self._limits.dead_letters_per_account:
            yield "dead_letters", self._by_dead_letters(self._limits.dead_letters_per_account)
        if retention.ended_jobs_days:
            yield "ended_jobs", self._one_offs_ended(now - seconds(retention.ended_jobs_days * _DAY_S))
        if retention.audit_days:
            yield "age", self._audit_entries(_age_edge(now, retention.audit_days))

    async def _by_age(self, edge: Edge) -> AsyncIterator[int]:
        after_id = ""
        while found := await self._store.oldest(edge, after_id=after_id, limit=SLICE):
            yield await self._store.prune(found.going, edge)
            after_id = found.last_id

    async def _by_count(self, dead_until_id: str) -> AsyncIterator[int]:
        """Delete what is beyond ``executions_per_job``. Slices span jobs: a commit for each job would take longer."""
        after_job_id = ""
        while jobs := await self._store.crowded(
            after_job_id=after_job_id, kept=self._retention.executions_per_job, limit=SLICE
        ):
            crowded = [(job_id, until_id) for job_id, until_id in jobs if until_id is not None]
            last_id = max((until_id for _, until_id in crowded), default="")
            edge = Edge(until_id=last_id, dead_until_id=min(last_id, dead_until_id))
            going: dict[str, str] = {}
            async for found in self._looks(crowded, dead_until_id):
                going.update(found)
                if len(going) < SLICE:
                    yield 0
                else:
                    yield await self._store.prune(going, edge)
                    going = {}
            yield await self._store.prune(going, edge)
            after_job_id = jobs[-1][0]

    async def _looks(self, crowded: Sequence[tuple[str, str]], dead_until_id: str) -> AsyncIterator[Mapping[str, str]]:
        for job_id, until_id in crowded:
            edge, after_id = Edge(until_id=until_id, dead_until_id=min(until_id, dead_until_id)), ""
            while found := await self._store.oldest_of(job_id, edge, after_id=after_id, limit=SLICE):
                yield found.going
                after_id = found.last_id

    async def _by_dead_letters(self, kept: int) -> AsyncIterator[int]:
        """Delete the oldest dead letters of each account, with the other attempts of their runs."""
        after_account_id = ""
        while accounts := await self._store.with_many_dead(after_account_id=after_account_id, kept=kept, limit=SLICE):
            for account_id, until_id in accounts:
                edge, after_id = Edge(until_id="", dead_until_id=until_id or ""), ""
                while found := await self._store.oldest_dead_of(account_id, edge, after_id=after_id, limit=SLICE):
                    yield await self._store.prune(found.going, edge)
                    after_id = found.last_id
            after_account_id = accounts[-1][0]

    async def _one_offs_ended(self, until_at: Instant) -> AsyncIterator[int]:
        """Remove the one-offs that had ended by then; yields how many executions each slice deleted."""
        after = None
        while ended := await self._one_offs.ended(until_at, after=after, limit=SLICE):
            going, is_done = [job.id for job in ended if not job.is_kept], False
            while going and not is_done:
                removed = await self._one_offs.remove(going, until_at)
                self._removed += removed.jobs
                is_done = removed.is_done
                yield removed.executions
            after = ended[-1]

    async def _audit_entries(self, until_id: str) -> AsyncIterator[int]:
        """Delete the entries of the audit up to this id."""
        while deleted := await self._audit.prune(until_id, limit=SLICE):
            self._entries += deleted
            yield 0


def _age_edge(now: Instant, days: float) -> str:
    """The id up to which executions are older than so many days; empty, so none, for 0 days: they are kept for ever."""
    return first_id(max(0, now - seconds(days * _DAY_S))) if days else ""
