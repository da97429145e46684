"""Limits how often something happens: so many times a minute, counted for each of many keys. Time is an argument."""

from __future__ import annotations

from scheduler.domain.clock import SECOND, Instant

_MINUTE = 60 * SECOND
_SWEEP_FROM_KEYS = 1024
"""Fewer keys than this are kept without looking which of them are spent no longer."""


class RateLimiter:
    """Allows each key ``per_minute`` in the long run and ``burst`` at once: the generic cell rate algorithm (GCRA).

    A key costs one number (its theoretical arrival time, TAT) for as long as its uses count, and nothing afterwards.
    """

    def __init__(self, per_minute: int, *, burst: int) -> None:
        self._interval = max(1, _MINUTE // per_minute)
        self._burst_tolerance = (burst - 1) * self._interval
        self._arrivals: dict[str, Instant] = {}
        """The TAT of each key: when its next use would be due if its uses came evenly."""
        self._sweep_at_keys = _SWEEP_FROM_KEYS

    @property
    def keys_kept(self) -> int:
        """How many keys cost memory at the moment."""
        return len(self._arrivals)

    def room(self, key: str, now: Instant) -> int:
        """How many uses ``key`` has left at ``now``."""
        return max(0, (self._burst_tolerance - (self._arrival(key, now) - now)) // self._interval + 1)

    def take(self, key: str, now: Instant) -> None:
        """Count one use of ``key``. The caller has asked before whether there is room."""
        self._arrivals[key] = self._arrival(key, now) + self._interval
        if len(self._arrivals) > self._sweep_at_keys:
            self._arrivals = {key: arrival_at for key, arrival_at in self._arrivals.items() if arrival_at > now}
            self._sweep_at_keys = max(_SWEEP_FROM_KEYS, 2 * len(self._arrivals))

    def opens_at(self, key: str, now: Instant) -> Instant:
        """When ``key`` has room for one use: ``now`` or later."""
        return max(now, self._arrival(key, now) - self._burst_tolerance)

    def _arrival(self, key: str, now: Instant) -> Instant:
        """The TAT of ``key``, at most one full burst ahead: a clock set back must not block a key for as long."""
        return max(now, min(self._arrivals.get(key, now), now + self._burst_tolerance + self._interval))
