"""A claim: all that the delivery of one attempt needs, read in the transaction that marked it ``running``."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import SECOND, Instant, seconds
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Execution, Trigger
from scheduler.domain.webhooks.webhook import Webhook


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A ``running`` execution of this worker, with its job and webhook as they were at that moment."""

    execution: Execution
    account_user: str
    """The user who made the account: the slot counts for them as well."""
    job_name: str
    policy: RetryPolicy
    at_most_once: bool
    catchup_window_s: float
    webhook: Webhook | None
    """``None`` when the webhook was deleted after the attempt had been queued, or cannot be read."""
    unreadable: str | None = None
    """Why the webhook cannot be read: its secrets were sealed with another key."""

    def is_overdue(self, now: Instant) -> bool:
        """Has the catch-up window of a scheduled run ended while its first attempt waited for a slot?

        The window begins at the scheduled time; jitter, spread and a pause move it by as much as the planned start.
        """
        execution = self.execution
        if execution.attempt > 1 or execution.trigger not in (Trigger.SCHEDULE, Trigger.CATCHUP):
            return False
        shift = max(0, execution.available_at - max(execution.scheduled_at, execution.created_at))
        waited = now > execution.available_at + SECOND  # even with a window of 0 s a punctual attempt is no late one
        return waited and now > execution.scheduled_at + shift + seconds(self.catchup_window_s)
