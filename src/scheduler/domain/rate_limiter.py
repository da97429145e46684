"""How often something may happen: so many times a minute, counted for each of many keys. Time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.domain.clock import SECOND, Instant

_MINUTE = 60 * SECOND
_FEW = 1024
"""So many keys are kept without looking which of them have come to rest."""


class Pace:
    """``per_minute`` in the long run and ``burst`` at once, for each key (the generic cell rate algorithm).

    A key costs one number while its last use still counts, and nothing later.
    """

    def __init__(self, per_minute: int, *, burst: int, spent_until: Mapping[str, Instant] | None = None) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._interval = max(1, _MINUTE // per_minute)
        self._patience = (burst - 1) * self._interval
        self._spent_until: dict[str, Instant] = dict(spent_until or {})
        """Until when what a key has had is used up, if it gets no more."""
        self._enough = _FEW

    def room(self, key: str, now: Instant) -> int:
        """How many more ``key`` may have at ``now``."""
        return max(0, (self._patience - (self._spent(key, now) - now)) // self._interval + 1)

    def take(self, key: str, now: Instant) -> None:
        """``key`` has one more. Whether it may is asked before."""
        self._spent_until[key] = self._spent(key, now) + self._interval
        if len(self._spent_until) > self._enough:
            self._spent_until = {key: until_at for key, until_at in self._spent_until.items() if until_at > now}
            self._enough = max(_FEW, 2 * len(self._spent_until))

    def opens_at(self, key: str, now: Instant) -> Instant:
        """When ``key`` may have the next one, perhaps already."""
        return max(now, self._spent(key, now) - self._patience)

    def copy(self) -> Pace:
        """Another one that stands where this one stands, for trying out what may be."""
        return Pace(self._per_minute, burst=self._burst, spent_until=self._spent_until)

    def _spent(self, key: str, now: Instant) -> Instant:
        """Never longer than a full burst lasts: a clock set back must not shut anybody out for as long."""
        return max(now, min(self._spent_until.get(key, now), now + self._patience + self._interval))
