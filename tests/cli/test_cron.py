"""``scheduler cron``: offline answers on standard output, refusals on standard error with exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scheduler.cli.cron import cron
from scheduler.domain.schedule.zones import zone_data
from tests.zones import compiled_zone, write_zone

SPRING = ("--timezone", "America/New_York", "--from", "2026-03-06T12:00:00Z", "--count", "3")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cron, arguments)


def test_next_prints_a_line_per_run() -> None:
    result = run("next", "0 2 * * *", "--from", "2026-01-01T02:00:00Z", "--count", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["2026-01-02T02:00:00Z", "2026-01-03T02:00:00Z"]


def test_next_shows_local_time_and_what_a_change_of_the_clocks_did() -> None:
    assert run("next", "30 2 * * *", *SPRING).stdout.splitlines() == [
        "2026-03-07T07:30:00Z  2026-03-07T02:30:00-05:00",
        "2026-03-08T07:00:00Z  2026-03-08T03:00:00-04:00  moved: the clocks skip its time",
        "2026-03-09T06:30:00Z  2026-03-09T02:30:00-04:00",
    ]
    assert len(run("next", "30 2 * * *", *SPRING, "--dst-policy", "skip").stdout.splitlines()) == 3


def test_next_prints_json_on_request() -> None:
    items = json.loads(run("next", "30 2 * * *", *SPRING, "--json").stdout)
    assert items[1] == {"at": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00", "transition": "gap"}
    assert len(items) == 3


def test_next_without_a_start_begins_now() -> None:
    result = run("next", "* * * * * *")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 5


def test_the_text_may_set_the_zone() -> None:
    result = run("next", "CRON_TZ=Asia/Tokyo 0 2 * * *", "--from", "2026-01-01T00:00:00Z", "--count", "1")
    assert result.stdout == "2026-01-01T17:00:00Z  2026-01-02T02:00:00+09:00\n"


def test_every_starts_from_the_anchor() -> None:
    options = ("--from", "2026-01-01T00:00:00Z", "--count", "1")
    assert run("next", "@every 90s", *options).stdout == "2026-01-01T00:01:30Z\n"
    assert run("next", "@every 90s", *options, "--anchor", "2025-12-31T23:59:00Z").stdout == "2026-01-01T00:00:30Z\n"


def test_a_schedule_that_ends_prints_what_there_is() -> None:
    assert run("next", "@at 2199-01-01T00:00:00Z").stdout == "2199-01-01T00:00:00Z\n"


def test_explain_says_it_in_words_first() -> None:
    result = run("explain", "0 2 1 * MON", "--from", "2026-01-01T00:00:00Z", "--count", "1")
    assert result.stdout.splitlines() == ["at 02:00 on day 1 of the month or on Monday", "  2026-01-01T02:00:00Z"]
    both = run("explain", "0 2 1 * MON", "--day-match", "and", "--from", "2026-01-01T00:00:00Z", "--json")
    answer = json.loads(both.stdout)
    assert answer["description"] == "at 02:00 on day 1 of the month, but only on Monday"
    assert answer["timezone"] == "UTC"
    assert answer["items"][0]["at"] == "2026-06-01T02:00:00Z"


@pytest.mark.parametrize("command", ["next", "explain"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["61 * * * *"], '"61" in minute: 0 to 59'),
        (["0 0 30 2 *"], "never fires"),
        ([""], "empty"),
        (["0 2 * * *", "--timezone", "Mars/Olympus"], "IANA"),
        (["0 2 * * *", "--from", "yesterday"], "--from: not an RFC 3339 time"),
        (["@every 1h", "--anchor", "2026-02-30T00:00:00Z"], "--anchor: no such time"),
        (["0 2 * * *", "--dst-policy", "maybe"], "debian"),
        (["0 2 * * *", "--count", "0"], "1<=x<=1000"),
        ([], "EXPRESSION"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(command: str, arguments: list[str], words: str) -> None:
    result = run(command, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_next_says_on_request_which_zone_data_the_times_come_from() -> None:
    found = json.loads(run("next", "0 2 * * *", *SPRING, "--json", "--zone-data").stdout)
    assert found["zone_data"] == zone_data().to_mapping()
    assert len(found["items"]) == 3
    assert run("next", "0 2 * * *", *SPRING, "--zone-data").stdout.splitlines()[3] == f"time zone data {zone_data()}"
    assert json.loads(run("explain", "0 2 * * *", "--json", "--zone-data").stdout)["zone_data"] == found["zone_data"]


def test_directories_of_an_operator_go_before_all_other_zone_data(tmp_path: Path) -> None:
    write_zone(tmp_path, "America/New_York", compiled_zone(first=1), version="2020a")
    command = [sys.executable, "-m", "scheduler", "cron", "next", "0 2 * * *", *SPRING, "--zone-data"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONTZPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == (
        "2026-03-07T01:00:00Z  2026-03-07T02:00:00+01:00",
        "time zone data 2020a, from PYTHONTZPATH",
    )


def test_in_counts_from_the_start() -> None:
    assert run("next", "@in 90m", "--from", "2026-01-01T00:00:00Z").stdout == "2026-01-01T01:30:00Z\n"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("cron(0 10 * * ? *)", "write 0 10 * * *"),
        ("0 9 * * * root /usr/bin/backup", "write 0 9 * * *;"),
        ("RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=0", "write 0 9 * * *"),
    ],
)
def test_an_expression_of_others_leads_to_what_was_meant(expression: str, words: str) -> None:
    result = run("explain", expression)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
