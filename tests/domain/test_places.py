"""Shares of the pool: nobody fills it, everybody gets something, and all of it comes back."""

from __future__ import annotations

import random

import pytest

from scheduler.domain.clock import SECOND, seconds
from scheduler.domain.rate_limiter import Pace
from scheduler.domain.slots import PlaceLimits, Places, account_lane

NOW = 1_800_000_000 * SECOND


def greedy(places: Places, *accounts: str) -> dict[str, int]:
    """What these accounts have when each of them takes, in turns, as long as one may."""
    held = dict.fromkeys(accounts, 0)
    growing = True
    while growing:
        growing = False
        for account in accounts:
            if places.lane_of(account, None, NOW) is None:
                places.take(account, None, NOW)
                held[account] += 1
                growing = True
    return held


@pytest.mark.parametrize(("size", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (64, 48), (256, 192)])
def test_one_account_gets_three_quarters(size: int, most: int) -> None:
    assert greedy(Places(PlaceLimits(size=size)), "a") == {"a": most}


def test_accounts_that_want_all_get_the_same_and_leave_something() -> None:
    places = Places(PlaceLimits(size=64))
    held = greedy(places, *"abc")
    assert max(held.values()) - min(held.values()) <= 1
    assert sum(held.values()) < 64
    assert places.lane_of("d", None, NOW) is None


def test_who_comes_second_gets_what_the_first_gives_back() -> None:
    places = Places(PlaceLimits(size=64))
    first, second = greedy(places, "a")["a"], greedy(places, "b")["b"]
    assert (first, second) == (48, 12)
    while places.lane_of("b", None, NOW) is not None:
        assert places.lane_of("a", None, NOW) == account_lane("a")
        places.give_back("a", None)
        first -= 1
    assert first > second


def test_the_only_account_leaves_a_sixteenth() -> None:
    assert greedy(Places(PlaceLimits(size=64)).copy(sole="a"), "a") == {"a": 60}
    assert greedy(Places(PlaceLimits(size=64)).copy(sole="b"), "a") == {"a": 48}


def test_room_is_as_many_as_may_be_taken_one_after_another() -> None:
    draw = random.Random(1)
    for _ in range(300):
        limits = PlaceLimits(
            size=draw.randint(1, 100), account_concurrency=draw.choice([0, 0, 3]), host_concurrency=draw.choice([0, 5])
        )
        places = Places(limits)
        for _ in range(draw.randint(0, limits.size)):
            account, host = draw.choice("abc"), draw.choice("xyz")
            if places.lane_of(account, host, NOW) is None:
                places.take(account, host, NOW)
        for account, host in (("a", None), ("d", "x")):
            tried, taken = places.copy(), 0
            lanes = [account_lane(account)] if host is None else [account_lane(account), f"host:{host}"]
            room = min(tried.room(lane, NOW) for lane in lanes)
            while tried.lane_of(account, host, NOW) is None:
                tried.take(account, host, NOW)
                taken += 1
            assert taken == max(0, room)


def test_a_host_has_its_limit_whoever_sends_there() -> None:
    places = Places(PlaceLimits(size=64, host_concurrency=2))
    for account in "ab":
        places.take(account, "slow.example", NOW)
    assert places.lane_of("c", "slow.example", NOW) == "host:slow.example"
    assert places.lane_of("c", "other.example", NOW) is None
    places.give_back("a", "slow.example")
    assert places.lane_of("c", "slow.example", NOW) is None


def test_beyond_its_pace_an_account_waits_for_time_and_not_for_places() -> None:
    places = Places(PlaceLimits(size=64, account_per_minute=60))
    for _ in range(10):
        assert places.lane_of("a", None, NOW) is None
        places.take("a", None, NOW)
        places.give_back("a", None)
    lane = places.lane_of("a", None, NOW)
    assert lane == account_lane("a")
    assert places.opens_at(lane, NOW) == NOW + SECOND
    assert places.lane_of("b", None, NOW) is None
    assert places.room(lane, NOW + seconds(3)) == 3


def test_a_copy_leaves_the_original_alone() -> None:
    places = Places(PlaceLimits(size=4, account_per_minute=6))
    copied = places.copy()
    copied.take("a", None, NOW)
    assert copied.lane_of("a", None, NOW) is not None
    assert places.lane_of("a", None, NOW) is None


def test_a_pace_gives_no_more_than_it_says_over_any_time() -> None:
    pace, taken, now = Pace(60, burst=5), 0, NOW
    for _ in range(6000):
        if pace.room("k", now):
            pace.take("k", now)
            taken += 1
        now += SECOND // 50
    assert 120 <= taken <= 125


def test_a_clock_set_back_shuts_nobody_out_for_longer_than_a_burst() -> None:
    pace = Pace(60, burst=3)
    for _ in range(3):
        pace.take("k", NOW)
    earlier = NOW - seconds(86_400)
    assert pace.opens_at("k", earlier) <= earlier + SECOND


def test_keys_at_rest_are_forgotten() -> None:
    pace = Pace(60, burst=1)
    for number in range(10_000):
        pace.take(str(number), NOW + number * SECOND)
    assert len(pace._spent_until) < 5000
