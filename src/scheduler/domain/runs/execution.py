"""An execution is one attempt to deliver one run. This module is its state machine.

``queued`` → ``running`` → ``success`` | ``failure`` | ``timed_out`` | ``dead_letter``; what is not delivered ends as
``skipped`` or ``cancelled``. A final row never changes: the next attempt is another row of the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from scheduler.domain.clock import Instant, format_instant, seconds
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import TIMEOUTS, ErrorCode, error_line

CRASH_REPEATS = 3
"""How often an interrupted attempt may be repeated beyond the attempts of the retry policy."""

_REASON_LIMIT = 200
_PUT_OFF_S = 5
_LONGEST_PUT_OFF_S = 300
_CRASHED = "every repeat of this attempt was interrupted by a crash or a stop of the service"


class Status(StrEnum):
    """The state of an attempt."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMED_OUT = "timed_out"
    DEAD_LETTER = "dead_letter"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """Why an attempt was queued."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"
    CATCHUP = "catchup"
    REDRIVE = "redrive"


class Hold(IntEnum):
    """What keeps a queued attempt from starting, apart from its time."""

    NONE = 0
    PAUSED = 1
    """Its job is paused."""
    BUFFERED = 2
    """An earlier run of its job is still active."""
    BACKLOG = 3
    """Its account has its share of the pool, or its receiver's host has its limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """One row: one attempt of one run, or the record that a due time was skipped."""

    id: str
    run_id: str
    """The same for all attempts of a run; sent as ``webhook-id``."""
    job_id: str
    account_id: str
    webhook_id: str | None
    status: Status
    attempt: int = 1
    trigger: Trigger
    scheduled_at: Instant
    """The nominal time; jitter, spread and retries move ``available_at`` only."""
    available_at: Instant
    """The earliest start of this attempt."""
    created_at: Instant
    covers: int = 1
    """How many due times this row stands for; the first of them is ``covers_from``."""
    covers_from: Instant | None = None
    reason: str | None = None
    """Why the row is ``skipped`` or ``cancelled``."""
    budget_from: int = 1
    """The first attempt that the retry policy counts: 1, or that of the last redrive."""
    budget_at: Instant
    """From when ``max_age_seconds`` of the retry policy counts."""
    uncounted: int = 0
    """How many attempts from ``budget_from`` on, before this one, the retry policy does not count."""
    after_stale: bool = False
    """The attempt before this one ended as ``stale_connection``; this one is sent on a new connection."""
    worker_id: str | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    duration_ms: int | None = None
    response_code: int | None = None
    response_body: str | None = None
    response_headers: Mapping[str, str] | None = None
    body_truncated: bool = False
    warnings: Sequence[str] | None = None
    """What was wrong with an answer that was accepted all the same, in sentences."""
    error_code: ErrorCode | None = None
    """Why it failed; ``None`` for a success."""
    error: str | None = None
    """The same as a line for people, see ``error_line``.

    A dead letter that is shown has the errors of the attempts before as well, see ``with_earlier``; each row stores its
    own only.
    """
    is_scheduled: bool = True
    """Does the run stand for a due time of its job? Then its id can be computed again, see ``run_id_of``.

    A run that a person started does not; one that a person backfilled does.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of sending one request: a success without an ``error_code``, or a failure with one.

    ``response_code`` is ``None`` when no proper answer came; a failure of the code ``HTTP`` has one.
    """

    error_code: ErrorCode | None = None
    error_text: str = ""
    """What the error says after its code; one line."""
    response_code: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: str | None = None
    body_truncated: bool = False
    warnings: Sequence[str] = ()
    """What was wrong with an answer that was accepted all the same, in sentences."""
    retry_after_s: float | None = None
    put_off: bool = False
    """The failure is the service's own, for want of threads or descriptors: the attempt comes again and costs none."""

    @property
    def error(self) -> str | None:
        """Code and text as one line, see ``error_line``; ``None`` for a success."""
        if self.error_code is None:
            return None
        return error_line(self.error_code, self.error_text, response_code=self.response_code)


