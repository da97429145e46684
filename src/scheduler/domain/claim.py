"""A claim: everything that the delivery of one attempt needs, read in the transaction that marked it ``running``."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import SECOND, Instant, seconds
from scheduler.domain.execution import Execution, Trigger
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.webhook import Webhook


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A ``running`` execution of this worker, with what its job and webhook said at that moment."""

    execution: Execution
    job_name: str
    policy: RetryPolicy
    at_most_once: bool
    catchup_window_s: float
    webhook: Webhook | None
    """``None`` when the webhook was deleted after the attempt had been queued."""

    def is_overdue(self, now: Instant) -> bool:
        """Has the catch-up window of a scheduled run closed while its first attempt waited for a slot?"""
        execution = self.execution
        if execution.attempt > 1 or execution.trigger not in (Trigger.SCHEDULE, Trigger.CATCHUP):
            return False
        waited = now > execution.available_at + SECOND  # jitter and spread are no delay
        return waited and now > execution.scheduled_at + seconds(self.catchup_window_s)
