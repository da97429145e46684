"""The schedule language: when each form fires, and the message for each invalid text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from scheduler.domain.clock import SECOND, format_instant, parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.schedule.lines import Moment
from scheduler.domain.schedule.schedule import Schedule, check_fires
from scheduler.domain.schedule.text import is_one_off, parse_schedule
from tests.checks import present

NEW_YEAR = parse_instant("2026-01-01T00:00:00Z")


def schedule(text: str, timezone: str | None = "UTC", anchor: str = "2026-01-01T00:00:00Z", **options: Any) -> Schedule:
    return parse_schedule(text, timezone=timezone, anchor_at=parse_instant(anchor), **options)


def runs(text: str, count: int, start: str = "2026-01-01T00:00:00Z", **options: Any) -> list[str]:
    """The first runs at or after the start, without what they all share: year and seconds of zero."""
    found = schedule(text, **options).between(parse_instant(start), parse_instant("2090-01-01T00:00:00Z"), count)
    return [format_instant(at).removeprefix("2026-").removesuffix(":00Z") for at in found]


def refusal(text: str, **options: Any) -> SchedulerError:
    with pytest.raises(SchedulerError) as caught:
        check_fires(schedule(text, **options), NEW_YEAR)
    return caught.value


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("5-5 * * * *", "5 * * * *"),
        ("0 0 1-1 * *", "0 0 1 * *"),
        ("5-5/15 * * * *", "5 * * * *"),
        ("5/15 * * * *", "5-59/15 * * * *"),
        ("59/15 * * * *", "59 * * * *"),
        ("*/60 * * * *", "0 * * * *"),
        ("0,30,0 * * * *", "*/30 * * * *"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("0 22-2/3 * * *", "0 1,22 * * *"),
        ("50-10/7 * * * *", "4,50,57 * * * *"),
        ("0 0 25-5/2 * *", "0 0 2,4,25,27,29,31 * *"),
        ("0 0 1 NOV-FEB *", "0 0 1 11,12,1,2 *"),
        ("0 0 1 nov-Feb/2 *", "0 0 1 11,1 *"),
        ("0 0 * * FRI-MON", "0 0 * * 5,6,0,1"),
        ("0 0 * * mon-fri", "0 0 * * 1-5"),
        ("0 0 * * 7", "0 0 * * SUN"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 * * 7-0", "0 0 * * 0"),
        ("0 0 * * 7-2", "0 0 * * 0,1,2"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 1-7/2", "0 0 * * 1,3,5,0"),
        ("0 0 * * 7/2", "0 0 * * 0,2,4,6"),
        ("0 0 * * SAT-SUN", "0 0 * * 6,0"),
        ("0 0 * * 0-7", "0 0 * * 0-6"),
        ("0 0 ? * 1", "0 0 * * 1"),
        ("0 0 1 * ?", "0 0 1 * *"),
        ("0 2 * * *", "0 0 2 * * *"),
        ("  0\t2  * * * \r\n", "0 2 * * *"),
        ("00 002 * * *", "0 2 * * *"),
        ("0 0 * * L5", "0 0 * * FRIL"),
        ("0 0 * * 5L", "0 0 * * LFRI"),
        ("0 0 * * FRI#2", "0 0 * * 5#2"),
        ("0 0 * * 7#1", "0 0 * * SUN#1"),
        ("0 0 l * *", "0 0 L * *"),
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_two_ways_to_say_the_same(text: str, same: str) -> None:
    assert runs(text, 60) == runs(same, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/20 30 9 * * *", ["01-01T09:30", "01-01T09:30:20Z", "01-01T09:30:40Z", "01-02T09:30"]),
        ("0 0 L 2-4 *", ["02-28T00:00", "03-31T00:00", "04-30T00:00"]),
        ("0 0 L-3 2 *", ["02-25T00:00", "2027-02-25T00:00", "2028-02-26T00:00"]),
        ("0 0 LW 1-5 *", ["01-30T00:00", "02-27T00:00", "03-31T00:00", "04-30T00:00", "05-29T00:00"]),
        ("0 0 15W 2-8 *", ["02-16T00:00", "03-16T00:00", "04-15T00:00", "05-15T00:00", "06-15T00:00"]),
        ("0 0 1W 2-8 *", ["02-02T00:00", "03-02T00:00", "04-01T00:00", "05-01T00:00", "06-01T00:00"]),
        ("0 0 1W 8 *", ["08-03T00:00"]),
        ("0 0 31W 5,6,7 *", ["05-29T00:00", "07-31T00:00", "2027-05-31T00:00"]),
        ("0 0 1,15W,L 3 *", ["03-01T00:00", "03-16T00:00", "03-31T00:00"]),
        ("0 0 * 1-3 5#5", ["01-30T00:00", "2027-01-29T00:00"]),
        ("0 0 * 1 L5,1#1", ["01-05T00:00", "01-30T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 8-14 3 2", [f"03-{day:02d}T00:00" for day in (3, 8, 9, 10, 11, 12, 13, 14, 17, 24, 31)]),
        ("0 0 1 3 5#2", ["03-01T00:00", "03-13T00:00"]),
        ("0 0 1 3 L5", ["03-01T00:00", "03-27T00:00"]),
        ("0 0 L 3 MON#1", ["03-02T00:00", "03-31T00:00"]),
        ("0 0 */10 3 1", [f"03-{day:02d}T00:00" for day in (1, 2, 9, 11, 16, 21, 23, 30, 31)]),
        ("0 0 1-31 3 1", [f"03-{day:02d}T00:00" for day in range(1, 32)]),
    ],
)
def test_days_of_month_and_week_fire_when_expected(text: str, expected: list[str]) -> None:
    assert runs(text, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 13 * 5", ["02-13T00:00", "03-13T00:00", "11-13T00:00"]),
        ("0 0 1-7 * 2#1", ["01-06T00:00", "02-03T00:00"]),
        ("0 0 29 2 1", ["2044-02-29T00:00", "2072-02-29T00:00"]),
        ("0 0 1 3 *", ["03-01T00:00", "2027-03-01T00:00"]),
    ],
)
def test_day_match_and_needs_both(text: str, expected: list[str]) -> None:
    assert runs(text, len(expected), day_match="and") == expected


def test_the_rarest_day_is_found_across_a_century_without_a_leap_year() -> None:
    ours = schedule("0 0 29 2 1", day_match="and")
    leap_days = ours.between(0, parse_instant("2999-01-01T00:00:00Z"), 100)
    years = [int(format_instant(at)[:4]) for at in leap_days]
    assert max(later - earlier for earlier, later in pairwise(years)) == 40


def test_every_is_aligned_to_its_anchor() -> None:
    ours = schedule("@every 1h30m", anchor="2026-01-01T00:10:00.25Z")
    start = parse_instant("2026-01-01T00:10:00.25Z")
    assert format_instant(present(ours.next_after(start))) == "2026-01-01T01:40:00.25Z"
    assert format_instant(present(ours.next_after(start + 1))) == "2026-01-01T01:40:00.25Z"
    assert format_instant(present(ours.latest_between(0, start + 10**10))) == "2026-01-01T01:40:00.25Z"
    later = schedule("@every 2w", anchor="2030-01-01T00:00:00Z")
    assert format_instant(present(later.next_after(start)))[:10] == "2026-01-06"


@pytest.mark.parametrize(
    ("text", "interval_s"), [("90s", 90), ("1h30m", 5400), ("1w1d", 691_200), ("1s", 1), ("2d", 172_800)]
)
def test_every_takes_each_unit(text: str, interval_s: int) -> None:
    assert schedule(f"@every {text}").next_after(NEW_YEAR) == NEW_YEAR + interval_s * SECOND


@pytest.mark.parametrize(
    ("text", "timezone", "at"),
    [
        ("@at 2026-12-24T18:00:00Z", "Asia/Tokyo", "2026-12-24T18:00:00Z"),
        ("@at 2026-12-24T18:00:00.5+02:00", "UTC", "2026-12-24T16:00:00.5Z"),
        ("@at 2026-12-24T18:00:00", "Asia/Tokyo", "2026-12-24T09:00:00Z"),
        ("@AT 2026-12-24 18:00:00", "UTC", "2026-12-24T18:00:00Z"),
        ("@at 2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ("@at 2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:00:00Z"),
    ],
)
def test_at_fires_exactly_once(text: str, timezone: str, at: str) -> None:
    ours = schedule(text, timezone)
    assert check_fires(ours, NEW_YEAR) == parse_instant(at)
    assert ours.next_after(parse_instant(at)) is None
    assert ours.count_between(0, parse_instant(at)) == ours.count_between(parse_instant(at), 2 * parse_instant(at)) == 1


def test_at_far_in_the_future_is_not_the_past() -> None:
    assert format_instant(check_fires(schedule("@at 2199-01-01T00:00:00Z"), NEW_YEAR)) == "2199-01-01T00:00:00Z"


def test_at_in_a_gap_or_an_overlap_says_so() -> None:
    gap, overlap = (
        schedule("@at 2026-03-29T02:30:00", "Europe/Berlin"),
        schedule("@at 2026-10-25T02:30:00", "Europe/Berlin"),
    )
    assert gap.transition(present(gap.next_after(NEW_YEAR))) == "gap"
    assert overlap.transition(present(overlap.next_after(NEW_YEAR))) == "overlap"
    assert "skip this time" in refusal("@at 2026-03-29T02:30:00", timezone="Europe/Berlin", dst_policy="skip").message


def test_lines_are_a_union_without_duplicates() -> None:
    text = "0 2 * * *\n0 2,3 * * *\n@at 2026-01-01T02:00:00Z\n@every 1h\n@at 2026-01-01T02:30:00Z"
    assert runs(text, 5) == ["01-01T00:00", "01-01T01:00", "01-01T02:00", "01-01T02:30", "01-01T03:00"]
    assert schedule(text).count_between(NEW_YEAR, NEW_YEAR + 3 * 3600 * SECOND) == 5


def test_cron_tz_sets_the_zone_for_all_lines() -> None:
    for text in ("CRON_TZ=Europe/Paris 0 2 * * *\n0 3 * * *", "0 2 * * *\nCRON_TZ=Europe/Paris 0 3 * * *"):
        ours = schedule(text, None)
        assert ours.timezone == "Europe/Paris"
        assert runs(text, 2, start="2026-01-01T00:30:00Z", timezone=None) == ["01-01T01:00", "01-01T02:00"]
    assert schedule("CRON_TZ=Europe/Paris\n0 2 * * *", "Europe/Paris").timezone == "Europe/Paris"
    assert schedule("0 2 * * *", None).timezone == "UTC"


@pytest.mark.parametrize(
    ("text", "timezone", "words"),
    [
        ("CRON_TZ=Europe/Paris 0 2 * * *", "UTC", "CRON_TZ=Europe/Paris contradicts the time zone UTC"),
        ("CRON_TZ=Europe/Nowhere 0 2 * * *", None, "CRON_TZ=Europe/Nowhere: not an IANA time zone"),
        ("CRON_TZ= 0 2 * * *", None, "not an IANA time zone"),
        ("CRON_TZ=UTC 0 2 * * *\nCRON_TZ=Asia/Tokyo 0 2 * * *", None, "one time zone holds for all lines"),
        ("CRON_TZ=UTC", None, "empty"),
        ("TZ=Europe/Paris 0 2 * * *", None, "CRON_TZ=Europe/Paris before the expression"),
    ],
)
def test_zones_in_the_text_are_refused_as_schedules(text: str, timezone: str | None, words: str) -> None:
    error = refusal(text, timezone=timezone)
    assert (error.code, list(error.errors or {})) == ("INVALID_CRON_EXPRESSION", ["schedule"])
    assert words in error.message


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/passwd",
        "America",
        "right/UTC",
        "localtime",
        "é",
        "UTC\0",
        "A" * 300,
    ],
)
def test_unknown_zones_are_a_validation_error(name: str) -> None:
    error = refusal("0 2 * * *", timezone=name)
    assert (error.code, list(error.errors or {})) == ("VALIDATION_ERROR", ["timezone"])
    assert "IANA" in error.message


@pytest.mark.parametrize(("option", "word"), [("dst_policy", "literal"), ("day_match", "and")])
def test_unknown_policies_are_a_validation_error(option: str, word: str) -> None:
    error = refusal("0 2 * * *", **{option: "sometimes"})
    assert (error.code, list(error.errors or {})) == ("VALIDATION_ERROR", [option])
    assert word in error.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("61 * * * *", '"61" in minute: 0 to 59'),
        ("* 24 * * *", '"24" in hour: 0 to 23'),
        ("* * 0 * *", '"0" in day-of-month: 1 to 31'),
        ("* * 32 * *", '"32" in day-of-month: 1 to 31'),
        ("* * * 13 *", '"13" in month: 1 to 12 or JAN to DEC'),
        ("* * * * 8", '"8" in day-of-week: 0 to 7 or SUN to SAT'),
        ("60 * * * * *", '"60" in second: 0 to 59'),
        ("* * * MON *", '"MON" in month'),
        ("* * * * MONDAY", '"MONDAY" in day-of-week: 0 to 7 or SUN to SAT'),
        ("*/61 * * * *", '"*/61" in minute: a step of 1 to 60'),
        ("*/0 * * * *", '"*/0" in minute: a step of 1 to 60'),
        ("* 0-23/25 * * *", '"0-23/25" in hour: a step of 1 to 24'),
        ("* * * * */8", '"*/8" in day-of-week: a step of 1 to 7'),
        ("1,,2 * * * *", "an empty item in minute"),
        ("1, * * * *", "an empty item in minute"),
        ("-5 * * * *", '"-5" in minute'),
        ("5- * * * *", '"5-" in minute'),
        ("1-2-3 * * * *", '"1-2-3" in minute'),
        ("1/2/3 * * * *", '"1/2/3" in minute'),
        ("*-5 * * * *", '"*-5" in minute'),
        ("** * * * *", '"**" in minute'),
        ("1.5 * * * *", '"1.5" in minute'),
        ("+5 * * * *", '"+5" in minute'),
        ("1_0 * * * *", '"1_0" in minute'),
        ("H * * * *", "H and R (a hashed or random value) are not supported"),
        ("H/15 * * * *", "not supported"),
        ("H(1-5) * * * *", "not supported"),
        ("R * * * *", "not supported"),
        ("? * * * *", "? stands alone, in day-of-month or day-of-week"),
        ("* * 1,? * *", "? stands alone"),
        ("L * * * *", "L is for the last day"),
        ("* * * * L", "L is for the last day"),
        ("* * 5L * *", "L is for the last day"),
        ("* * L-0 * *", "L-1 to L-27"),
        ("* * L-28 * *", "L-1 to L-27"),
        ("* * L-3W * *", "in day-of-month"),
        ("* * 1-15W * *", "W belongs to day-of-month"),
        ("15W * * * *", "W belongs to day-of-month"),
        ("* * * * 5W", "W belongs to day-of-month"),
        ("* * 32W * *", '"32" in day-of-month: 1 to 31'),
        ("* * * * 5#6", "the number after # is 1 to 5"),
        ("* * * * 5#0", "the number after # is 1 to 5"),
        ("* * * * 8#1", '"8" in day-of-week'),
        ("* * * * 1-5#2", "# belongs to day-of-week, as in FRI#2"),
        ("* * 5#2 * *", "# belongs to day-of-week"),
        ("* * * * L8", '"8" in day-of-week'),
        ("* * *", "has 3 fields: five are needed"),
        ("* * * * * * *", "a year field is not supported"),
        ("0 0 1 1 * 2030 *", "a year field is not supported"),
        ("word", "has 1 field: five are needed"),
        ("", "empty"),
        (" \n\t ", "empty"),
        ("٣ * * * *", "plain ASCII"),
        ("*\u00a0* * * *", "plain ASCII"),
        ("* * * *\x0b*", "plain ASCII"),
        ("# 0 2 * * *", "comments are not allowed"),
        ("@reboot", '"@reboot" is not a macro'),
        ("@daily 5", "is not a macro"),
        ("@every", "as in @every 1h30m"),
        ("@every 5", "as in @every 1h30m"),
        ("@every 0s", "an interval of 1 s to"),
        ("@every 1.5h", "as in @every 1h30m"),
        ("@every -5m", "as in @every 1h30m"),
        ("@every 1h1h", "each at most once"),
        ("@every 1h 30m", "as in @every 1h30m"),
        ("@every 2D", "write @every 2d"),
        ("@every 1M", "months (M), which are no fixed interval"),
        ("@every 500ms", "as in @every 1h30m"),
        ("@every 99999w", "an interval of 1 s to"),
        ("@at", "a time such as"),
        ("@at tomorrow", "a time such as"),
        ("@at 2026-02-30T00:00:00Z", "a time such as"),
        ("@at 2026-12-24T18:61:00Z", "(no such time: "),
        ("@at 9999-12-31T00:00:00Z", "a year from 1970 to 9998"),
        ("@at 1969-12-31T00:00:00Z", "a year from 1970 to 9998"),
        ("@at 2025-01-01T00:00:00Z", "is in the past"),
        ("@at 2026-01-01T00:00:00Z", "is in the past"),
        ("0 0 30 2 *", '"0 0 30 2 *" never fires'),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 L-27 4-11 *\n0 0 31W 2 *", '"0 0 31W 2 *" never fires'),
        ("0 2 * * *\n0 2 * *", "line 2: "),
        ("0 2 * * *\n\n99 2 * * *", 'line 3: "99" in minute'),
        ("\n".join(f"{minute} * * * *" for minute in range(17)), "17 lines: at most 16"),
        ("0 2 * * *\n" + "0," * 150 + "0 * * * *", "line 2 is too long: 309 characters, at most 256"),
        ("0 " * 3000, "too long"),
        ("9" * 240 + " * * * *", "in minute: 0 to 59"),
    ],
)
def test_refusals_say_what_is_wrong_and_what_would_be_right(text: str, words: str) -> None:
    error = refusal(text)
    assert (error.code, list(error.errors or {})) == ("INVALID_CRON_EXPRESSION", ["schedule"])
    assert words in error.message


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("@at 2026-12-24T18:00:00Z", True),
        ("\r\n@AT 2026-12-24T18:00:00Z\r\n\r\n  CRON_TZ=Europe/Paris @at 2026-12-25T18:00:00\n", True),
        ("CRON_TZ=Europe/Paris\n@in 10m", True),
        ("@at 2026-12-24T18:00:00Z\n@every 1h", False),
        ("0 0 1 1 *\n@at 2026-12-24T18:00:00Z", False),
        ("@yearly", False),
    ],
)
def test_a_one_off_has_nothing_but_moments(text: str, once: bool) -> None:
    assert is_one_off(text) is once
    assert all(isinstance(line, Moment) for line in schedule(text, None).lines) is once


def test_day_match_and_can_make_a_line_that_never_fires() -> None:
    assert "never fires" in refusal("0 0 1-7 * 1#2", day_match="and").message


def test_check_fires_answers_with_the_first_of_all_lines() -> None:
    assert format_instant(check_fires(schedule("0 5 * * *\n0 4 * * *"), NEW_YEAR)) == "2026-01-01T04:00:00Z"


def test_sixteen_lines_of_256_characters_are_fine() -> None:
    text = "\n".join(f"{minute:0248d} * * * *" for minute in range(16))
    assert max(map(len, text.splitlines())) == 256
    assert runs(text, 17)[-1] == "01-01T01:00"


def test_next_is_strictly_after_and_a_window_includes_its_ends() -> None:
    ours, two = schedule("0 2 * * *"), parse_instant("2026-01-01T02:00:00Z")
    day = 86_400 * SECOND
    assert ours.next_after(two - 1) == two
    assert ours.next_after(two) == two + day
    assert ours.between(two, two + day, 9) == [two, two + day]
    assert ours.between(two, two + day, 1) == ours.newest_between(two, two, 9) == [two]
    assert ours.latest_between(two, two + day - 1) == two
    assert ours.latest_between(two + 1, two + day - 1) is None
    assert (ours.count_between(two, two + day), ours.count_between(two + 1, two)) == (2, 0)


def test_nothing_breaks_at_the_ends_of_the_calendar() -> None:
    last = parse_instant("9999-12-31T23:59:59Z")
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        for text in ("* * * * *", "0 0 L 2 *", "@every 1w", "30 2 * * *\n0 0 1 1 *"):
            ours = schedule(text, zone)
            assert ours.next_after(last) is None
            assert ours.next_after(-(10**17)) is not None
            newest = present(ours.latest_between(0, last))
            assert format_instant(newest).startswith("9998-")
            assert parse_instant(ours.local(newest)) == newest
            assert ours.count_between(last - 10**15, last * 2) > 0
            assert ours.latest_between(-(10**17), -(10**17) + 1) is None
        assert parse_instant(schedule("* * * * *", zone).local(last)) == last


def test_one_parse_serves_all_jobs_but_anchors_stay_apart() -> None:
    assert schedule("0 2 * * *", anchor="2026-01-01T00:00:00Z") is schedule("0 2 * * *", anchor="2026-05-05T00:00:00Z")
    assert schedule("@every 7m", anchor="2026-01-01T00:00:00Z") != schedule("@every 7m", anchor="2026-01-01T00:01:00Z")
