"""What a computation costs, in a unit that is as slow as the machine is at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable


def units(compute: Callable[[], object], *, prepare: Callable[[], None] = lambda: None, enough: float = 0.0) -> float:
    """How many units it takes, in the best of three cases, or in the first that takes less than ``enough``.

    A unit is a loop of about a millisecond. ``prepare`` is called before each case and does not count.
    """
    ratios: list[float] = []
    while len(ratios) < 3 and (not ratios or ratios[-1] >= enough):
        prepare()
        started = time.thread_time()
        compute()
        ratios.append((time.thread_time() - started) / _unit_s())
    return min(ratios)


def _unit_s() -> float:
    started = time.thread_time()
    total = 0
    for number in range(24_000):
        total += number & 7
    return time.thread_time() - started
