"""Counts and searches in a window, which are computed, agree with an enumeration of every fire time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.clock import SECOND, Instant, format_instant, parse_instant
from scheduler.domain.schedule.schedule import Schedule
from scheduler.domain.schedule.text import DST_POLICIES, parse_schedule
from tests.domain.cron_oracle import Pattern

DAY = 86_400 * SECOND
YEAR_2026 = parse_instant("2026-01-01T00:00:00Z")
ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza", "Pacific/Apia")


def fields(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """A field of plain items: values, names, ranges that may wrap, steps, lists."""
    value = st.integers(low, high).map(str)
    if names:
        value |= st.sampled_from(names)
    span = value | st.tuples(value, value).map("-".join)
    step = st.integers(1, high - low + (low != 0 or high != 7)).map(str)
    item = span | st.tuples(span | st.just("*"), step).map("/".join)
    return st.just("*") | st.lists(item, min_size=1, max_size=4).map(",".join)


NTH = st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}")
MONTH_DAYS = fields(1, 31) | st.sampled_from(["?", "L", "LW", "L-2", "15W", "1W", "31W", "1,L", "1-7,15W,LW"])
MONTHS = fields(1, 12, ("JAN", "jun", "Dec"))
WEEKDAYS = (
    fields(0, 7, ("SUN", "mon", "Fri", "sat")) | st.sampled_from(["?", "L5", "0L", "FRIL", "1,L3", "1-3,5#2"]) | NTH
)
LINES = st.tuples(fields(0, 59), fields(0, 23), MONTH_DAYS, MONTHS, WEEKDAYS).map(" ".join)
DAYS_ONLY = st.tuples(MONTH_DAYS, MONTHS, WEEKDAYS).map(lambda days: " ".join(("0", "0", *days)))


def schedule(text: str, zone: str = "UTC", policy: str = "debian", day_match: str = "or") -> Schedule:
    return parse_schedule(text, timezone=zone, anchor_at=YEAR_2026, dst_policy=policy, day_match=day_match)


def visited(ours: Schedule, start_at: Instant, end_at: Instant) -> list[Instant]:
    found, at = [], ours.next_after(start_at - 1)
    while at is not None and at <= end_at:
        found.append(at)
        at = ours.next_after(at)
    return found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=DAYS_ONLY, day_match=st.sampled_from(["or", "and"]))
def test_days_agree_with_the_oracle_over_five_years(text: str, day_match: str) -> None:
    pattern, ours = Pattern(text, day_match=day_match), schedule(text, day_match=day_match)
    first = datetime(2024, 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=number) for number in range(5 * 366)]
    expected = [f"{day:%Y-%m-%d}T00:00:00Z" for day in days if pattern.matches_day(day.date())]
    start_at, end_at = (
        parse_instant("2024-01-01T00:00:00Z"),
        parse_instant("2024-01-01T00:00:00Z") + (5 * 366 - 1) * DAY,
    )
    assert [format_instant(at) for at in visited(ours, start_at, end_at)] == expected
    assert ours.count_between(start_at, end_at) == len(expected)
    assert [format_instant(at) for at in ours.newest_between(start_at, end_at, 5)] == expected[-5:]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(minute=fields(0, 59), hour=fields(0, 23))
def test_times_of_day_agree_with_the_oracle(minute: str, hour: str) -> None:
    text = f"{minute} {hour} * * *"
    pattern, ours = Pattern(text), schedule(text)
    midnight = datetime(2026, 1, 1)
    clock = [(number, midnight + timedelta(minutes=number)) for number in range(1440)]
    expected = [YEAR_2026 + number * 60 * SECOND for number, wall in clock if pattern.matches(wall)]
    assert visited(ours, YEAR_2026, YEAR_2026 + DAY - 1) == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(second=fields(0, 59), minute=fields(0, 59))
def test_six_fields_agree_with_the_oracle(second: str, minute: str) -> None:
    text = f"{second} {minute} 0 * * *"
    pattern, ours = Pattern(text), schedule(text)
    midnight = datetime(2026, 1, 1)
    clock = [(number, midnight + timedelta(seconds=number)) for number in range(3600)]
    expected = [YEAR_2026 + number * SECOND for number, wall in clock if pattern.matches(wall)]
    assert visited(ours, YEAR_2026, YEAR_2026 + DAY - 1) == expected


WINDOWS = [
    # a change of the clocks in most zones, Apia's lost day, and nothing at all
    "2026-03-07T11:17:31Z",
    "2026-10-31T00:00:00Z",
    "2011-12-29T08:00:00Z",
    "2026-06-01T00:00:00Z",
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    lines=st.lists(
        LINES | st.sampled_from(["@every 7m", "@every 25h", "@hourly", "@at 2026-03-08T02:30:00"]),
        max_size=4,
        min_size=1,
    ),
    zone=st.sampled_from(ZONES),
    policy=st.sampled_from(DST_POLICIES),
    start=st.sampled_from(WINDOWS),
    span_s=st.integers(0, 3 * 86_400),
)
def test_windows_agree_with_visiting_every_fire(
    lines: list[str], zone: str, policy: str, start: str, span_s: int
) -> None:
    ours = schedule("\n".join(lines), zone, policy)
    start_at = parse_instant(start)
    end_at = start_at + span_s * SECOND
    fires = visited(ours, start_at, end_at)
    assert fires == sorted(set(fires))
    assert ours.count_between(start_at, end_at) == len(fires)
    assert ours.latest_between(start_at, end_at) == max(fires, default=None)
    assert ours.between(start_at, end_at, 7) == fires[:7]
    assert ours.newest_between(start_at, end_at, 7) == fires[-7:]


@pytest.mark.parametrize("policy", DST_POLICIES)
@pytest.mark.parametrize(
    ("text", "reach_h"),
    [
        ("* * * * *\n*/7 * * * *", 20),
        ("*/5 * * * *\n1-59/2 2 * * *\n30 1,2 * * *\n0 3 * * SUN", 60),
        ("*/20 * * * * *\n*/15 * * * *\n0 30 2 * * *", 6),
        ("*/10 * * * * *\n@every 90s\n@every 2m\n@at 2026-03-08T01:59:30\n@at 2026-03-08T07:00:00Z", 5),
        ("* * * * *\n@every 90s\n@at 2026-03-08T07:00:00.5Z", 20),
    ],
)
def test_busy_unions_agree_with_visiting_every_fire(text: str, reach_h: int, policy: str) -> None:
    choice = random.Random(text)
    for zone in ("America/New_York", "Australia/Lord_Howe", "UTC"):
        ours = schedule(text, zone, policy)
        for change in ("2026-03-08T07:00:00Z", "2026-10-03T15:30:00Z", "2026-11-01T06:00:00Z"):
            start_at = (
                parse_instant(change)
                - choice.randrange(reach_h // 2, reach_h) * 3600 * SECOND
                - choice.randrange(DAY // 24)
            )
            end_at = parse_instant(change) + choice.randrange(reach_h // 2, reach_h) * 3600 * SECOND
            fires = visited(ours, start_at, end_at)
            assert len(fires) > 256
            assert ours.count_between(start_at, end_at) == len(fires)
            assert ours.newest_between(start_at, end_at, 50) == fires[-50:]


def test_intervals_off_the_whole_second_never_meet_a_cron_line() -> None:
    anchor_at = YEAR_2026 + 1
    ours = parse_schedule("* * * * *\n@every 60s\n@every 90s", anchor_at=anchor_at)
    assert ours.count_between(YEAR_2026, YEAR_2026 + 100 * DAY - 1) == 100 * 1440 + 100 * (1440 + 480)


def test_four_hundred_days_of_seconds_are_counted() -> None:
    end_at = YEAR_2026 + 400 * DAY - 1
    assert schedule("* * * * * *", "Europe/Berlin").count_between(YEAR_2026, end_at) == 400 * 86_400
    assert schedule("* * * * * *\n@every 7s").count_between(YEAR_2026, end_at) == 400 * 86_400
    assert schedule("*/2 * * * * *\n1-59/2 * * * * *").count_between(YEAR_2026, end_at) == 400 * 86_400
    fixed = schedule("0-59 0-23 * * *", "Europe/Berlin")
    # autumn repeats 60 minutes, which a line at fixed times runs once
    assert fixed.count_between(YEAR_2026, end_at) == 400 * 1440 - 60