INTERRUPTED = Outcome(
    error_code=ErrorCode.INTERRUPTED, error_text="the service stopped while the request was in flight"
)
"""The outcome of an attempt whose process ended before the answer was recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """The next attempt of a run, to be queued in the same transaction that settles the present one."""

    attempt: int
    available_at: Instant
    uncounted: int = 0
    after_stale: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """How one attempt ended: the final state of its row and, if there is one, the next attempt."""

    execution: Execution
    status: Status
    finished_at: Instant
    outcome: Outcome
    error_code: ErrorCode | None = None
    error: str | None = None
    retry: Retry | None = None
    reason: str | None = None
    """Why it was ``skipped``."""

    @property
    def duration_ms(self) -> int:
        """Whole milliseconds from start to finish; 0 where the clock was set back meanwhile."""
        started_at = self.execution.started_at
        return max(0, (self.finished_at - started_at) // 1000) if started_at is not None else 0


def settle(
    execution: Execution,
    outcome: Outcome,
    now: Instant,
    *,
    policy: RetryPolicy,
    at_most_once: bool = False,
    jitter: float = 0.0,
) -> Settlement:
    """Decide how an attempt that ended with ``outcome`` is settled: success, failure with a retry, or dead letter.

    ``jitter`` is a random number from 0 to 1 that spreads retries. Pure: the same arguments give the same settlement.
    """
    code = outcome.error_code
    if code is None:
        return _final(execution, outcome, now, Status.SUCCESS)
    if code is ErrorCode.NO_WEBHOOK or (code is ErrorCode.INTERRUPTED and at_most_once):
        return _final(execution, outcome, now, Status.FAILURE)
    is_repeated = code is ErrorCode.STALE_CONNECTION and not at_most_once and not execution.after_stale
    if outcome.put_off:
        retry = _later(execution, now, policy=policy, jitter=jitter)
    elif is_repeated:
        retry = _repetition(execution, outcome, now)
    else:
        retry = _next_attempt(execution, outcome, code, now, policy=policy, jitter=jitter)
    if retry is None:
        return _dead(execution, outcome, code, now)
    status = Status.TIMED_OUT if code in TIMEOUTS else Status.FAILURE
    return replace(_final(execution, outcome, now, status), retry=retry)


def skip(execution: Execution, now: Instant, *, reason: str) -> Settlement:
    """The settlement of an attempt that is not made because its time has passed."""
    return Settlement(execution=execution, status=Status.SKIPPED, finished_at=now, outcome=Outcome(), reason=reason)


def run_id_of(webhook_or_job_id: str, scheduled_at: Instant) -> str:
    """The identity of a scheduled run: UUIDv5 (RFC 9562) of the scheduled time as the API writes it.

    The namespace is the webhook's id (the job's where there is no webhook), so every node, every restart and every
    restored backup gives the same run the same id.
    """
    namespace = bytes.fromhex(webhook_or_job_id.replace("-", ""))
    digest = bytearray(hashlib.sha1(namespace + format_instant(scheduled_at).encode(), usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x50  # version 5
    digest[8] = digest[8] & 0x3F | 0x80  # variant of RFC 9562
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _repetition(execution: Execution, outcome: Outcome, now: Instant) -> Retry:
    """The next attempt after one that ended as ``stale_connection``: at once, and that one does not count."""
    return Retry(
        attempt=execution.attempt + 1,
        available_at=now,
        uncounted=execution.uncounted + 1,
        after_stale=True,
    )


def _later(execution: Execution, now: Instant, *, policy: RetryPolicy, jitter: float) -> Retry | None:
    """The next attempt after one that was put off: soon, each time twice as late, until the run is too old.

    Nothing was sent, so it comes again with ``at_most_once`` too, and does not count against ``max_attempts``.
    """
    delay_s = min(_PUT_OFF_S * 2**execution.uncounted, _LONGEST_PUT_OFF_S) * (1 + jitter)
    if now + seconds(delay_s) > execution.budget_at + seconds(policy.max_age_seconds):
        return None
    return Retry(attempt=execution.attempt + 1, available_at=now + seconds(delay_s), uncounted=execution.uncounted + 1)


def _next_attempt(
    execution: Execution, outcome: Outcome, code: ErrorCode, now: Instant, *, policy: RetryPolicy, jitter: float
) -> Retry | None:
    used = execution.attempt - execution.budget_from + 1 - execution.uncounted
    if code is ErrorCode.INTERRUPTED:
        # An attempt that a stop of the service interrupted counts, but more attempts are permitted then.
        if used >= policy.max_attempts + CRASH_REPEATS:
            return None
        available_at = now
    else:
        if used >= policy.max_attempts or not policy.covers(code, outcome.response_code):
            return None
        # max_age_seconds limits the delay that the policy plans, not a longer one by the receiver's Retry-After.
        planned_s = policy.delay_s(used, retry_after_s=None, jitter=jitter)
        if now + seconds(planned_s) > execution.budget_at + seconds(policy.max_age_seconds):
            return None
        available_at = now + seconds(policy.delay_s(used, retry_after_s=outcome.retry_after_s, jitter=jitter))
    return Retry(
        attempt=execution.attempt + 1,
        available_at=available_at,
        uncounted=execution.uncounted,
    )


def _final(execution: Execution, outcome: Outcome, now: Instant, status: Status) -> Settlement:
    return Settlement(
        execution=execution,
        status=status,
        finished_at=now,
        outcome=outcome,
        error_code=outcome.error_code,
        error=outcome.error,
    )


def _dead(execution: Execution, outcome: Outcome, code: ErrorCode, now: Instant) -> Settlement:
    """The end of a run that is not tried again."""
    error = outcome.error
    if code is ErrorCode.INTERRUPTED:
        code, error = ErrorCode.CRASH_SUSPECT, error_line(ErrorCode.CRASH_SUSPECT, _CRASHED)
    return replace(_final(execution, outcome, now, Status.DEAD_LETTER), error_code=code, error=error)


def with_earlier(error: str | None, earlier: Iterable[tuple[int, str]]) -> str | None:
    """The error of a dead letter with those of the attempts before it, given with their numbers in order."""
    clauses = "; ".join(f"attempt {attempt}: {reason[:_REASON_LIMIT]}" for attempt, reason in earlier)
    return f"{error} (before: {clauses})" if clauses else error
