"""Says what a change of the clocks does: to the times of a line, and on a given day."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.domain.clock import SECOND, format_instant
from scheduler.domain.schedule.lines import Line, ZonedCron
from scheduler.domain.schedule.zones import DAY_S, Zone

_SKIPPED = {True: "run right after the change, as one", False: "do not run"}
_REPEATED = {True: "run once", False: "run twice"}


def on_change(line: ZonedCron, *, is_wildcard: bool) -> str:
    """In brackets, what a change of the clocks does, where that is not what the words of the line lead to expect.

    ``is_wildcard``: the words are those of a line whose minute or hour starts with ``*``. Such a line is expected to
    follow the clock, any other one to run once a day for each of its times.
    """
    expects = not is_wildcard
    if (line.moves, line.once) == (expects, expects) or _keeps_its_offset(line.zone):
        return ""
    return f" (times that the clocks skip {_SKIPPED[line.moves]}, times that they repeat {_REPEATED[line.once]})"


def told_change(lines: Sequence[Line], zone: Zone, second: int, *, dst_policy: str) -> str:
    """How the clocks change on the local day of an epoch second, and what that does to the lines; empty if it does not.

    Lines that do not depend on the zone are ignored.
    """
    zoned = [line for line in lines if isinstance(line, ZonedCron)]
    change = _change_on_day(zone, second) if zoned else None
    if change is None:
        return ""
    before, after = (_clock(change + zone.offset_at(moment)) for moment in (change - 1, change))
    is_forward = zone.offset_at(change) > zone.offset_at(change - 1)
    kinds = {line.moves if is_forward else line.once for line in zoned}
    effects = " or ".join((_SKIPPED if is_forward else _REPEATED)[kind] for kind in sorted(kinds, reverse=True))
    by_line = ", line by line" if len(kinds) > 1 else ""
    return (
        f"the clocks of {zone.name} went {'forward' if is_forward else 'back'} that day, from {before} to {after}, at "
        f"{format_instant(change * SECOND)}: by dst_policy {dst_policy} times in between {effects}{by_line}"
    )


def _change_on_day(zone: Zone, second: int) -> int | None:
    """The first second of the first new offset on the local day of ``second``, or at its end."""
    midnight = second - (second + zone.offset_at(second)) % DAY_S
    start = midnight - DAY_S // 4
    while start < midnight + DAY_S + DAY_S // 4:
        start = zone.piece_at(start).end
        if zone.offset_at(start) == zone.offset_at(start - 1):
            continue
        days = {(start + zone.offset_at(moment)) // DAY_S for moment in (start - 1, start)}
        if (second + zone.offset_at(second)) // DAY_S in days:
            return start
    return None


def _clock(wall: int) -> str:
    hour, rest = divmod(wall % DAY_S, 3600)
    minute, second = divmod(rest, 60)
    return f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if second else "")


def _keeps_its_offset(zone: Zone) -> bool:
    """Is it a zone whose clocks have never been changed, by its name?"""
    return zone.name.startswith("Etc/") or zone.name in ("UTC", "GMT", "UCT", "Zulu", "Universal", "Greenwich")
