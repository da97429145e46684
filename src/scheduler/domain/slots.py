"""Decides which executions start in the free slots of the worker pool, and in which backlog the others are deferred.

A delivery in flight takes one slot of ``engine.concurrency``. An execution starts if its account, the user who made
the account and its receiver's host have room:

* A user has their fair share, three times as many slots as are free, for all accounts that they made together. One user
  gets three quarters of the pool, two get three sevenths each, and however many there are, some slots stay free for the
  next one. The last ``reserve`` slots are only for the first execution of a user who has none in flight.
* An account has its fair share in the same way. ``account_concurrency`` replaces both shares by a number for the
  account.
* The only account that has jobs, and its user, get all slots but the reserve.
* A host has ``host_concurrency`` slots.
* What is late, a retry or a run that was redriven, backfilled or caught up, has three quarters of what its account may
  have, and comes last: thousands of them do not delay the other jobs of their account.
* Accounts and hosts have a rate, deliveries a minute (see ``rate_limiter``).

An execution without room is deferred to a backlog: that of its account, of what is late in its account, of the user
who made its account, or of its host. What is deferred is not considered again before its backlog has room, so it does
not delay the executions after it.

A worked example: 64 slots are free, account ``a`` of one user has 100 executions ready, and account ``b`` of another
has 20 younger ones.

>>> slots = Slots(SlotLimits(size=64))
>>> ready = [Candidate(id=f"{account}{n}", owner=Owner(account_id=account, user=user))
...          for account, user, count in (("a", "ann", 100), ("b", "bob", 20)) for n in range(count)]
>>> decision = slots.share_at(now=0).decide(ready)
>>> Counter(id[0] for id in decision.started)
Counter({'a': 48, 'b': 12})
>>> Counter(decision.deferred.values())
Counter({'account:a': 52, 'account:b': 8})

With 48 taken 16 are free, and three times 16 is 48; of these 16 ``b`` gets three quarters. Four are left for others. Of
the slots that ``a`` gives back ``b`` may take more than ``a``, until both have three sevenths of 64.

>>> started = [candidate for candidate in ready if candidate.id in decision.started]
>>> for candidate in started:
...     slots.take(candidate, now=0)
>>> for candidate in started[:10]:
...     slots.give_back(candidate)
>>> share = slots.share_at(now=0)
>>> {backlog: share.room(backlog) for backlog in ("account:a", "account:b", "account:c")}
{'account:a': 1, 'account:b': 8, 'account:c': 11}

More accounts do not give ``ann`` more: with 38 in flight one more may start, in whichever of her accounts. When four
slots are left, with a reserve of four, only users start something who have nothing in flight, and of each only one.

>>> share.room("user:ann"), share.room("user:bob"), share.room("user:cid")
(1, 8, 11)
>>> slots = Slots(SlotLimits(size=64, reserve=4))
>>> for n in range(60):
...     slots.take(Candidate(id=str(n), owner=Owner(account_id=f"a{n % 4}", user=f"u{n % 2}")), now=0)
>>> share = slots.share_at(now=0)
>>> share.room("user:u0"), share.room("user:bob")
(0, 1)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.rate_limiter import RateLimiter

_SHARE = 3
_PUNCTUAL = 60 * SECOND
"""A run that is queued later than this after its time is late."""

_ACCOUNT, _USER, _LATE, _HOST = "account:", "user:", "late:", "host:"


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotLimits:
    """How many slots there are, and what accounts and hosts may take of them. 0 is no limit."""

    size: int
    reserve: int = 0
    """The last slots, only for the first execution of a user who has none in flight."""
    account_concurrency: int = 0
    """0 is the fair share."""
    host_concurrency: int = 0
    account_per_minute: int = 0
    host_per_minute: int = 0

    @property
    def depends_on_host(self) -> bool:
        """Does it matter which host an execution goes to?"""
        return bool(self.host_concurrency or self.host_per_minute)

    @property
    def is_fair_share_only(self) -> bool:
        """Is the fair share of accounts and users the only limit?"""
        return not (self.depends_on_host or self.account_concurrency or self.account_per_minute)


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whom the slots of an execution are counted for: its account, and the user who made that."""

    account_id: str
    user: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An execution that waits for a slot or has one."""

    id: str
    owner: Owner
    host: str | None = None
    """``None`` where hosts have no limit."""
    is_late: bool = False

    @property
    def backlogs(self) -> tuple[str, ...]:
        """The backlogs that it may be deferred to, in the order they are tried."""
        account_id, user = self.owner.account_id, self.owner.user
        backlogs = (_ACCOUNT + account_id, _USER + user, *(() if self.host is None else (_HOST + self.host,)))
        return (_LATE + account_id, *backlogs) if self.is_late else backlogs


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Which candidates start and which are deferred; one that is in neither stays ready for the next free slot."""

    started: list[str]
    """The ids of those that start, in their order."""
    deferred: dict[str, str]
    """The backlog of each that may not start, by id."""


