"""The same words mean the same times: over zones, changes of the clocks and policies, for all spellings of a field."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.clock import SECOND, Instant, parse_instant
from scheduler.domain.schedule.schedule import Schedule
from scheduler.domain.schedule.text import DAY_MATCHES, DST_POLICIES, parse_schedule

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca")
CHANGES = (
    *("2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"),
    *("2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", "2011-12-30T10:00:00Z", "2026-02-15T02:00:00Z"),
    *("2027-02-27T12:00:00Z", "2028-02-29T12:00:00Z", "2026-04-30T12:00:00Z"),
)
"""Each of the zones changes its clocks at one of them; the last ones are ends of months."""
AROUND = 36 * 3600 * SECOND
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

POOLS = {
    "minute": ("0", "*", "*/30", "0,30", "0-59", "5", "*/7", "0-56/7", "*/60", "0-1"),
    "hour": ("*", "0-23", "2", "*/12", "0,12", "1-3", "0-22/2", "*/2", "23-1", "2-2"),
    "day": ("*", "1-31", "L", "31", "29-31", "L-1", "15W", "30W,31"),
    "month": ("*", "2", "2,3", "4,10", "1-12"),
    "weekday": ("*", "0-6", "SUN", "7", "MON#1", "5L"),
}


def times(schedule: Schedule) -> list[Instant]:
    """All fire times around the changes."""
    found: list[Instant] = []
    for change in CHANGES:
        at = parse_instant(change)
        found += schedule.between(at - AROUND, at + AROUND, 200)
    return found


def spellings(size: int, low: int) -> st.SearchStrategy[str]:
    """A field as a star, a step, a range or a list, often with the values that another spelling has as well."""
    steps = st.integers(1, max(1, size // 2))
    values = st.integers(low, low + size - 1)
    return st.one_of(
        st.just("*"),
        steps.map(lambda step: f"*/{step}"),
        steps.map(lambda step: f"{low}-{low + size - 1}/{step}"),
        steps.filter(lambda step: size // step <= 24).map(
            lambda step: ",".join(str(value) for value in range(low, low + size, step))
        ),
        values.map(str),
        st.tuples(values, values).map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.lists(values, min_size=2, max_size=3).map(lambda chosen: ",".join(map(str, chosen))),
    )


@st.composite
def alike(draw: st.DrawFn) -> tuple[str, str]:
    """Two lines, most fields of which are drawn once for both, or twice from few spellings."""
    first: list[str] = []
    second: list[str] = []
    for size, low in ((60, 0), (24, 0), (31, 1), (12, 1), (7, 0)):
        field = spellings(size, low) if size != 60 else st.sampled_from(POOLS["minute"]) | spellings(size, low)
        one = draw(field)
        first.append(one)
        second.append(draw(st.just(one) | field))
    if draw(st.booleans()):
        first[0], second[0] = f"{draw(st.sampled_from(('0', '30', '*/20')))} {first[0]}", f"0,20,40 {second[0]}"
    return " ".join(first), " ".join(second)


@settings(deadline=None, max_examples=400)
@given(
    lines=alike(),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    policies=st.tuples(st.sampled_from(DST_POLICIES), st.sampled_from(DST_POLICIES)),
    matches=st.tuples(st.sampled_from(DAY_MATCHES), st.sampled_from(DAY_MATCHES)),
)
def test_two_schedules_with_the_same_words_have_the_same_times(
    lines: tuple[str, str], zones: tuple[str, str], policies: tuple[str, str], matches: tuple[str, str]
) -> None:
    one, other = (
        parse_schedule(line, timezone=zone, anchor_at=0, dst_policy=policy, day_match=match)
        for line, zone, policy, match in zip(lines, zones, policies, matches, strict=True)
    )
    assert one.describe() != other.describe() or times(one) == times(other)


def test_all_schedules_of_a_small_language_with_the_same_words_have_the_same_times() -> None:
    shared = 0
    for zone in ZONES[1:4]:
        spoken: defaultdict[str, list[Schedule]] = defaultdict(list)
        for minute, hour, policy in product(POOLS["minute"], POOLS["hour"], DST_POLICIES):
            schedule = parse_schedule(f"{minute} {hour} * * *", timezone=zone, anchor_at=0, dst_policy=policy)
            spoken[schedule.describe()].append(schedule)
        for same in spoken.values():
            shared += len(same) - 1
            assert len({tuple(times(schedule)) for schedule in same}) == 1, [schedule.text for schedule in same]
    assert shared > 200
    spoken = defaultdict(list)
    for day, month, weekday, match in product(POOLS["day"], POOLS["month"], POOLS["weekday"], DAY_MATCHES):
        schedule = parse_schedule(f"0 12 {day} {month} {weekday}", anchor_at=0, day_match=match)
        spoken[schedule.describe()].append(schedule)
    years = parse_instant("2026-01-01T00:00:00Z"), parse_instant("2029-01-01T00:00:00Z")
    for same in spoken.values():
        assert len({tuple(schedule.between(*years, 2000)) for schedule in same}) == 1, [one.text for one in same]


def test_intervals_from_different_anchors_have_different_words() -> None:
    anchors = (0, 1800 * SECOND, 1800 * SECOND + 5)
    words = {parse_schedule("@every 1h", anchor_at=anchor).describe() for anchor in anchors}
    assert len(words) == len(anchors)
    assert parse_schedule("0 * * * *", anchor_at=0).describe() not in words
