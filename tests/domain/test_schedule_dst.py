"""The three DST policies agree with ``cron_oracle`` around every transition of several zones, and with known dates."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from scheduler.domain.clock import SECOND, format_instant, parse_instant
from scheduler.domain.schedule.schedule import Schedule
from scheduler.domain.schedule.text import DST_POLICIES, parse_schedule
from tests.checks import present
from tests.domain.cron_oracle import Pattern, fires, watch
from tests.zones import zone_info

ZONES = (
    *("America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Havana", "America/Sao_Paulo"),
    *("America/Santiago", "America/Asuncion", "America/Mexico_City", "America/Nuuk", "America/Caracas"),
    *("America/Halifax", "Europe/London", "Europe/Berlin", "Europe/Dublin", "Europe/Lisbon", "Europe/Istanbul"),
    *("Europe/Moscow", "Europe/Kyiv", "Africa/Casablanca", "Africa/Cairo", "Asia/Gaza", "Asia/Beirut", "Asia/Tehran"),
    *("Asia/Amman", "Asia/Pyongyang", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Auckland"),
    *("Pacific/Chatham", "Pacific/Apia", "Pacific/Norfolk", "Antarctica/Troll", "Antarctica/Casey"),
)
FROM_YEAR, TO_YEAR = 2007, 2027
HOUR_S, DAY_S = 3600, 86_400


def schedule(text: str, zone: str, policy: str = "debian") -> Schedule:
    return parse_schedule(text, timezone=zone, anchor_at=0, dst_policy=policy)


def transitions(zone: ZoneInfo) -> list[int]:
    """Every change of the offset in the twenty years, by looking twice a day and then closer."""
    first = int(datetime(FROM_YEAR, 1, 1, tzinfo=UTC).timestamp())
    last = int(datetime(TO_YEAR, 1, 1, tzinfo=UTC).timestamp())
    found = []
    for low in range(first, last, DAY_S // 2):
        same, other = low, low + DAY_S // 2
        if _offset(zone, same) != _offset(zone, other):
            while other - same > 60:
                middle = (same + other) // 120 * 60
                same, other = (middle, other) if _offset(zone, middle) == _offset(zone, same) else (same, middle)
            found.append(other)
    return found


def expressions(change: int, zone: ZoneInfo, choice: random.Random) -> list[str]:
    """Lines that have something to do around this change."""
    before = datetime.fromtimestamp(change - 60, zone)
    after = datetime.fromtimestamp(change, zone)
    hours = sorted({before.hour, after.hour, (before.hour + 1) % 24, (after.hour - 1) % 24, (after.hour + 1) % 24})
    minute, other = choice.randrange(60), choice.randrange(60)
    hour, another = choice.choice(hours), choice.choice(hours)
    day = choice.choice([f"{after.day} * *", f"* * {after.isoweekday()}", f"*/2 {after.month} *", f"* * {after:%a}#1"])
    kinds = [
        f"{minute} {hour} * * *",
        f"0,30 {hour} * * *",
        f"0 {hour},{another} * * *",
        f"{minute},{other} {','.join(map(str, hours))} {day}",
        f"*/{choice.choice([5, 15, 20, 30])} {hour} * * *",
        f"{minute} * * * *",
        f"{minute} */{choice.choice([2, 3])} {day}",
        f"{minute}/15 {hour}-{another} * * *",
        "*/10 * * * *",
        f"{after.minute} {after.hour} {day}",
        "0 0 * * *",
    ]
    return choice.sample(kinds, 4)


@pytest.mark.parametrize("name", ZONES)
def test_every_policy_agrees_with_the_oracle_around_every_transition_of_twenty_years(name: str) -> None:
    zone, choice = zone_info(name), random.Random(name)
    compared = 0
    for change in transitions(zone):
        jump = abs(_offset(zone, change) - _offset(zone, change - 60))
        reach = 3 * HOUR_S if jump <= 3 * HOUR_S else 30 * HOUR_S
        showings = watch(zone, change - reach - 4 * HOUR_S, change + reach + 4 * HOUR_S)
        for text in expressions(change, zone, choice):
            pattern = Pattern(text)
            for policy in DST_POLICIES:
                expected = [at for at in fires(pattern, showings, policy) if change - reach <= at < change + reach]
                ours = schedule(text, name, policy)
                window = (change - reach) * SECOND, (change + reach) * SECOND - 1
                found = ours.between(*window, 10_000)
                assert [at // SECOND for at in found] == expected, (text, policy, format_instant(change * SECOND))
                assert ours.count_between(*window) == len(expected)
                assert ours.newest_between(*window, 3) == found[-3:]
                compared += 1
    assert compared >= 12


def _offset(zone: ZoneInfo, second: int) -> float:
    return present(datetime.fromtimestamp(second, zone).utcoffset()).total_seconds()


@pytest.mark.parametrize("policy", DST_POLICIES)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ],
)
def test_six_fields_agree_with_the_oracle_second_by_second(name: str, change: str, policy: str) -> None:
    centre = parse_instant(change) // SECOND
    showings = watch(zone_info(name), centre - 2 * HOUR_S, centre + 2 * HOUR_S, step=1)
    for text in (
        "*/20 59 * * * *",
        "30 0,30 1-3 * * *",
        "0 0 2 * * *",
        "59 59 1 * * *",
        "* 0 2 * * *",
        "5 */7 1,2 * * *",
    ):
        low, high = centre - HOUR_S // 2, centre + HOUR_S // 2
        expected = [at for at in fires(Pattern(text), showings, policy) if low <= at < high]
        found = schedule(text, name, policy).between(low * SECOND, high * SECOND - 1, 10_000)
        assert [at // SECOND for at in found] == expected, text


def runs(text: str, zone: str, policy: str, start: str, count: int) -> list[tuple[str, str | None]]:
    ours = schedule(text, zone, policy)
    found = ours.between(parse_instant(start), parse_instant("2027-12-31T00:00:00Z"), count)
    return [(ours.local(at), ours.transition(at)) for at in found]


@pytest.mark.parametrize("text", ["30 2 * * *", "0,15,59 2 * * *", "10 2 * * *\n20 2 * * *"])
def test_debian_runs_what_fell_into_a_gap_once_right_after_it(text: str) -> None:
    assert runs(text, "America/New_York", "debian", "2026-03-08T06:00:00Z", 1) == [("2026-03-08T03:00:00-04:00", "gap")]


def test_a_regular_time_right_after_the_gap_is_still_one_run() -> None:
    found = runs("30 2,3 * * *\n0 3 * * *", "America/New_York", "debian", "2026-03-08T06:00:00Z", 2)
    assert found == [("2026-03-08T03:00:00-04:00", "gap"), ("2026-03-08T03:30:00-04:00", None)]


@pytest.mark.parametrize("policy", ["skip", "literal"])
def test_other_policies_skip_the_gap(policy: str) -> None:
    assert runs("30 2 * * *", "America/New_York", policy, "2026-03-08T06:00:00Z", 1) == [
        ("2026-03-09T02:30:00-04:00", None)
    ]


def test_an_overlap_is_marked_at_both_showings() -> None:
    first, second = ("2026-11-01T01:30:00-04:00", "overlap"), ("2026-11-01T01:30:00-05:00", "overlap")
    start = "2026-11-01T05:00:00Z"
    assert runs("30 1 1 11 *", "America/New_York", "debian", start, 2)[:1] == [first]
    assert runs("30 1 1 11 *", "America/New_York", "skip", start, 2)[1][0].startswith("2027-11-01")
    assert runs("30 1 1 11 *", "America/New_York", "literal", start, 2) == [first, second]
    assert runs("30 * 1 11 *", "America/New_York", "debian", start, 2) == [first, second]


def test_lord_howe_repeats_half_an_hour() -> None:
    found = runs("45 1 5 4 *\n0 2 5 4 *", "Australia/Lord_Howe", "literal", "2026-04-04T00:00:00Z", 3)
    assert found == [
        ("2026-04-05T01:45:00+11:00", "overlap"),
        ("2026-04-05T01:45:00+10:30", "overlap"),
        ("2026-04-05T02:00:00+10:30", None),
    ]


def test_a_midnight_that_does_not_exist_moves_to_one_o_clock() -> None:
    ours = schedule("@daily", "America/Sao_Paulo")
    at = present(ours.next_after(parse_instant("2018-11-03T12:00:00Z")))
    assert (ours.local(at), ours.transition(at)) == ("2018-11-04T01:00:00-02:00", "gap")


def test_the_day_that_apia_skipped_is_one_late_run() -> None:
    fixed, start = schedule("0 6,18 * * *", "Pacific/Apia"), parse_instant("2011-12-30T04:30:00Z")
    assert [fixed.local(at) for at in fixed.between(start, start + 2 * DAY_S * SECOND, 3)] == [
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T06:00:00+14:00",
        "2011-12-31T18:00:00+14:00",
    ]
    friday = schedule("0 6 * * FRI", "Pacific/Apia", "skip")
    assert friday.local(present(friday.next_after(start))) == "2012-01-06T06:00:00+14:00"


def test_a_schedule_that_only_ever_hits_gaps_never_fires() -> None:
    ours = schedule("30 2 * 3 SUN#2", "America/New_York", "skip")
    assert ours.next_after(parse_instant("2026-01-01T00:00:00Z")) is None
    assert schedule("30 2 * 3 SUN#2", "America/New_York").next_after(0) is not None


def test_offsets_with_seconds_keep_fire_times_on_the_wall() -> None:
    # Amsterdam was 19 min 32 s ahead, Monrovia 44 min 30 s behind until 1972
    amsterdam = schedule("0 12 * * *", "Europe/Amsterdam")
    monrovia = schedule("0 12 * * *", "Africa/Monrovia")
    june = parse_instant("1971-06-01T00:00:00Z")
    assert format_instant(present(monrovia.next_after(june))) == "1971-06-01T12:44:30Z"
    assert monrovia.local(parse_instant("1971-06-01T12:44:30Z")) == "1971-06-01T12:00:30-00:44"
    assert amsterdam.count_between(parse_instant("1930-01-01T00:00:00Z"), parse_instant("1931-01-01T00:00:00Z")) == 365


def test_a_zone_may_change_its_offset_twice_within_a_week() -> None:
    # Recife went to summer time on 2000-10-08 and back on 2000-10-15
    found = schedule("0 12 * * *", "America/Recife").between(
        parse_instant("2000-10-07T00:00:00Z"), parse_instant("2000-10-17T00:00:00Z"), 20
    )
    assert [format_instant(at)[8:13] for at in found] == [
        *("07T15", "08T14", "09T14", "10T14", "11T14", "12T14", "13T14", "14T14", "15T15", "16T15"),
    ]
