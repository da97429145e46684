"""How many bytes an account keeps, and what is not kept beyond its budget: the bodies of answers, before all else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Outcome, Settlement
from scheduler.domain.webhooks.webhook import Webhook

ROW_BYTES = 512
"""What an execution, a webhook, a version of a job or an entry of the audit counts beside its texts; about what it
takes on disk with its indexes."""
JOB_BYTES = 1024
"""The same for a job, whose first version and entry in the audit are counted apart."""
BODY_DROPPED = "the body was not kept: the account keeps as much as limits.bytes_per_account permits"
"""The warning of an execution whose answer had a body that was not stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Bytes of an account: ``total``, of which ``bodies`` are the bodies of answers."""

    total: int = 0
    bodies: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(total=self.total + other.total, bodies=self.bodies + other.bodies)

    def __sub__(self, other: Kept) -> Kept:
        return Kept(total=self.total - other.total, bodies=self.bodies - other.bodies)

    @property
    def without_bodies(self) -> int:
        return self.total - self.bodies


def kept_by_attempt(settlement: Settlement) -> Kept:
    """What the row of an attempt that ended keeps."""
    outcome = settlement.outcome
    bodies = octets(outcome.response_body)
    texts = octets(settlement.error) + octets(settlement.reason) + sum(map(octets, outcome.warnings))
    headers = sum(octets(name) + octets(value) + 8 for name, value in outcome.response_headers.items())
    return Kept(total=ROW_BYTES + bodies + texts + headers, bodies=bodies)


def kept_by_job(job: Job, webhooks: Iterable[Webhook]) -> int:
    """What a new job keeps with its webhooks, its first version and its entry in the audit."""
    texts = octets(job.name) + octets(job.timing.schedule) + octets(job.note) + sum(map(octets, job.tags))
    return JOB_BYTES + 2 * ROW_BYTES + texts + sum(map(kept_by_webhook, webhooks))


def kept_by_webhook(webhook: Webhook) -> int:
    """What a webhook keeps; what is sealed counts as much as it has in plain."""
    pairs = [*(webhook.headers or {}).items(), *(webhook.query_params or {}).items()]
    named = sum(octets(name) + octets(value) for name, value in pairs)
    return ROW_BYTES + octets(webhook.url) + octets(webhook.body_template) + named


def without_body(outcome: Outcome) -> Outcome:
    """The outcome as it is stored where bodies are not kept."""
    if not outcome.response_body:
        return outcome
    return replace(outcome, response_body=None, body_truncated=True, warnings=(*outcome.warnings, BODY_DROPPED))


def octets(text: str | None) -> int:
    """The length of a text in UTF-8."""
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
