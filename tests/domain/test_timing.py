"""Timing: due times within bounds, and the time zone that a user names."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.domain.clock import Instant, format_instant, parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.timing import Timing, without_timing

ANCHOR = parse_instant("2026-06-01T00:00:00Z")


def timing(**fields: Any) -> Timing:
    return Timing.of({"schedule": "0 * * * *", **fields}, now=ANCHOR)


def at(text: str) -> int:
    return parse_instant(f"2026-06-01T{text}Z")


def shown(due_at: Instant | None) -> str | None:
    """The time of day; ``None`` for none."""
    return None if due_at is None else format_instant(due_at)[11:19]


BOUNDED = timing(starts_at=at("02:00:00"), ends_at=at("05:00:00"))


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("00:00:00", "02:00:00"),  # the start is included
        ("02:00:00", "03:00:00"),
        ("03:30:00", "04:00:00"),
        ("04:00:00", None),  # the end is not
        ("09:00:00", None),
    ],
)
def test_the_next_due_time_is_within_the_bounds(after: str, due: str | None) -> None:
    assert shown(BOUNDED.next_after(at(after))) == due


@pytest.mark.parametrize(
    ("start", "end", "due"),
    [
        ("00:00:00", "09:00:00", "04:00:00"),
        ("00:00:00", "03:00:00", "03:00:00"),  # windows include both ends
        ("03:00:00", "03:00:00", "03:00:00"),
        ("00:00:00", "01:00:00", None),
        ("05:00:00", "09:00:00", None),
        ("03:10:00", "03:50:00", None),
    ],
)
def test_the_latest_due_time_of_a_window_is_within_the_bounds(start: str, end: str, due: str | None) -> None:
    assert shown(BOUNDED.latest_between(at(start), at(end))) == due


def test_only_fire_times_within_the_bounds_are_due() -> None:
    due = [hour for hour in range(24) if BOUNDED.is_due(at(f"{hour:02}:00:00"))]
    assert due == [2, 3, 4]
    assert not BOUNDED.is_due(at("02:30:00"))
    assert BOUNDED.without_bounds().is_due(at("23:00:00"))


def test_without_bounds_a_window_stays_as_it_is() -> None:
    assert timing().clipped(1, 2) == (1, 2)
    assert BOUNDED.clipped(0, at("09:00:00")) == (at("02:00:00"), at("05:00:00") - 1)


@pytest.mark.parametrize(
    ("fields", "zone"),
    [
        ({}, "UTC"),
        ({"timezone": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"schedule": "CRON_TZ=Europe/Paris 0 2 * * *"}, "Europe/Paris"),
    ],
)
def test_the_time_zone_comes_from_the_user_or_from_the_schedule(fields: dict[str, Any], zone: str) -> None:
    assert timing(**fields).timezone == zone


def test_a_new_schedule_keeps_the_time_zone_unless_it_names_another() -> None:
    before = timing(timezone="Asia/Tokyo")
    assert before.changed({"schedule": "0 5 * * *"}, now=ANCHOR).timezone == "Asia/Tokyo"
    assert before.changed({"schedule": "CRON_TZ=Europe/Paris 0 5 * * *"}, now=ANCHOR).timezone == "Europe/Paris"
    assert before.changed({"schedule": "0 5 * * *", "timezone": "UTC"}, now=ANCHOR).timezone == "UTC"
    assert before.changed({"name": "other"}, now=ANCHOR) == before


def test_intervals_count_from_the_anchor_that_was_given() -> None:
    every = timing(schedule="@every 1h")
    assert (every.anchor_at, every.next_after(at("00:10:00"))) == (ANCHOR, at("01:00:00"))
    moved = timing(schedule="@every 1h", anchor_at=at("00:15:00"))
    assert format_instant(moved.next_after(at("00:20:00")) or 0) == "2026-06-01T01:15:00Z"


def test_other_values_of_a_job_are_none_of_its_timing() -> None:
    given = {"name": "x", "schedule": "0 5 * * *", "ends_at": None, "max_runs": 3}
    assert without_timing(given) == {"name": "x", "max_runs": 3}
    assert Timing.of(given, now=ANCHOR) == Timing(schedule="0 5 * * *", anchor_at=ANCHOR)


def test_a_schedule_that_names_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(SchedulerError, match="not an IANA time zone"):
        timing(schedule="CRON_TZ=Gone/Zone 0 2 * * *")
