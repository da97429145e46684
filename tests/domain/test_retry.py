"""The retry policy: how long to wait before the next attempt, and which failures are repeated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode


def waits(policy: RetryPolicy, count: int = 5) -> list[float]:
    return [policy.delay_s(attempt, retry_after_s=None, jitter=0.0) for attempt in range(1, count + 1)]


def test_a_policy_has_these_defaults() -> None:
    assert RetryPolicy().to_mapping() == {
        "max_attempts": 3,
        "backoff_seconds": 60,
        "backoff_type": "exponential",
        "delays": None,
        "max_backoff_seconds": 3600,
        "max_age_seconds": 86_400,
        "jitter": 0.1,
        "retry_on": None,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"backoff_type": "exponential"}, [60, 120, 240, 480, 960]),
        ({"backoff_type": "linear"}, [60, 120, 180, 240, 300]),
        ({"backoff_type": "fixed"}, [60, 60, 60, 60, 60]),
        ({"backoff_seconds": 0}, [0, 0, 0, 0, 0]),
        ({"backoff_seconds": 0.25}, [0.25, 0.5, 1, 2, 4]),
        ({"max_backoff_seconds": 200}, [60, 120, 200, 200, 200]),
        ({"delays": (5, 300, 1800)}, [5, 300, 1800, 1800, 1800]),
        ({"delays": (0.5,), "backoff_type": "linear"}, [0.5] * 5),
    ],
)
def test_waits_grow_by_the_type_of_backoff(fields: dict[str, object], expected: list[float]) -> None:
    assert waits(RetryPolicy.from_mapping(fields)) == expected


def test_jitter_adds_up_to_its_share() -> None:
    policy = RetryPolicy(jitter=0.1, backoff_type="fixed")
    assert policy.delay_s(1, retry_after_s=None, jitter=0.0) == 60
    assert policy.delay_s(1, retry_after_s=None, jitter=0.5) == pytest.approx(63)
    assert policy.delay_s(1, retry_after_s=None, jitter=1.0) == pytest.approx(66)
    assert RetryPolicy(jitter=0).delay_s(1, retry_after_s=None, jitter=1.0) == 60


@pytest.mark.parametrize(("asked", "waited"), [(0, 60), (59, 60), (61, 61), (86_400, 86_400), (1e9, 86_400)])
def test_retry_after_lengthens_up_to_a_day(asked: float, waited: float) -> None:
    assert RetryPolicy().delay_s(1, retry_after_s=asked, jitter=0.0) == waited


@given(asked=st.floats(0, 86_400), jitter=st.floats(0, 1), share=st.floats(0, 1))
def test_jitter_is_added_to_retry_after_so_that_no_attempt_is_early(asked: float, jitter: float, share: float) -> None:
    wait = RetryPolicy(jitter=share).delay_s(1, retry_after_s=asked, jitter=jitter)
    assert asked <= wait
    assert wait == pytest.approx(max(asked, 60) * (1 + share * jitter))


def test_retry_after_does_not_shorten_a_longer_plan() -> None:
    policy = RetryPolicy(delays=(100_000,))
    assert policy.delay_s(1, retry_after_s=1e9, jitter=0.0) == 100_000


@given(
    attempt=st.integers(1, 100),
    base=st.floats(0, 2_678_400),
    kind=st.sampled_from(["exponential", "linear", "fixed"]),
    jitter=st.floats(0, 1),
)
def test_every_wait_is_finite_and_bounded(attempt: int, base: float, kind: str, jitter: float) -> None:
    policy = RetryPolicy.from_mapping({"backoff_seconds": base, "backoff_type": kind})
    wait = policy.delay_s(attempt, retry_after_s=None, jitter=jitter)
    assert math.isfinite(wait)
    assert 0 <= wait <= 3600 * 1.1


@pytest.mark.parametrize(
    ("retry_on", "error_code", "status", "covered"),
    [
        (None, ErrorCode.CONNECT_REFUSED, None, True),
        (None, ErrorCode.TIMEOUT, None, True),
        (None, ErrorCode.HTTP, 301, True),
        (None, ErrorCode.HTTP, 404, True),
        (None, ErrorCode.HTTP, 410, False),
        ((410, "4xx"), ErrorCode.HTTP, 410, False),
        ((), ErrorCode.HTTP, 500, False),
        (("5xx",), ErrorCode.HTTP, 503, True),
        (("5xx",), ErrorCode.HTTP, 404, False),
        ((429,), ErrorCode.HTTP, 429, True),
        ((429,), ErrorCode.TIMEOUT, None, False),
        (("network",), ErrorCode.CONNECTION_RESET, None, True),
        (("network",), ErrorCode.DNS_FAILED, None, True),
        (("network",), ErrorCode.TIMEOUT, None, False),
        (("timeout",), ErrorCode.TIMEOUT, None, True),
        (("timeout",), ErrorCode.CONNECT_TIMEOUT, None, True),
        (("timeout",), ErrorCode.DISCONNECTED, None, False),
    ],
)
def test_retry_on_says_which_failures_are_repeated(
    retry_on: tuple[str | int, ...] | None, error_code: ErrorCode, status: int | None, covered: bool
) -> None:
    assert RetryPolicy(retry_on=retry_on).covers(error_code, status) is covered


def test_a_policy_survives_being_stored() -> None:
    policy = RetryPolicy(delays=(1, 2.5), retry_on=("network", 429), max_attempts=7)
    assert RetryPolicy.from_mapping(policy.to_mapping()) == policy
