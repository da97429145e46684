"""Which time zone data are in force, and zones whose rules change while they are in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scheduler.domain.clock import MAX_INSTANT, SECOND, Instant, format_instant, parse_instant
from scheduler.domain.schedule.text import parse_schedule
from scheduler.domain.schedule.zone_data import choose_zone_data, find_zone_data, is_compiled_zone, read_rules
from scheduler.domain.schedule.zones import (
    Zone,
    have_same_rules,
    is_zone,
    load_zone,
    use_zone_data,
    zone_data,
    zone_rules,
)
from tests.zones import compiled_zone, in_force, write_zone

WEST, EAST = compiled_zone(first=-8), compiled_zone(first=-7)


def fire_times(text: str, zone: str, after: str, count: int, *, dst_policy: str = "debian") -> list[Instant]:
    schedule = parse_schedule(text, timezone=zone, anchor_at=0, dst_policy=dst_policy)
    return schedule.between(parse_instant(after), MAX_INSTANT, count)


def _directory(path: Path, version: str | None, file: str = "tzdata.zi", prefix: str = "# version ") -> tuple[str, ...]:
    write_zone(path, "Test/City", EAST if version is None else WEST)
    if version is not None:
        (path / file).write_text(f"{prefix}{version}\n# more\n")
    return (str(path),)


@pytest.mark.parametrize(
    ("system", "package", "source", "version"),
    [
        ("2025b", "2026a", "package", "2026a"),
        ("2026a", "2025b", "system", "2026a"),
        ("2026a", "2026a", "system", "2026a"),
        ("2025z", "2025aa", "package", "2025aa"),
        ("2026a-rearguard", "2025c", "system", "2026a-rearguard"),
        (None, "2026a", "package", "2026a"),
        (None, None, "system", None),
    ],
)
def test_the_newer_release_of_the_two_is_in_force(
    tmp_path: Path, system: str | None, package: str | None, source: str, version: str | None
) -> None:
    path, packaged = _directory(tmp_path / "system", system), _directory(tmp_path / "package", package)
    data = choose_zone_data(path, packaged, by_operator=False)
    assert (data.source, data.version) == (source, version)
    assert data.directories[0] == {"system": path, "package": packaged}[source][0]


def test_what_an_operator_names_goes_before_a_newer_release(tmp_path: Path) -> None:
    path, packaged = _directory(tmp_path / "mine", "2020a"), _directory(tmp_path / "package", "2026a")
    data = choose_zone_data(path, packaged, by_operator=True)
    assert str(data) == "2020a, from PYTHONTZPATH"
    assert data.directories == (*path, *packaged)


@pytest.mark.parametrize(("file", "prefix"), [("tzdata.zi", "# version "), ("+VERSION", ""), ("version", "")])
def test_the_release_is_read_from_the_files_that_systems_have(tmp_path: Path, file: str, prefix: str) -> None:
    path = _directory(tmp_path, "2026b", file, prefix)
    assert choose_zone_data(path, (), by_operator=False).version == "2026b"


def test_a_zone_that_the_newer_data_lack_comes_from_the_others(tmp_path: Path) -> None:
    path, packaged = _directory(tmp_path / "system", "2025b"), _directory(tmp_path / "package", "2026a")
    write_zone(tmp_path / "system", "Test/Old", EAST)
    data = choose_zone_data(path, packaged, by_operator=False)
    assert read_rules(data, "Test/Old") == EAST
    with pytest.raises(LookupError):
        read_rules(data, "Test/None")


def test_the_data_of_this_process_name_a_release_and_have_every_zone() -> None:
    assert find_zone_data() == zone_data()
    assert zone_data().version
    assert all(is_zone(name) for name in ("Europe/Paris", "America/Vancouver", "UTC", "US/Pacific", "Etc/GMT+5"))
    assert not any(is_zone(name) for name in ("Mars/Base", "../etc/passwd", "Europe", "", "right/UTC", "x" * 70))


def test_a_file_that_is_cut_short_is_no_zone() -> None:
    for rules in (WEST, zone_rules("America/Vancouver")):
        assert [size for size in range(len(rules) + 1) if is_compiled_zone(rules[:size])] == [len(rules)]
    assert not is_compiled_zone(os.urandom(500))


def test_rules_are_the_same_however_they_are_written_down() -> None:
    listed = compiled_zone((parse_instant("2001-01-01T00:00:00Z") // SECOND, -8), first=-8)
    assert have_same_rules("Test/City", WEST, listed)
    assert not have_same_rules("Test/City", WEST, EAST)


def _zone(*rules: tuple[str, bytes], last: bytes) -> Zone:
    former = [(parse_instant(until) // SECOND, former) for until, former in rules]
    with in_force({"Test/City": last}, {"Test/City": former}):
        return load_zone("Test/City")


def test_a_zone_keeps_what_its_clocks_showed_before_its_rules_changed() -> None:
    zone = _zone(("2026-12-15T09:30:00Z", WEST), last=EAST)
    times = ["2026-12-15T09:29:59Z", "2026-12-15T09:30:00Z"]
    assert [zone.offset_at(parse_instant(time) // SECOND) // 3600 for time in times] == [-8, -7]


@pytest.mark.parametrize(
    ("schedule", "policy", "expected"),
    [
        # The clocks jump from 01:30 to 02:30: a time at 2 was lost, and runs right after the change, or not.
        ("0 2 * * *", "debian", ["14T10:00", "15T09:30", "16T09:00"]),
        ("0 2 * * *", "skip", ["14T10:00", "16T09:00"]),
        ("0 2 * * *", "literal", ["14T10:00", "16T09:00"]),
        ("0 3 * * *", "debian", ["14T11:00", "15T10:00", "16T10:00"]),
    ],
)
def test_a_change_of_the_rules_that_skips_times_loses_none(schedule: str, policy: str, expected: list[str]) -> None:
    with in_force({"Test/City": EAST}, {"Test/City": [(parse_instant("2026-12-15T09:30:00Z") // SECOND, WEST)]}):
        found = fire_times(schedule, "Test/City", "2026-12-14T09:00:00Z", len(expected), dst_policy=policy)
    assert [format_instant(at)[8:16] for at in found] == expected


@pytest.mark.parametrize(
    ("schedule", "policy", "expected"),
    [
        # The clocks go back from 02:30 to 01:30: a time at 2 comes twice, and runs the first time only, or both times.
        ("0 2 * * *", "debian", ["14T09:00", "15T09:00", "16T10:00"]),
        ("0 2 * * *", "skip", ["14T09:00", "15T09:00", "16T10:00"]),
        ("0 2 * * *", "literal", ["14T09:00", "15T09:00", "15T10:00"]),
        ("45 2 * * *", "debian", ["14T09:45", "15T10:45", "16T10:45"]),
        ("0 * * * *", "debian", ["14T09:00", "14T10:00", "14T11:00"]),
    ],
)
def test_a_change_of_the_rules_that_repeats_times_doubles_none(schedule: str, policy: str, expected: list[str]) -> None:
    with in_force({"Test/City": WEST}, {"Test/City": [(parse_instant("2026-12-15T09:30:00Z") // SECOND, EAST)]}):
        found = fire_times(schedule, "Test/City", "2026-12-14T08:30:00Z", len(expected), dst_policy=policy)
    assert [format_instant(at)[8:16] for at in found] == expected


def test_a_change_of_the_rules_may_come_right_after_a_transition() -> None:
    """From -7 to -8 by the old rules at noon of the 1st, and by the new ones, from the 2nd on, back to -7."""
    winter = compiled_zone((parse_instant("2026-11-01T12:00:00Z") // SECOND, -8), first=-7)
    with in_force({"Test/City": EAST}, {"Test/City": [(parse_instant("2026-11-02T12:00:00Z") // SECOND, winter)]}):
        found = fire_times("0 6 * * *", "Test/City", "2026-10-31T00:00:00Z", 4)
    assert [format_instant(at)[:16] for at in found] == [
        "2026-10-31T13:00",
        "2026-11-01T14:00",
        "2026-11-02T13:00",
        "2026-11-03T13:00",
    ]


def test_other_data_change_what_was_parsed_before(tmp_path: Path) -> None:
    with in_force({"Test/City": WEST}):
        assert fire_times("0 2 * * *", "Test/City", "2026-12-14T00:00:00Z", 1) == [
            parse_instant("2026-12-14T10:00:00Z")
        ]
        with in_force({"Test/City": EAST}):
            (found,) = fire_times("0 2 * * *", "Test/City", "2026-12-14T00:00:00Z", 1)
    assert found == parse_instant("2026-12-14T09:00:00Z")
    use_zone_data(find_zone_data(), {})
    assert not is_zone("Test/City")
