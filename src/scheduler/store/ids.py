"""Time-ordered identifiers: UUIDv7 (RFC 9562), so that sorting by id is sorting by creation."""

from __future__ import annotations

import random

from scheduler.domain.clock import Instant

last_tick = 0
"""The time of the newest id, in 4096ths of a millisecond. Tests with a clock of their own reset it."""


def new_id(now: Instant) -> str:
    """A new UUIDv7 for a row made at ``now``; ids of one process always grow, also within a microsecond.

    The 12 bits behind the millisecond hold its fraction (RFC 9562, section 6.2, method 3), one more than the last
    id's when the clock stands still or steps back.
    """
    global last_tick  # noqa: PLW0603 - one sequence per process is the point
    millis, micros = divmod(now, 1000)
    last_tick = tick = max((millis << 12) | (micros * 4096 // 1000), last_tick + 1)
    high = f"{(tick >> 12) << 16 | 0x7000 | tick & 0xFFF:016x}"
    low = f"{0b10 << 62 | random.getrandbits(62):016x}"
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-{low[:4]}-{low[4:]}"


def instant_of(row_id: str) -> Instant:
    """When the row with this id was made, to the millisecond."""
    return int(row_id[:8] + row_id[9:13], 16) * 1000


def first_id(at: Instant) -> str:
    """The least id that a row made at ``at``, or later, can have."""
    high = f"{(at // 1000) << 16 | 0x7000:016x}"
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-8000-000000000000"
