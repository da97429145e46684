"""The checker's own reading of schedules: six fields of which only the first, the seconds, is restricted."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000


def due_times(schedule: str, after: int, until: int) -> list[int]:
    """The due times of ``schedule`` (lines make a union) in ``(after, until]``, ascending, in epoch microseconds."""
    seconds = set().union(*(_seconds_of(line) for line in schedule.splitlines()))
    first = after // SECOND + 1
    return [second * SECOND for second in range(first, until // SECOND + 1) if second % 60 in seconds]


def run_id_of(webhook_id: str, scheduled_at: int) -> str:
    """The identity that a scheduled run must have: UUIDv5 of its whole-second time, in the namespace of its webhook."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=scheduled_at)
    return str(uuid.uuid5(uuid.UUID(webhook_id), moment.strftime("%Y-%m-%dT%H:%M:%SZ")))


def _seconds_of(line: str) -> set[int]:
    field, *rest = line.split()
    if rest != ["*"] * 5:
        raise ValueError(f"this oracle reads schedules of seconds only, not {line!r}")
    return set().union(*(_part(part) for part in field.split(",")))


def _part(part: str) -> set[int]:
    span, _, step = part.partition("/")
    low, _, high = span.partition("-")
    first = 0 if low == "*" else int(low)
    last = 59 if low == "*" else int(high or low)
    return set(range(first, last + 1, int(step or 1)))
