"""Decides which executions start in the free slots of the worker pool, and in which backlog the others are deferred.

A delivery in flight takes one slot of ``engine.concurrency``. An execution starts if its account and its receiver's
host have room:

* An account has its fair share, three times as many slots as are free. One account gets three quarters of the pool,
  two get three sevenths each, and however many there are, some slots stay free for the next one. The only account that
  has jobs gets fifteen times as many as are free. ``account_concurrency`` replaces the share by a number.
* A host has ``host_concurrency`` slots.
* What is late, a retry or a run that was redriven, backfilled or caught up, has three quarters of what its account may
  have, and comes last: thousands of them do not delay the other jobs of their account.
* Accounts and hosts have a rate, deliveries a minute (see ``rate_limiter``).

An execution without room is deferred to a backlog: that of its account, of what is late in its account, or of its host.
What is deferred is not considered again before its backlog has room, so it does not delay the executions after it.

A worked example: 64 slots are free, account ``a`` has 100 executions ready, and account ``b`` has 20 younger ones.

>>> slots = Slots(SlotLimits(size=64))
>>> ready = [Candidate(id=f"{account}{n}", account_id=account) for account, count in (("a", 100), ("b", 20))
...          for n in range(count)]
>>> decision = slots.share_at(now=0).decide(ready)
>>> Counter(id[0] for id in decision.started)
Counter({'a': 48, 'b': 12})
>>> Counter(decision.deferred.values())
Counter({'account:a': 52, 'account:b': 8})

With 48 taken 16 are free, and three times 16 is 48; of these 16 ``b`` gets three quarters. Four are left for others. Of
the slots that ``a`` gives back ``b`` may take more than ``a``, until both have three sevenths of 64.

>>> for id in decision.started:
...     slots.take(id[0], None, now=0)
>>> for _ in range(10):
...     slots.give_back("a", None)
>>> share = slots.share_at(now=0)
>>> {backlog: share.room(backlog) for backlog in ("account:a", "account:b", "account:c")}
{'account:a': 1, 'account:b': 8, 'account:c': 11}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.rate_limiter import RateLimiter

_SHARE = 3
_SHARE_OF_ONLY_ACCOUNT = 15
"""Leaves a sixteenth of the pool free for the first runs of a second account."""
_PUNCTUAL = 60 * SECOND
"""A run that is queued later than this after its time is late."""

_ACCOUNT, _LATE, _HOST = "account:", "late:", "host:"


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotLimits:
    """How many slots there are, and what accounts and hosts may take of them. 0 is no limit."""

    size: int
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
        """Is the fair share of accounts the only limit?"""
        return not (self.depends_on_host or self.account_concurrency or self.account_per_minute)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An execution that waits for a slot."""

    id: str
    account_id: str
    host: str | None = None
    """``None`` where hosts have no limit."""
    is_late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Which candidates start and which are deferred; one that is in neither stays ready for the next free slot."""

    started: list[str]
    """The ids of those that start, in their order."""
    deferred: dict[str, str]
    """The backlog of each that may not start, by id."""


class Slots:
    """Counts the slots that deliveries take, for each account and host. A host of ``None`` is not counted."""

    def __init__(self, limits: SlotLimits) -> None:
        self.limits = limits
        self._taken = 0
        self._taken_by: Counter[str] = Counter()
        self._rates = {
            kind: RateLimiter(per_minute, burst=max(1, per_minute // 6))  # ten seconds' worth at once
            for kind, per_minute in ((_ACCOUNT, limits.account_per_minute), (_HOST, limits.host_per_minute))
            if per_minute
        }

    def take(self, account_id: str, host: str | None, now: Instant, *, is_late: bool = False) -> None:
        """Count a delivery that starts."""
        self._taken += 1
        for backlog in backlogs_of(account_id, host, is_late=is_late):
            self._taken_by[backlog] += 1
            if rate := self._rates.get(_kind(backlog)):
                rate.take(backlog, now)

    def give_back(self, account_id: str, host: str | None, *, is_late: bool = False) -> None:
        """Count a delivery that has ended."""
        self._taken -= 1
        for backlog in backlogs_of(account_id, host, is_late=is_late):
            self._taken_by[backlog] -= 1
            if not self._taken_by[backlog]:
                del self._taken_by[backlog]

    def share_at(self, now: Instant, *, at_most: int | None = None, only_account: str | None = None) -> FairShare:
        """What may start at ``now`` in the slots that are free, of which ``at_most`` so many are given out."""
        free = self.limits.size - self._taken
        return FairShare(
            limits=self.limits,
            now=now,
            free=free if at_most is None else min(free, at_most),
            taken_by=self._taken_by.copy(),
            rates=self._rates,
            only_account=only_account,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FairShare:
    """The slots at one moment, and what may start in them."""

    limits: SlotLimits
    now: Instant
    free: int
    taken_by: Counter[str]
    """The slots taken by executions of each backlog's account or host, or by what is late in the account."""
    rates: Mapping[str, RateLimiter]
    only_account: str | None
    """The account that owns all jobs there are, if that is known."""

    @property
    def limit(self) -> int:
        """How many executions start at most: the free slots, or what the only account may have of them."""
        return self.free if self.only_account is None else min(self.free, self.room(account_backlog(self.only_account)))

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
            backlogs = backlogs_of(candidate.account_id, candidate.host, is_late=candidate.is_late)
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
        if _kind(backlog) == _LATE:
            return _part(_SHARE, self._slots_for(_rated(backlog), free, taken_by), taken)
        if _kind(backlog) == _HOST:
            return min(free, self.limits.host_concurrency - taken) if self.limits.host_concurrency else free
        if self.limits.account_concurrency:
            return min(free, self.limits.account_concurrency - taken)
        is_only = self.only_account is not None and backlog == account_backlog(self.only_account)
        return _part(_SHARE_OF_ONLY_ACCOUNT if is_only else _SHARE, free, taken)


def is_late(*, attempt: int, scheduled_at: Instant, created_at: Instant) -> bool:
    """Is an execution not the first attempt of a run that was queued at its time?

    So are retries, and what is redriven, backfilled or caught up.
    """
    return attempt > 1 or created_at - scheduled_at > _PUNCTUAL


def account_backlog(account_id: str) -> str:
    """The backlog of an account."""
    return _ACCOUNT + account_id


def is_backlog_of_late(backlog: str) -> bool:
    """Is it the backlog of what is late in an account?"""
    return backlog.startswith(_LATE)


def backlogs_of(account_id: str, host: str | None, *, is_late: bool = False) -> tuple[str, ...]:
    """The backlogs that an execution of this account to this host may be deferred to, in the order they are tried."""
    backlogs = (_ACCOUNT + account_id,) if host is None else (_ACCOUNT + account_id, _HOST + host)
    return (_LATE + account_id, *backlogs) if is_late else backlogs


def _part(share: int, free: int, taken: int) -> int:
    """How many may start that have ``taken`` slots and may have ``share`` times as many as are free."""
    # the most n with taken + n - 1 < share * (free - (n - 1)): each that starts leaves one slot less
    return max(0, -(-(share * free - taken) // (share + 1)))


def _kind(backlog: str) -> str:
    if backlog.startswith(_ACCOUNT):
        return _ACCOUNT
    return _LATE if is_backlog_of_late(backlog) else _HOST


def _rated(backlog: str) -> str:
    """The backlog that has the rate limit: of what is late in an account, the account's."""
    return account_backlog(backlog.removeprefix(_LATE)) if is_backlog_of_late(backlog) else backlog
