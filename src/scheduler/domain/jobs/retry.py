"""The retry policy: which failed attempts are repeated, how often, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from scheduler.domain.runs.error_code import TIMEOUTS, ErrorCode
from scheduler.domain.statuses import is_among

BackoffType = Literal["exponential", "linear", "fixed"]
BACKOFF_TYPES: tuple[BackoffType, ...] = get_args(BackoffType)
RETRY_AFTER_LIMIT_S = 86_400.0
"""The longest ``Retry-After`` that is honoured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """The retry policy of a job. All durations are seconds; fractions are fine.

    ``delays`` replaces the backoff: the n-th entry is the wait after attempt n, its last entry repeats.
    ``retry_on`` of ``None`` retries every failure; otherwise it lists ``"network"``, ``"timeout"``, status codes
    and classes such as ``"5xx"``. 410 Gone is never retried.
    """

    max_attempts: int = 3
    backoff_seconds: float = 60
    backoff_type: BackoffType = "exponential"
    delays: tuple[float, ...] | None = None
    max_backoff_seconds: float = 3600
    max_age_seconds: float = 86_400
    jitter: float = 0.1
    retry_on: tuple[str | int, ...] | None = None

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> RetryPolicy:
        """The policy with the given fields and the defaults for the rest; values were validated before.

        Fields of other versions are left out.
        """
        known = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        for name in ("delays", "retry_on"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        return cls(**known)

    def to_mapping(self) -> dict[str, Any]:
        """The fields as JSON values, as the API shows them."""
        fields = asdict(self)
        for name in ("delays", "retry_on"):
            if fields[name] is not None:
                fields[name] = list(fields[name])
        return fields

    def delay_s(self, attempt: int, *, retry_after_s: float | None, jitter: float) -> float:
        """Seconds to wait after failed attempt ``attempt`` (from 1); ``jitter`` is a draw from 0 to 1.

        ``Retry-After`` only ever lengthens the wait, at most to 24 hours; the jitter is added to what results.
        """
        planned = self._backoff_s(attempt)
        if retry_after_s is not None:
            planned = max(planned, min(retry_after_s, RETRY_AFTER_LIMIT_S))
        return planned + planned * self.jitter * jitter

    def covers(self, error_code: ErrorCode, response_code: int | None) -> bool:
        """Whether a failure with this error code and status is retried."""
        if response_code == 410:
            return False
        if self.retry_on is None:
            return True
        if response_code is not None:
            return is_among(response_code, self.retry_on)
        return ("timeout" if error_code in TIMEOUTS else "network") in self.retry_on

    def _backoff_s(self, attempt: int) -> float:
        if self.delays:
            return self.delays[min(attempt, len(self.delays)) - 1]
        if self.backoff_type == "exponential":
            # 2**1023 is the largest power that is a float; the limit below makes larger ones equal anyway
            planned = self.backoff_seconds * 2.0 ** min(attempt - 1, 1000)
        elif self.backoff_type == "linear":
            planned = self.backoff_seconds * attempt
        else:
            planned = self.backoff_seconds
        return min(planned, self.max_backoff_seconds)


DEFAULT_POLICY = RetryPolicy()
"""The policy of jobs that are created without one."""
