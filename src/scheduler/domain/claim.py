"""A claim: everything that the delivery of one attempt needs, read in the transaction that marked it ``running``."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.execution import Execution
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.webhook import Webhook


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A ``running`` execution of this worker, with what its job and webhook said at that moment."""

    execution: Execution
    job_name: str
    policy: RetryPolicy
    at_most_once: bool
    webhook: Webhook | None
    """``None`` when the webhook was deleted after the attempt had been queued."""
