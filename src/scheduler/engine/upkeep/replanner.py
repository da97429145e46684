"""Replanning: computes the next times of jobs anew when the rules of their time zone have changed.

At the start the zone data may be others than those that the jobs were planned by, and they may be updated under a
running service. Rules change at one instant for all jobs of a zone (``since_at``): what was due before still fires as
it was planned, what is due from then on is due by the new rules. The clocks of the zone jump at that instant as they
do at any transition, so a time that is skipped or repeated is treated as ``dst_policy`` says, and none is lost or
doubled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import attrgetter

from scheduler.domain.clock import SECOND, Clock, Instant, format_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, JobPlanned
from scheduler.domain.jobs.changes import replan, resume
from scheduler.domain.jobs.job import Job
from scheduler.domain.schedule.zone_data import ZoneData, find_zone_data, is_newer
from scheduler.domain.schedule.zones import (
    have_same_rules,
    is_zone,
    use_zone_data,
    zone_data,
    zone_rules,
    zone_stamp,
)
from scheduler.store.jobs.zones import ZoneRules, ZoneStore

_LEAD_S = 10
"""In a running service new rules hold a little later: until then their jobs are planned, so none fires by the old."""

log = logging.getLogger(__name__)


class Replanner:
    """Follows the zone data: at the start, and when they change."""

    def __init__(self, *, zones: ZoneStore, clock: Clock, events: Events) -> None:
        self._zones = zones
        self._clock = clock
        self._events = events
        self.jobs_in_unknown_zones = 0
        """How many jobs have a time zone that the data lack, as counted by ``count_unknown``."""
        self._seen: Mapping[str, object] = {}
        self._adopted: Mapping[str, bytes] = {}
        """Rules in the database from newer data than this node has: nodes are updated one after the other."""

    async def start(self) -> None:
        """Plan by the present zone data what was planned by others. Called before anything fires."""
        since_at = (self._clock.now() // SECOND + 1) * SECOND
        await self._follow(await self._zones.all(), since_at=since_at, is_running=False)
        await self._resume()

    async def look(self) -> None:
        """Plan the affected jobs anew when the zone data have changed since the last look, here or on another node."""
        known = await self._zones.all()
        if _look_at(known) != self._seen or any(zone.planned_to is not None for zone in known):
            since_at = (self._clock.now() // SECOND + _LEAD_S) * SECOND
            await self._follow(known, since_at=since_at, is_running=True)
            await self.count_unknown()
        await self._resume()

    async def count_unknown(self) -> None:
        """Count the jobs whose time zone the data lack, and name those zones in the log. Reads all jobs."""
        jobs = await self._zones.count_by_zone()
        await self._zones.register(jobs)
        unknown = {name: count for name, count in jobs.items() if not is_zone(name)}
        self.jobs_in_unknown_zones = sum(unknown.values())
        if unknown:
            about = {"zones": ", ".join(ascii(name[:64]) for name in sorted(unknown)), "zone_data": str(zone_data())}
            log.warning("the time zone data lack the zones of %d jobs", self.jobs_in_unknown_zones, extra=about)

    async def _resume(self) -> None:
        """Plan the jobs that wait without a next time, as far as their due times can be computed again."""
        last_id: str | None = ""
        while last_id is not None:
            found = await self._zones.resume(last_id, _resumed, self._clock.now())
            last_id = found.last_id
            self._tell_planned(found.resumed)
            for job in found.resumed:
                log.info("job %s has a next time again", job.id)

    async def _follow(self, known: Sequence[ZoneRules], *, since_at: Instant, is_running: bool) -> None:
        data = find_zone_data()
        use_zone_data(data, _former(known), self._adopted)
        adopted: dict[str, bytes] = {}
        for latest in _latest(known):
            if rules := await self._compare(latest, data, since_at=since_at, is_running=is_running):
                adopted[latest.name] = rules
        self._adopted = adopted
        known = await self._zones.all()
        use_zone_data(data, _former(known), adopted)
        changed = sorted((zone for zone in known if zone.planned_to is not None), key=attrgetter("since_at"))
        moved = 0
        for zone in changed:
            moved += await self._replan(zone, known)
        if changed:
            about = {"zones": ", ".join(sorted({zone.name for zone in changed})), "zone_data": str(data)}
            log.warning("the time zone data changed: %d jobs run at other times", moved, extra=about)
        self._seen = _look_at(known)

    async def _compare(self, latest: ZoneRules, data: ZoneData, *, since_at: Instant, is_running: bool) -> bytes | None:
        """Record the rules of the data if those on record are others; returns the latter where they are newer."""
        try:
            rules = zone_rules(latest.name)
        except LookupError:
            return None  # its jobs wait until the data have it again
        if latest.rules == rules:
            return None
        is_same = latest.rules is not None and have_same_rules(latest.name, latest.rules, rules)
        if latest.rules is not None and data.source != "operator" and is_newer(latest.version, data.version):
            if is_running and not is_same and self._adopted.get(latest.name) != latest.rules:
                # what this node planned by its own rules, after the change on another node, is affected as well
                await self._zones.change(latest, latest.rules, since_at=since_at, version=latest.version)
            return latest.rules
        if is_same:
            await self._zones.rewrite(latest, rules)
        else:
            await self._zones.change(latest, rules, since_at=since_at, version=data.version)
        return None

    async def _replan(self, zone: ZoneRules, known: Sequence[ZoneRules]) -> int:
        """Plan all jobs of a zone by its rules, slice by slice; returns how many have another next time."""
        reason = _reason(zone, known)
        rest: ZoneRules | None = zone
        moved = 0
        while rest is not None:
            rest, jobs = await self._zones.replan(rest, lambda job: _moved(job, zone.since_at, reason))
            moved += len(jobs)
            self._tell_planned(jobs)
        return moved

    def _tell_planned(self, jobs: Sequence[Job]) -> None:
        due_at = min((job.next_run_at for job in jobs if job.next_run_at is not None), default=None)
        if due_at is not None:
            self._events.tell(JobPlanned(due_at=due_at))


def _latest(known: Sequence[ZoneRules]) -> list[ZoneRules]:
    """Of each zone the rules on record that hold the longest."""
    return list({zone.name: zone for zone in known}.values())


def _look_at(known: Sequence[ZoneRules]) -> Mapping[str, object]:
    """What changes with the zone data, here by ``""``, and with each zone, in the files and on record."""
    data = find_zone_data()
    return {"": data} | {zone.name: (zone_stamp(data, zone.name), zone.since_at) for zone in known}


def _former(known: Sequence[ZoneRules]) -> Mapping[str, Sequence[tuple[int, bytes]]]:
    """The rules that held before the last ones, with the second from which on they held no more."""
    return {
        name: [
            (later.since_at // SECOND, earlier.rules)
            for earlier, later in pairwise(versions)
            if earlier.rules is not None
        ]
        for name, versions in groupby(known, key=attrgetter("name"))
    }


def _moved(job: Job, since_at: Instant, reason: str) -> tuple[Job, str] | None:
    try:
        planned = replan(job, since_at)
    except SchedulerError:
        return None  # it waits until its schedule can be parsed again
    if planned.next_run_at == job.next_run_at:
        return None
    times = [at for at in (job.next_run_at, planned.next_run_at) if at is not None]
    return planned, f"{reason}: {' became '.join(map(format_instant, times))}"


def _resumed(job: Job, waiting_since_at: Instant) -> Job | None:
    try:
        return resume(job, waiting_since_at)
    except SchedulerError:
        return None


def _reason(zone: ZoneRules, known: Sequence[ZoneRules]) -> str:
    versions = [other.version for other in known if other.name == zone.name and other.since_at < zone.since_at]
    releases = f"{(versions[-1] if versions else None) or 'unknown'} to {zone.version or 'unknown'}"
    return f"the rules of {zone.name} changed (zone data {releases})"
