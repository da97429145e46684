"""How an attempt ends: its status, its error, and whether another attempt follows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.clock import SECOND, format_instant, parse_instant
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import (
    CRASH_REPEATS,
    INTERRUPTED,
    Execution,
    Outcome,
    Retry,
    Settlement,
    Status,
    Trigger,
    run_id_of,
    settle,
    skip,
    with_earlier,
)

NOW = parse_instant("2026-06-01T00:00:10Z")
FAILED = Outcome(error_code=ErrorCode.HTTP, error_text="Internal Server Error", response_code=500)
POLICY = RetryPolicy(max_attempts=3, backoff_seconds=60, backoff_type="fixed", jitter=0)


def attempt(number: int = 1, **changed: Any) -> Execution:
    started = NOW - 2 * SECOND
    fields = {
        "id": str(uuid.UUID(int=number)),
        "run_id": "run",
        "job_id": "job",
        "account_id": "account",
        "webhook_id": "webhook",
        "status": Status.RUNNING,
        "attempt": number,
        "trigger": Trigger.SCHEDULE,
        "scheduled_at": started,
        "available_at": started,
        "created_at": started,
        "budget_at": started,
        "started_at": started,
        **changed,
    }
    return Execution(**fields)


def settled(execution: Execution, outcome: Outcome = FAILED, **given: Any) -> Settlement:
    return settle(execution, outcome, NOW, **{"policy": POLICY, **given})


def test_a_success_is_final() -> None:
    settlement = settled(attempt(), Outcome(response_code=204))
    assert (settlement.status, settlement.error, settlement.retry) == (Status.SUCCESS, None, None)
    assert settlement.duration_ms == 2000


def test_a_failure_that_is_retried_keeps_its_error_and_plans_the_next_attempt() -> None:
    settlement = settled(attempt())
    assert settlement.status is Status.FAILURE
    assert settlement.error == FAILED.error
    assert settlement.retry == Retry(attempt=2, available_at=NOW + 60 * SECOND)


@pytest.mark.parametrize("code", [ErrorCode.TIMEOUT, ErrorCode.CONNECT_TIMEOUT])
def test_a_timeout_has_a_status_of_its_own(code: ErrorCode) -> None:
    settlement = settled(attempt(), Outcome(error_code=code))
    assert settlement.status is Status.TIMED_OUT
    assert settlement.retry is not None
    assert settled(attempt(3), Outcome(error_code=code)).status is Status.DEAD_LETTER


def test_the_last_attempt_ends_in_the_dead_letter() -> None:
    settlement = settled(attempt(POLICY.max_attempts))
    assert (settlement.status, settlement.retry) == (Status.DEAD_LETTER, None)
    assert settlement.error == FAILED.error


def test_a_dead_letter_is_shown_with_every_reason() -> None:
    earlier = [(1, "timeout number 1"), (2, "timeout number 2")]
    assert with_earlier("http_500 Internal Server Error", earlier) == (
        "http_500 Internal Server Error (before: attempt 1: timeout number 1; attempt 2: timeout number 2)"
    )
    assert with_earlier("http_500", []) == "http_500"


def test_a_policy_of_one_attempt_repeats_nothing() -> None:
    settlement = settled(attempt(), policy=replace(POLICY, max_attempts=1))
    assert (settlement.status, settlement.error) == (Status.DEAD_LETTER, FAILED.error)


def test_what_the_policy_does_not_cover_is_dead_at_once() -> None:
    gone = Outcome(error_code=ErrorCode.HTTP, error_text="Gone", response_code=410)
    assert settled(attempt(), gone).status is Status.DEAD_LETTER
    assert settled(attempt(), policy=replace(POLICY, retry_on=("network",))).status is Status.DEAD_LETTER


def test_a_run_that_is_too_old_is_not_repeated() -> None:
    old = attempt(budget_at=NOW - 86_400 * SECOND + 60 * SECOND)
    assert settled(old).retry is not None
    assert settled(replace(old, budget_at=old.budget_at - 1)).status is Status.DEAD_LETTER


def test_a_receiver_may_ask_for_a_day_and_gets_no_more() -> None:
    for asked_s in (86_400.0, 1_000_000.0):
        settlement = settle(attempt(), replace(FAILED, retry_after_s=asked_s), NOW + 5, policy=POLICY)
        assert settlement.retry is not None
        assert settlement.retry.available_at == NOW + 5 + 86_400 * SECOND


def test_retry_after_and_jitter_move_the_next_attempt() -> None:
    patient = replace(FAILED, retry_after_s=600.0)
    retry = settled(attempt(), patient).retry
    assert retry is not None
    assert retry.available_at == NOW + 600 * SECOND
    retry = settled(attempt(), policy=replace(POLICY, jitter=0.1), jitter=0.5).retry
    assert retry is not None
    assert retry.available_at == NOW + 63 * SECOND


def test_a_redrive_has_a_budget_of_its_own() -> None:
    redriven = attempt(4, budget_from=4)
    retry = settled(redriven).retry
    assert retry is not None
    assert (retry.attempt, retry.available_at) == (5, NOW + 60 * SECOND)
    assert settled(attempt(6, budget_from=4)).status is Status.DEAD_LETTER


STALE = Outcome(error_code=ErrorCode.STALE_CONNECTION, error_text="closed")


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, max_attempts=1), replace(POLICY, retry_on=("5xx",))])
def test_an_attempt_on_a_stale_connection_is_repeated_at_once_and_does_not_count(policy: RetryPolicy) -> None:
    settlement = settled(attempt(), STALE, policy=policy)
    assert (settlement.status, settlement.error_code) == (Status.FAILURE, ErrorCode.STALE_CONNECTION)
    assert settlement.retry == Retry(attempt=2, available_at=NOW, uncounted=1, after_stale=True)


def test_the_attempts_after_a_stale_connection_are_those_that_the_policy_has() -> None:
    execution, waits = attempt(), []
    for outcome in (STALE, FAILED, STALE, FAILED, STALE):
        retry = settled(execution, outcome, policy=replace(POLICY, backoff_type="linear")).retry
        assert retry is not None
        waits.append((retry.available_at - NOW) // SECOND)
        execution = attempt(
            retry.attempt,
            uncounted=retry.uncounted,
            after_stale=retry.after_stale,
        )
    assert waits == [0, 60, 0, 120, 0]
    assert (execution.attempt, settled(execution).status) == (6, Status.DEAD_LETTER)


def test_a_stale_connection_counts_the_second_time_in_a_row() -> None:
    second = settled(attempt(2, uncounted=1, after_stale=True), STALE)
    assert second.retry == Retry(attempt=3, available_at=NOW + 60 * SECOND, uncounted=1)


def test_a_stale_connection_counts_where_at_most_once_was_asked_for() -> None:
    retry = settled(attempt(), STALE, at_most_once=True).retry
    assert retry is not None
    assert (retry.available_at, retry.uncounted, retry.after_stale) == (NOW + 60 * SECOND, 0, False)


BUSY = Outcome(error_code=ErrorCode.DNS_BUSY, error_text="busy", put_off=True)


@pytest.mark.parametrize("at_most_once", [False, True])
def test_an_attempt_that_the_service_was_too_busy_for_comes_again_and_costs_none(at_most_once: bool) -> None:
    execution, waits = attempt(), []
    for _ in range(8):
        retry = settled(execution, BUSY, policy=replace(POLICY, max_attempts=1), at_most_once=at_most_once).retry
        assert retry is not None
        waits.append((retry.available_at - NOW) // SECOND)
        execution = attempt(retry.attempt, uncounted=retry.uncounted)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert settled(execution, FAILED, policy=replace(POLICY, max_attempts=2)).retry is not None


def test_what_was_put_off_until_the_run_is_too_old_is_a_dead_letter() -> None:
    settlement = settled(attempt(), BUSY, policy=replace(POLICY, max_age_seconds=4))
    assert (settlement.status, settlement.error_code) == (Status.DEAD_LETTER, ErrorCode.DNS_BUSY)


def test_an_interrupted_attempt_after_a_stale_connection_has_the_repeats_of_any_other() -> None:
    last = POLICY.max_attempts + CRASH_REPEATS
    assert settled(attempt(last, uncounted=1), INTERRUPTED).retry is not None
    assert settled(attempt(last + 1, uncounted=1), INTERRUPTED).status is Status.DEAD_LETTER


def test_no_webhook_is_a_failure_that_is_not_retried() -> None:
    settlement = settled(attempt(), Outcome(error_code=ErrorCode.NO_WEBHOOK, error_text="there is none"))
    assert (settlement.status, settlement.retry) == (Status.FAILURE, None)


def test_an_interrupted_attempt_is_repeated_at_once() -> None:
    settlement = settled(attempt(), INTERRUPTED)
    assert settlement.status is Status.FAILURE
    assert settlement.retry is not None
    assert (settlement.retry.attempt, settlement.retry.available_at) == (2, NOW)


def test_crashes_of_ours_go_a_little_beyond_the_policy_and_no_further() -> None:
    last = POLICY.max_attempts + CRASH_REPEATS
    for number in range(1, last):
        assert settled(attempt(number), INTERRUPTED).retry is not None, number
    settlement = settled(attempt(last), INTERRUPTED)
    assert settlement.status is Status.DEAD_LETTER
    assert (settlement.error or "").startswith("crash_suspect ")


def test_a_failure_beyond_the_policy_is_final() -> None:
    assert settled(attempt(POLICY.max_attempts + 1)).status is Status.DEAD_LETTER


def test_at_most_once_is_not_repeated_after_an_interruption_but_after_a_failure() -> None:
    settlement = settled(attempt(), INTERRUPTED, at_most_once=True)
    assert (settlement.status, settlement.retry) == (Status.FAILURE, None)
    assert settled(attempt(), at_most_once=True).retry is not None


def test_reasons_do_not_grow_without_bound() -> None:
    assert len(with_earlier("timeout", [(1, "x" * 10_000)]) or "") < 300


def test_a_clock_that_steps_back_gives_no_negative_duration() -> None:
    assert settled(attempt(started_at=NOW + SECOND)).duration_ms == 0
    assert settled(attempt(started_at=None)).duration_ms == 0


def test_a_skipped_run_says_why() -> None:
    settlement = skip(attempt(), NOW, reason="overlap")
    assert (settlement.status, settlement.reason, settlement.error) == (Status.SKIPPED, "overlap", None)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(response_code=204), None),
        (Outcome(error_code=ErrorCode.TIMEOUT), "timeout"),
        (
            Outcome(error_code=ErrorCode.DNS_FAILED, error_text="a.test: no such name"),
            "dns_failed a.test: no such name",
        ),
        (Outcome(error_code=ErrorCode.HTTP, error_text="Gone away", response_code=503), "http_503 Gone away"),
        (Outcome(error_code=ErrorCode.HTTP, response_code=599), "http_599"),
    ],
)
def test_an_error_begins_with_its_code(outcome: Outcome, error: str | None) -> None:
    assert outcome.error == error


def test_the_code_of_a_dead_letter_is_that_of_its_last_attempt() -> None:
    crashed = attempt(POLICY.max_attempts + CRASH_REPEATS)
    assert settled(crashed, INTERRUPTED).error_code is ErrorCode.CRASH_SUSPECT
    failed = settled(attempt(POLICY.max_attempts))
    assert (failed.status, failed.error_code) == (Status.DEAD_LETTER, ErrorCode.HTTP)


def test_a_run_has_the_same_id_everywhere() -> None:
    webhook = "01970000-0000-7000-8000-000000000003"
    for scheduled_at in (NOW, NOW + 250_000):
        expected = uuid.uuid5(uuid.UUID(webhook), format_instant(scheduled_at))
        assert run_id_of(webhook, scheduled_at) == str(expected)
