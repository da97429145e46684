"""Fair shares: no account takes the whole pool, each account gets slots, and every slot that is given back is used."""

from __future__ import annotations

import doctest
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, cycle, islice

import pytest

from scheduler.domain import slots as slots_module
from scheduler.domain.clock import SECOND, Instant, seconds
from scheduler.domain.rate_limiter import RateLimiter
from scheduler.domain.slots import (
    Candidate,
    Decision,
    Owner,
    SlotLimits,
    Slots,
    account_backlog,
    is_backlog_of_late,
    is_late,
    user_backlog,
)

NOW = 1_800_000_000 * SECOND
_ids = map(str, count())


def one(account: str = "a", host: str | None = None, *, user: str | None = None, is_late: bool = False) -> Candidate:
    """A candidate of an account that ``user`` made; by default each account has a user of its own."""
    owner = Owner(account_id=account, user=user or f"of {account}")
    return Candidate(id=next(_ids), owner=owner, host=host, is_late=is_late)


def some(number: int, accounts: Iterable[str], host: str | None = None) -> list[Candidate]:
    """So many candidates, of these accounts in turns."""
    return [one(account, host) for account in islice(cycle(accounts), number)]


def start(slots: Slots, candidates: list[Candidate], now: Instant = NOW) -> Counter[str]:
    """Start those of ``candidates`` that may; returns how many of each account that were."""
    started = set(slots.share_at(now).decide(candidates).started)
    taking = [candidate for candidate in candidates if candidate.id in started]
    for candidate in taking:
        slots.take(candidate, now)
    return Counter(candidate.owner.account_id for candidate in taking)


def backlog_of(slots: Slots, candidate: Candidate, now: Instant = NOW) -> str | None:
    return slots.share_at(now).decide([candidate]).deferred.get(candidate.id)


def test_the_worked_example_of_the_module_is_true() -> None:
    result = doctest.testmod(slots_module)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize(("size", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (64, 48), (256, 192)])
def test_one_account_gets_three_quarters(size: int, most: int) -> None:
    assert start(Slots(SlotLimits(size=size)), some(300, "a")) == {"a": most}


def test_accounts_that_want_all_get_the_same_and_leave_something() -> None:
    slots = Slots(SlotLimits(size=64))
    held = start(slots, some(300, "abc"))
    assert max(held.values()) - min(held.values()) <= 1
    assert held.total() < 64
    assert start(slots, [one("d")]) == {"d": 1}


def test_the_second_account_gets_what_the_first_gives_back() -> None:
    slots = Slots(SlotLimits(size=64))
    first, second = start(slots, some(64, "a"))["a"], start(slots, some(64, "b"))["b"]
    assert (first, second) == (48, 12)
    while not start(slots, [one("b")]):
        assert backlog_of(slots, one("a")) == account_backlog("a")
        slots.give_back(one("a"))
        first -= 1
    assert first > second


def test_the_only_account_leaves_the_reserve() -> None:
    share = Slots(SlotLimits(size=64, reserve=4)).share_at(NOW, only_owner=one("a").owner)
    assert share.limit == 60
    assert len(share.decide(some(64, "a")).started) == 60
    assert len(share.decide(some(64, "b")).started) == 48


def test_more_accounts_give_their_user_no_more_slots() -> None:
    slots = Slots(SlotLimits(size=64, reserve=4))
    of_one_user = [one(account, user="ann") for account in islice(cycle("abcd"), 300)]
    assert start(slots, of_one_user).total() == 48
    assert backlog_of(slots, one("e", user="ann")) == user_backlog("ann")
    assert start(slots, some(300, "v")) == {"v": 12}


def test_the_reserve_is_for_users_who_have_nothing_in_flight() -> None:
    slots = Slots(SlotLimits(size=64, reserve=4))
    start(slots, some(300, "abcdefghijkl"))
    assert slots.share_at(NOW).free == 4
    for account in ("v", "w", "x", "y"):
        assert start(slots, some(10, account)) == {account: 1}
    assert slots.share_at(NOW).free == 0


def test_an_account_with_a_limit_of_its_own_leaves_the_reserve_too() -> None:
    slots = Slots(SlotLimits(size=16, reserve=4, account_concurrency=16))
    assert start(slots, some(100, "a")) == {"a": 12}
    assert start(slots, some(100, "b")) == {"b": 1}


def test_what_stands_behind_the_last_free_slot_is_neither_started_nor_deferred() -> None:
    candidates = some(5, "abc")
    assert Slots(SlotLimits(size=8)).share_at(NOW, at_most=2).decide(candidates) == Decision(
        started=[candidate.id for candidate in candidates[:2]], deferred={}
    )
    assert Slots(SlotLimits(size=0)).share_at(NOW).decide(candidates) == Decision(started=[], deferred={})