class Slots:
    """Counts the slots that deliveries take, for each account, user and host."""

    def __init__(self, limits: SlotLimits) -> None:
        self.limits = limits
        self._taken = 0
        self._taken_by: Counter[str] = Counter()
        self._rates = {
            kind: RateLimiter(per_minute, burst=max(1, per_minute // 6))  # ten seconds' worth at once
            for kind, per_minute in ((_ACCOUNT, limits.account_per_minute), (_HOST, limits.host_per_minute))
            if per_minute
        }

    def take(self, started: Candidate, now: Instant) -> None:
        """Count a delivery that starts."""
        self._taken += 1
        for backlog in started.backlogs:
            self._taken_by[backlog] += 1
            if rate := self._rates.get(_kind(backlog)):
                rate.take(backlog, now)

    def give_back(self, ended: Candidate) -> None:
        """Count a delivery that has ended."""
        self._taken -= 1
        for backlog in ended.backlogs:
            self._taken_by[backlog] -= 1
            if not self._taken_by[backlog]:
                del self._taken_by[backlog]

    def share_at(self, now: Instant, *, at_most: int | None = None, only_owner: Owner | None = None) -> FairShare:
        """What may start at ``now`` in the slots that are free, of which ``at_most`` so many are given out."""
        free = self.limits.size - self._taken
        return FairShare(
            limits=self.limits,
            now=now,
            free=free if at_most is None else min(free, at_most),
            taken_by=self._taken_by.copy(),
            rates=self._rates,
            only_owner=only_owner,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FairShare:
    """The slots at one moment, and what may start in them."""

    limits: SlotLimits
    now: Instant
    free: int
    taken_by: Counter[str]
    """The slots taken by executions of each backlog's account, user or host, or by what is late in the account."""
    rates: Mapping[str, RateLimiter]
    only_owner: Owner | None
    """The account that owns all jobs there are, if that is known."""

    @property
    def limit(self) -> int:
        """How many executions start at most: the free slots, or what the only account may have of them."""
        return self.free if self.only_owner is None else min(self.free, self.room(user_backlog(self.only_owner.user)))

    def decide(self, candidates: Iterable[Candidate]) -> Decision:
        """Let candidates start while slots are free, and defer those that have no room before that.

        They start in their order, but what is late comes last.
        """
        started: list[str] = []
        deferred: dict[str, str] = {}
        taken_by = self.taken_by.copy()
        full: set[str] = set()  # within one decision no backlog gets room again
        for candidate in sorted(candidates, key=attrgetter("is_late")):
            free = self.free - len(started)
            if free <= 0:
                break
            backlogs = candidate.backlogs
            backlog = next((one for one in backlogs if one in full or self._room(one, free, taken_by) <= 0), None)
            if backlog is None:
                started.append(candidate.id)
                taken_by.update(backlogs)
            else:
                deferred[candidate.id] = backlog
                full.add(backlog)
        return Decision(started=started, deferred=deferred)

    def room(self, backlog: str) -> int:
        """How many executions of ``backlog`` may start, if no others do."""
        return self._room(backlog, self.free, self.taken_by)

    def opens_at(self, backlog: str) -> Instant | None:
        """When ``backlog`` has room, now or later; ``None``: not before a slot is given back."""
        if self._slots_for(backlog, self.free, self.taken_by) <= 0:
            return None
        limited = _rated(backlog)
        rate = self.rates.get(_kind(limited))
        return self.now if rate is None else rate.opens_at(limited, self.now)

    def _room(self, backlog: str, free: int, taken_by: Counter[str]) -> int:
        slots = self._slots_for(backlog, free, taken_by)
        limited = _rated(backlog)
        rate = self.rates.get(_kind(limited))
        if rate is None:
            return slots
        return min(slots, rate.room(limited, self.now) - (taken_by[limited] - self.taken_by[limited]))

    def _slots_for(self, backlog: str, free: int, taken_by: Counter[str]) -> int:
        taken = taken_by[backlog]
        kind = _kind(backlog)
        if kind == _LATE:
            return _part(self._slots_for(_rated(backlog), free, taken_by), taken)
        if kind == _HOST:
            return min(free, self.limits.host_concurrency - taken) if self.limits.host_concurrency else free
        if kind == _USER:
            share = free if self.limits.account_concurrency or self._is_only(backlog) else _part(free, taken)
            return min(share, self._unreserved(free, taken))
        if self.limits.account_concurrency:
            return min(free, self.limits.account_concurrency - taken)
        return self._unreserved(free, taken) if self._is_only(backlog) else _part(free, taken)

    def _unreserved(self, free: int, taken: int) -> int:
        """What whoever has ``taken`` slots may have of the free ones: of the reserve one, and only who has none."""
        return max(free - self.limits.reserve, 0 if taken else min(free, 1))

    def _is_only(self, backlog: str) -> bool:
        only = self.only_owner
        return only is not None and backlog in (_ACCOUNT + only.account_id, _USER + only.user)


def is_late(*, attempt: int, scheduled_at: Instant, created_at: Instant) -> bool:
    """Is an execution not the first attempt of a run that was queued at its time?

    So are retries, and what is redriven, backfilled or caught up.
    """
    return attempt > 1 or created_at - scheduled_at > _PUNCTUAL


def account_backlog(account_id: str) -> str:
    """The backlog of an account."""
    return _ACCOUNT + account_id


def user_backlog(user: str) -> str:
    """The backlog of all accounts that a user made."""
    return _USER + user


def is_backlog_of_late(backlog: str) -> bool:
    """Is it the backlog of what is late in an account?"""
    return backlog.startswith(_LATE)


def _part(free: int, taken: int) -> int:
    """How many may start that have ``taken`` slots and may have ``_SHARE`` times as many as are free."""
    # the most n with taken + n - 1 < _SHARE * (free - (n - 1)): each that starts leaves one slot less
    return max(0, -(-(_SHARE * free - taken) // (_SHARE + 1)))


def _kind(backlog: str) -> str:
    return backlog[: backlog.index(":") + 1]


def _rated(backlog: str) -> str:
    """The backlog that has the rate limit: of what is late in an account, the account's."""
    return account_backlog(backlog.removeprefix(_LATE)) if is_backlog_of_late(backlog) else backlog
