"""A job: when it runs, what happens when runs are missed or overlap, and how failed attempts are retried."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.retry import DEFAULT_POLICY, RetryPolicy
from scheduler.domain.jobs.timing import Timing

CATCHUPS = ("latest", "all", "none")
OVERLAPS = ("allow", "skip", "buffer_one", "cancel_previous")
DELIVERIES = ("at_least_once", "at_most_once")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as stored. Durations are seconds. It fires at ``next_run_at``; its timing gives the time after that."""

    id: str
    account_id: str
    name: str
    timing: Timing
    type: int = 1
    enabled: bool = True
    max_runs: int | None = None
    """The job ends after this many scheduled runs."""
    jitter_s: float = 0
    spread_s: float = 0
    catchup: str = "latest"
    catchup_window_s: float = 86_400
    catchup_limit: int = 100
    overlap: str = "allow"
    retry: RetryPolicy = DEFAULT_POLICY
    delivery: str = "at_least_once"
    auto_disable: bool = True
    note: str | None = None
    tags: tuple[str, ...] = ()
    disabled_by: DisabledBy | None = None
    disabled_reason: str | None = None
    """What ``disabled_by`` means here, as a sentence; ``None`` when a person paused it."""
    run_count: int = 0
    """How many due times have fired so far."""
    last_run_at: Instant | None = None
    next_run_at: Instant | None = None
    one_off_ended_at: Instant | None = None
    """When a job that runs only at given moments ended; ``None`` for every other job."""
    created_at: Instant
    updated_at: Instant

    def next_after(self, instant: Instant, *, run_count: int | None = None) -> Instant | None:
        """The first due time after ``instant``; ``None`` when there is none within its bounds and ``max_runs``.

        ``run_count`` is the number of runs until then, by default that until now.
        """
        if self.has_had_its_runs(self.run_count if run_count is None else run_count):
            return None
        return self.timing.next_after(instant)

    def has_had_its_runs(self, run_count: int) -> bool:
        """Has the job reached ``max_runs``, if it has had ``run_count`` runs?"""
        return self.max_runs is not None and run_count >= self.max_runs

    def spread(self) -> int:
        """The part of ``spread_s`` by which this job is delayed, in microseconds: a hash of its id, always the same."""
        if not self.spread_s:
            return 0
        digest = hashlib.sha256(self.id.encode()).digest()
        return seconds(self.spread_s) * int.from_bytes(digest[:8], "big") >> 64
