"""Who may have one of the pool's places: the shares of accounts, the limits of hosts, and the paces of both.

An execution that may not start now waits in a lane, that of its account or that of its receiver's host, while others
pass it by.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.domain.rate_limiter import Pace

_SHARE = 3
"""An account may have three times as many places as are free. That makes three quarters of the pool for one, three
sevenths each for two, and however many there are something stays free for the next one."""
_SHARE_OF_SOLE = 15
"""The only account there is leaves a sixteenth free, for the first runs of a second one."""

_ACCOUNT, _HOST = "account:", "host:"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceLimits:
    """What accounts and hosts may have; 0 is no limit, but for ``account_concurrency``: there it is the fair share."""

    size: int
    """The places there are."""
    account_concurrency: int = 0
    host_concurrency: int = 0
    account_per_minute: int = 0
    host_per_minute: int = 0


class Places:
    """The places of the pool and who has them. A host of ``None`` is none that counts."""

    def __init__(self, limits: PlaceLimits) -> None:
        self._limits = limits
        self._taken = 0
        self._held: Counter[str] = Counter()
        self._paces = {
            kind: Pace(per_minute, burst=max(1, per_minute // 6))  # ten seconds' worth at once
            for kind, per_minute in ((_ACCOUNT, limits.account_per_minute), (_HOST, limits.host_per_minute))
            if per_minute
        }
        self.sole: str | None = None
        """The account that is known to be the only one with jobs."""
        self.counts_hosts = bool(limits.host_concurrency or limits.host_per_minute)
        """Does it matter where an execution goes?"""
        self.limits_nothing = not (self.counts_hosts or limits.account_concurrency or self._paces)
        """Is the fair share of an account all that it has to wait for?"""

    def lane_of(self, account_id: str, host: str | None, now: Instant) -> str | None:
        """The lane in which an execution of this account to this host has to wait; ``None``: it may start."""
        return next((lane for lane in _lanes(account_id, host) if self.room(lane, now) <= 0), None)

    def take(self, account_id: str, host: str | None, now: Instant) -> None:
        """A delivery of this account to this host starts."""
        self._taken += 1
        for lane in _lanes(account_id, host):
            self._held[lane] += 1
            if pace := self._paces.get(_kind(lane)):
                pace.take(lane, now)

    def give_back(self, account_id: str, host: str | None) -> None:
        """A delivery of this account to this host has ended."""
        self._taken -= 1
        for lane in _lanes(account_id, host):
            self._held[lane] -= 1
            if not self._held[lane]:
                del self._held[lane]

    def room(self, lane: str, now: Instant) -> int:
        """How many that wait in ``lane`` may start at ``now``."""
        pace = self._paces.get(_kind(lane))
        places = self._places_for(lane)
        return places if pace is None else min(places, pace.room(lane, now))

    def opens_at(self, lane: str, now: Instant) -> Instant | None:
        """When ``lane`` has room, perhaps already; ``None``: not before places are given back."""
        if self._places_for(lane) <= 0:
            return None
        pace = self._paces.get(_kind(lane))
        return now if pace is None else pace.opens_at(lane, now)

    def copy(self, *, sole: str | None = None) -> Places:
        """Places that stand as these do, for trying out what may be; ``sole`` is the only account with jobs, if any."""
        copied = Places(self._limits)
        copied.sole = sole
        copied._taken, copied._held = self._taken, self._held.copy()
        copied._paces = {kind: pace.copy() for kind, pace in self._paces.items()}
        return copied

    def _places_for(self, lane: str) -> int:
        held, free = self._held[lane], self._limits.size - self._taken
        if _kind(lane) == _HOST:
            return min(free, self._limits.host_concurrency - held) if self._limits.host_concurrency else free
        if self._limits.account_concurrency:
            return min(free, self._limits.account_concurrency - held)
        share = _SHARE_OF_SOLE if self.sole is not None and lane == _ACCOUNT + self.sole else _SHARE
        # the most n with held + n - 1 < share * (free - (n - 1)): each that starts leaves one place less
        return max(0, -(-(share * free - held) // (share + 1)))


def account_lane(account_id: str) -> str:
    """The lane in which the executions of an account wait."""
    return _ACCOUNT + account_id


def _lanes(account_id: str, host: str | None) -> tuple[str, ...]:
    return (_ACCOUNT + account_id,) if host is None else (_ACCOUNT + account_id, _HOST + host)


def _kind(lane: str) -> str:
    return _HOST if lane.startswith(_HOST) else _ACCOUNT
