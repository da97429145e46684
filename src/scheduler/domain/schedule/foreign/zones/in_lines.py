"""A time zone in a line of a schedule, where it is not ``CRON_TZ=`` in front of it."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.hint import Hint
from scheduler.domain.schedule.foreign.zones.names import meant_zone, names_zone, sure_zone

_IN_FRONT = re.compile(r"(?:CRON_TZ|TZ|TIMEZONE|TIME_ZONE|ZONE)\s*[=:]\s*([^\s\"']+)[\s;,]*(.*)", re.IGNORECASE)


def recognise(line: str) -> Hint | None:
    """``cron_tz=Europe/Paris 0 2 * * *``, ``0 2 * * * Europe/Paris``, ``0 2 * * * (UTC)``."""
    match = _IN_FRONT.fullmatch(line)
    if match is not None:
        zone = sure_zone(match[1])
        what = "sets a time zone: that is CRON_TZ=Europe/Paris before the expression, in upper case, or timezone"
        return Hint(what=what, write=(f"CRON_TZ={zone} {match[2]}",) if zone and match[2] else ())
    words = line.split(" ")
    for length in (1, 2, 3, 4):
        if len(words) <= length + 1:
            break
        for name, rest in (
            (" ".join(words[-length:]), words[:-length]),
            (" ".join(words[:length]), words[length:]),
        ):
            if _names_a_zone(name):
                return _beside(name.strip("()[],"), " ".join(rest))
    return None


def _beside(name: str, rest: str) -> Hint:
    zone = sure_zone(name)
    if zone is None:
        return Hint(what="has a time zone in it", more=f"the zone goes into timezone: {meant_zone(name)}")
    return Hint(
        what="has a time zone in it, which goes into timezone or in front",
        write=(f"CRON_TZ={zone} {rest}",),
        more=f"or timezone: {zone}",
    )


def _names_a_zone(name: str) -> bool:
    name = name.strip("()[],")
    looks = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./ +:-]{2,}|[+-][0-9]{1,2}:[0-9]{2}", name)
    return bool(looks) and name.upper() not in ("MON", "SAT", "SUN", "MAR") and names_zone(name)