def _random_slots(draw: random.Random) -> Slots:
    limits = SlotLimits(
        size=draw.randint(1, 100),
        reserve=draw.choice([0, 4]),
        account_concurrency=draw.choice([0, 0, 3]),
        host_concurrency=draw.choice([0, 5]),
    )
    slots = Slots(limits)
    start(slots, [one(draw.choice("abc"), draw.choice("xyz")) for _ in range(draw.randint(0, limits.size))])
    return slots


def _cases() -> Iterator[tuple[Slots, str, str | None]]:
    draw = random.Random(1)
    for _ in range(300):
        slots = _random_slots(draw)
        yield slots, "a", None
        yield slots, "d", "x"


def test_room_is_as_many_as_start_one_after_another() -> None:
    for slots, account, host in _cases():
        share = slots.share_at(NOW)
        room = max(0, min(map(share.room, one(account, host).backlogs)))
        assert len(share.decide(some(100, account, host)).started) == room


def test_a_host_has_its_limit_no_matter_which_account_sends_there() -> None:
    slots = Slots(SlotLimits(size=64, host_concurrency=2))
    assert start(slots, some(3, "abc", "slow.example")).total() == 2
    assert backlog_of(slots, one("c", "slow.example")) == "host:slow.example"
    assert backlog_of(slots, one("c", "other.example")) is None
    slots.give_back(one("a", "slow.example"))
    assert backlog_of(slots, one("c", "slow.example")) is None


def test_beyond_its_rate_an_account_waits_for_time_and_not_for_slots() -> None:
    slots = Slots(SlotLimits(size=64, account_per_minute=60))
    assert start(slots, some(12, "a")) == {"a": 10}
    for _ in range(10):
        slots.give_back(one("a"))
    backlog = backlog_of(slots, one("a"))
    assert backlog == account_backlog("a")
    assert slots.share_at(NOW).opens_at(backlog) == NOW + SECOND
    assert backlog_of(slots, one("b")) is None
    assert slots.share_at(NOW + seconds(3)).room(backlog) == 3


def test_a_decision_takes_nothing_and_comes_out_the_same_again() -> None:
    slots = Slots(SlotLimits(size=4, account_per_minute=6))
    share, candidates = slots.share_at(NOW), some(4, "ab")
    decision = share.decide(candidates)
    assert decision.started == [candidate.id for candidate in candidates[:2]]
    assert share.decide(candidates) == decision
    start(slots, candidates)
    assert share.free == 4 and slots.share_at(NOW).free == 2


def test_a_rate_gives_no_more_than_it_says_over_any_time() -> None:
    limiter, taken, now = RateLimiter(60, burst=5), 0, NOW
    for _ in range(6000):
        if limiter.room("k", now):
            limiter.take("k", now)
            taken += 1
        now += SECOND // 50
    assert 120 <= taken <= 125


def test_a_clock_set_back_blocks_no_key_for_longer_than_a_burst() -> None:
    limiter = RateLimiter(60, burst=3)
    for _ in range(3):
        limiter.take("k", NOW)
    earlier = NOW - seconds(86_400)
    assert limiter.opens_at("k", earlier) <= earlier + SECOND


def test_keys_that_are_no_longer_spent_are_forgotten() -> None:
    limiter = RateLimiter(60, burst=1)
    for number in range(10_000):
        limiter.take(str(number), NOW + number * SECOND)
    assert limiter.keys_kept < 5000


def test_what_is_late_leaves_slots_to_what_is_punctual_in_its_account() -> None:
    slots = Slots(SlotLimits(size=64))
    assert start(slots, [one(is_late=True) for _ in range(300)]) == {"a": 36}
    waiting = one(is_late=True)
    assert backlog_of(slots, waiting) == "late:a" and is_backlog_of_late("late:a")
    assert start(slots, some(300, "a")) == {"a": 12}
    assert backlog_of(slots, one()) == account_backlog("a")
    slots.give_back(one("a"))
    assert start(slots, [waiting, one()]) == {"a": 1}
    assert backlog_of(slots, waiting) == "late:a"


def test_what_is_late_comes_last_and_counts_for_the_rate_of_its_account() -> None:
    slots = Slots(SlotLimits(size=64, account_per_minute=60))
    late, punctual = [one(is_late=True) for _ in range(20)], some(5, "a")
    assert slots.share_at(NOW).room("late:a") == 10
    decision = slots.share_at(NOW).decide([*late, *punctual])
    assert decision.started == [candidate.id for candidate in (*punctual, *late[:5])]
    assert slots.share_at(NOW).opens_at("late:a") == NOW
    start(slots, late)
    assert slots.share_at(NOW).opens_at("late:a") == NOW + SECOND


@pytest.mark.parametrize(
    ("attempt", "queued_after_s", "late"), [(1, 0, False), (1, 60, False), (1, 61, True), (2, 0, True), (4, 3600, True)]
)
def test_another_attempt_and_a_run_after_its_time_are_late(attempt: int, queued_after_s: int, late: bool) -> None:
    assert is_late(attempt=attempt, scheduled_at=NOW, created_at=NOW + seconds(queued_after_s)) == late
