"""Limits how often something happens: so many times a minute, counted for each of many keys. Time is an argument."""

from __future__ import annotations

from scheduler.domain.clock import SECOND, Instant

_MINUTE = 60 * SECOND
_SWEEP_FROM_KEYS = 1024
"""So many keys are kept before those whose burst is full again are removed."""


class RateLimiter:
    """Allows each key ``per_minute`` in the long run and ``burst`` at once: the generic cell rate algorithm (GCRA).

    A key is stored as one number, its theoretical arrival time (TAT), until its burst is full again.
    """

    def __init__(self, per_minute: int, *, burst: int) -> None:
        self._interval = max(1, _MINUTE // per_minute)
        self._burst_tolerance = (burst - 1) * self._interval
        self._arrivals: dict[str, Instant] = {}
        """The TAT of each key: when its next use would be due if its uses came evenly."""
        self._sweep_at_keys = _SWEEP_FROM_KEYS

    @property
    def keys_kept(self) -> int:
        """How many keys are stored now."""
        return len(self._arrivals)

    def room(self, key: str, now: Instant) -> int:
        """How many uses ``key`` has left at ``now``."""
        return max(0, (self._burst_tolerance - (self._arrival(key, now) - now)) // self._interval + 1)

    def take(self, key: str, now: Instant) -> None:
        """Count one use of ``key``, whether there is room or not: the caller checks that first."""
        self._arrivals[key] = self._arrival(key, now) + self._interval
        if len(self._arrivals) > self._sweep_at_keys:
            self._arrivals = {key: arrival_at for key, arrival_at in self._arrivals.items() if arrival_at > now}
            self._sweep_at_keys = max(_SWEEP_FROM_KEYS, 2 * len(self._arrivals))

    def opens_at(self, key: str, now: Instant) -> Instant:
        """When ``key`` has room for one use: ``now`` or later."""
        return max(now, self._arrival(key, now) - self._burst_tolerance)

    def _arrival(self, key: str, now: Instant) -> Instant:
        """The TAT of ``key``, at most one full burst ahead, so that a clock that is set back does not block the key."""
        return max(now, min(self._arrivals.get(key, now), now + self._burst_tolerance + self._interval))
