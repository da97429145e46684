"""Says what a change of the clocks does: to the times of a line, and on a given day."""

from __future__ import annotations

from scheduler.domain.schedule.lines import ZonedCron
from scheduler.domain.schedule.zones import Zone

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


def _keeps_its_offset(zone: Zone) -> bool:
    """Is it a zone whose clocks have never been changed, by its name?"""
    return zone.name.startswith("Etc/") or zone.name in ("UTC", "GMT", "UCT", "Zulu", "Universal", "Greenwich")
