"""The explanation of a time on a day on which the clocks change names the change and the policy."""

from __future__ import annotations

import pytest

from scheduler.domain.clock import parse_instant
from scheduler.domain.jobs.changes import create_job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.explanation import Verdict, explain

NOW = parse_instant("2026-01-01T00:00:00Z")
FORWARD = "the clocks of Europe/Berlin went forward that day, from 02:00 to 03:00, at 2026-03-29T01:00:00Z"
BACK = "the clocks of Europe/Berlin went back that day, from 03:00 to 02:00, at 2026-10-25T01:00:00Z"


def explained(schedule: str, at: str, policy: str = "debian", timezone: str = "Europe/Berlin") -> tuple[Verdict, str]:
    fields = {"name": "job", "schedule": schedule, "timezone": timezone, "dst_policy": policy}
    job = create_job(fields, job_id="j", account_id="a", now=NOW)
    told = explain(job, [JobVersion.of(job, changed_by="ann")], [], parse_instant(at), NOW)
    return told.verdict, told.detail


@pytest.mark.parametrize(
    ("schedule", "policy", "at", "verdict", "words"),
    [
        ("30 2 * * *", "debian", "2026-03-29T01:00:00Z", "due", "times in between run right after the change, as one"),
        ("30 2 * * *", "debian", "2026-03-29T01:30:00Z", "not_due", "times in between run right after the change"),
        ("30 2 * * *", "skip", "2026-03-29T01:30:00Z", "not_due", "by dst_policy skip times in between do not run"),
        (
            "*/30 2 * * *",
            "debian",
            "2026-03-29T01:00:00Z",
            "not_due",
            "by dst_policy debian times in between do not run",
        ),
        ("0 2 * * *\n* 5 * * *", "debian", "2026-03-28T23:00:00Z", "not_due", "as one or do not run, line by line"),
    ],
)
def test_a_time_on_the_day_of_a_gap(schedule: str, policy: str, at: str, verdict: str, words: str) -> None:
    found, detail = explained(schedule, at, policy)
    assert (found, FORWARD in detail, words in detail) == (verdict, True, True), detail


@pytest.mark.parametrize(
    ("policy", "verdict", "words"), [("debian", "not_due", "run once"), ("literal", "due", "run twice")]
)
def test_a_time_on_the_day_of_an_overlap(policy: str, verdict: str, words: str) -> None:
    found, detail = explained("30 2 * * *", "2026-10-25T01:30:00Z", policy)
    assert found == verdict
    assert f"{BACK}: by dst_policy {policy} times in between {words}" in detail


@pytest.mark.parametrize(
    ("schedule", "at", "timezone"),
    [
        ("30 2 * * *", "2026-03-30T00:30:00Z", "Europe/Berlin"),
        ("30 2 * * *", "2026-03-28T22:59:59Z", "Europe/Berlin"),
        ("@every 1h", "2026-03-29T01:00:00Z", "Europe/Berlin"),
        ("30 2 * * *", "2026-03-29T01:30:00Z", "UTC"),
        ("30 2 * * *", "2026-03-29T01:30:00Z", "Asia/Tokyo"),
    ],
)
def test_other_days_and_lines_say_nothing_of_clocks(schedule: str, at: str, timezone: str) -> None:
    assert "clocks" not in explained(schedule, at, timezone=timezone)[1]
