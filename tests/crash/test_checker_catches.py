"""The checker on evidence made by hand: it reports nothing without a fault, and each violation that is planted.

The same bugs in a real service that is really killed: ``python -m tests.crash.long_run --kills 8 --sabotage all``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.checks import present
from tests.crash.checker import check, explain
from tests.crash.evidence import Evidence, Glimpse
from tests.crash.oracle import SECOND, due_times, run_id_of
from tests.crash.story import (
    HOOK,
    JOB,
    KILLED_AT,
    STALE,
    T0,
    at,
    drop,
    request,
    row,
    send_again,
    story,
    swap,
)


def test_a_healthy_story_is_silent() -> None:
    assert check(story()) == []


def met_stale_connection(evidence: Evidence) -> None:
    """The last run met one first: two attempts at once, then the one after the backoff."""
    evidence.rows = [one for one in evidence.rows if one.scheduled_at != at(8)]
    evidence.requests = [one for one in evidence.requests if one.run_id != run_id_of(HOOK, at(8))]
    evidence.snapshots.pop()
    stale = row(8, 1, "failure", error=STALE, response_code=None)
    again = row(8, 2, "failure", available_at=present(stale.finished_at), finished_at=at(8.15))
    last = row(8, 3, "success", available_at=at(8.66))
    evidence.rows += [stale, again, last]
    statuses = {stale: (1, None), again: (1, 500), last: (2, 200)}
    evidence.requests += [request(of, life=life, status=status) for of, (life, status) in statuses.items()]
    evidence.counts = present(evidence.counts) | {"failure": 4}


def test_a_stale_connection_is_followed_at_once_and_does_not_count() -> None:
    evidence = story()
    met_stale_connection(evidence)
    evidence.jobs[0] = replace(evidence.jobs[0], max_attempts=2)
    assert check(evidence) == []


def repetition_after_a_stale_connection_that_waited(evidence: Evidence) -> None:
    met_stale_connection(evidence)
    swap(evidence, 8, 1, finished_at=at(8.0))


def test_time_that_may_or_may_not_be_due_is_no_violation() -> None:
    evidence = story()
    evidence.jobs[0] = replace(evidence.jobs[0], due_until_at=at(7.5))
    assert check(evidence) == []


def overtaken(evidence: Evidence) -> None:
    """The node of the first life stood still while it sent, and its request came after the repetition."""
    cut = evidence.requests[1]
    cut.arrived_at, cut.ended_at, cut.row_status = at(4.8), at(4.81), "failure"


def test_a_request_of_a_node_that_stood_still_may_come_after_its_repetition() -> None:
    evidence = story()
    overtaken(evidence)
    assert check(evidence) == []


def lost_due_time(evidence: Evidence) -> None:
    drop(evidence, 1, 1)


def run_of_no_due_time(evidence: Evidence) -> None:
    evidence.jobs[0] = replace(evidence.jobs[0], schedule="1-59 * * * * *", due_after_at=T0 - SECOND)
    evidence.rows.append(row(0, 1, "success"))
    evidence.requests.append(request(evidence.rows[-1], life=0, status=200))
    evidence.counts = None


def catchup_covers_too_few(evidence: Evidence) -> None:
    swap(evidence, 5, 1, covers=2)


def catchup_covers_what_had_its_run(evidence: Evidence) -> None:
    swap(evidence, 5, 1, covers=4, covers_from=at(2))


def two_chains_for_one_time(evidence: Evidence) -> None:
    evidence.rows.append(row(1, 1, "success", id="execution again"))
    evidence.counts = None


def chain_under_another_identity(evidence: Evidence) -> None:
    swap(evidence, 7, 1, run_id="33333333-3333-4333-8333-333333333333")


def run_of_an_unknown_webhook(evidence: Evidence) -> None:
    evidence.jobs = []


def request_without_a_row(evidence: Evidence) -> None:
    evidence.requests[0].attempt = 7


def request_of_another_execution(evidence: Evidence) -> None:
    evidence.requests[0].execution_id = "execution 2.1"


def request_before_its_claim(evidence: Evidence) -> None:
    swap(evidence, 6, 1, started_at=at(6.5))


def request_before_the_commit(evidence: Evidence) -> None:
    evidence.requests[3].row_status = "queued"


def success_that_was_never_sent(evidence: Evidence) -> None:
    evidence.requests = [one for one in evidence.requests if one.execution_id != "execution 5.1"]


def success_that_was_a_failure(evidence: Evidence) -> None:
    evidence.requests[3].status = 503


def attempt_sent_twice(evidence: Evidence) -> None:
    send_again(evidence, 6, 1, status=500)


def accepted_twice_without_a_kill(evidence: Evidence) -> None:
    evidence.requests[4].status = 200
    swap(evidence, 6, 1, response_code=200)


def accepted_twice_long_before_the_kill(evidence: Evidence) -> None:
    evidence.requests[1].ended_at = KILLED_AT - 400_000


def overtaken_although_it_lives(evidence: Evidence) -> None:
    overtaken(evidence)
    evidence.lives[0].killed_at = None


def overtaken_although_it_was_not_interrupted(evidence: Evidence) -> None:
    overtaken(evidence)
    swap(evidence, 2, 1, error="http_500")


def repeated_although_at_most_once(evidence: Evidence) -> None:
    evidence.jobs[0] = replace(evidence.jobs[0], at_most_once=True)


def more_duplicates_than_in_flight(evidence: Evidence) -> None:
    evidence.requests[1].ended_at = KILLED_AT - 400_000


def gap_in_the_attempts(evidence: Evidence) -> None:
    drop(evidence, 8, 1)


def final_row_that_changed(evidence: Evidence) -> None:
    evidence.snapshots[0] = row(1, 1, "failure")


def row_that_vanished(evidence: Evidence) -> None:
    evidence.snapshots.append(row(1, 2, "queued"))


def retry_that_was_lost(evidence: Evidence) -> None:
    drop(evidence, 8, 2)


def orphan_that_stayed(evidence: Evidence) -> None:
    drop(evidence, 2, 2)
    swap(evidence, 2, 1, status="running", finished_at=None, error=None)


def attempt_after_a_success(evidence: Evidence) -> None:
    swap(evidence, 8, 1, status="success")


def given_up_too_early(evidence: Evidence) -> None:
    drop(evidence, 8, 2)
    swap(evidence, 8, 1, status="dead_letter")


def too_many_attempts(evidence: Evidence) -> None:
    evidence.jobs[0] = replace(evidence.jobs[0], max_attempts=1)


def next_run_that_went_back(evidence: Evidence) -> None:
    evidence.glimpses.append(Glimpse(at(6.5), JOB, at(5)))


def retry_that_was_planned_anew(evidence: Evidence) -> None:
    evidence.snapshots[2] = evidence.snapshots[2]._replace(available_at=at(8.7))


def retry_before_its_time(evidence: Evidence) -> None:
    swap(evidence, 8, 2, available_at=at(8.6))


def retry_after_another_delay(evidence: Evidence) -> None:
    swap(evidence, 6, 1, finished_at=at(6.2))


def acknowledged_job_that_is_gone(evidence: Evidence) -> None:
    evidence.job_ids = set()


def acknowledged_run_that_is_gone(evidence: Evidence) -> None:
    evidence.acknowledged_executions.add("execution 9.1")


def damaged_file(evidence: Evidence) -> None:
    evidence.integrity = "row 7 missing from index executions_by_run"


def endless_log(evidence: Evidence) -> None:
    evidence.wal_bytes = 1 << 30


def metrics_that_miscount(evidence: Evidence) -> None:
    evidence.counts = {"success": 6}


@pytest.mark.parametrize(
    ("invariant", "breach"),
    [
        ("I1", lost_due_time),
        ("I1", run_of_no_due_time),
        ("I1", catchup_covers_too_few),
        ("I1", catchup_covers_what_had_its_run),
        ("I1", two_chains_for_one_time),
        ("I1", chain_under_another_identity),
        ("I1", run_of_an_unknown_webhook),
        ("I2", request_without_a_row),
        ("I2", request_of_another_execution),
        ("I2", request_before_its_claim),
        ("I2", request_before_the_commit),
        ("I2", success_that_was_never_sent),
        ("I2", success_that_was_a_failure),
        ("I3", attempt_sent_twice),
        ("I4", accepted_twice_without_a_kill),
        ("I4", accepted_twice_long_before_the_kill),
        ("I4", overtaken_although_it_lives),
        ("I4", overtaken_although_it_was_not_interrupted),
        ("I4", repeated_although_at_most_once),
        ("I5", more_duplicates_than_in_flight),
        ("I6", gap_in_the_attempts),
        ("I6", final_row_that_changed),
        ("I6", row_that_vanished),
        ("I6", retry_that_was_lost),
        ("I6", orphan_that_stayed),
        ("I6", attempt_after_a_success),
        ("I6", given_up_too_early),
        ("I6", too_many_attempts),
        ("I7", next_run_that_went_back),
        ("I8", retry_that_was_planned_anew),
        ("I8", retry_before_its_time),
        ("I8", retry_after_another_delay),
        ("I8", repetition_after_a_stale_connection_that_waited),
        ("I9", acknowledged_job_that_is_gone),
        ("I9", acknowledged_run_that_is_gone),
        ("I10", damaged_file),
        ("I10", endless_log),
        ("I10", metrics_that_miscount),
    ],
)
def test_a_broken_promise_is_named(invariant: str, breach: Callable[[Evidence], None]) -> None:
    evidence = story()
    breach(evidence)
    found = check(evidence)
    assert invariant in {violation.invariant for violation in found}, found


def test_a_violation_is_shown_with_what_happened_to_its_run() -> None:
    evidence = story()
    accepted_twice_long_before_the_kill(evidence)
    violation = next(one for one in check(evidence) if one.invariant == "I4")
    lines = explain(evidence, violation).splitlines()
    assert lines[0].startswith("I4: attempts 1 and 2 were both accepted, and no kill explains it (run ")
    assert [line.split()[1] for line in lines[1:]] == ["row", "request", "kill", "row", "request"]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * * *", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("*/3 * * * * *", [3, 6]),
        ("1-59/4 * * * * *", [1, 5]),
        ("2,7 * * * * *", [2, 7]),
        ("*/4 * * * * *\n*/6 * * * * *", [4, 6, 8]),
    ],
)
def test_the_oracle_knows_second_schedules(schedule: str, expected: list[int]) -> None:
    assert due_times(schedule, T0, at(8)) == [at(second) for second in expected]
