"""The rules of the time zones of jobs: those that their next runs are computed by, and the former ones."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.accounts.audit import SERVICE
from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.schedule.zones import FIXED, zone_data, zone_rules
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.jobs.history import add_versions
from scheduler.store.jobs.job_table import JOBS
from scheduler.store.rows import Codec, Table
from scheduler.store.sql import in_list

SLICE = 500
"""Jobs that are planned anew in one transaction."""
_LOCK = "zones"
_RESUMED = "its due times can be computed again"


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneRules:
    """The rules of a time zone, which hold from ``since_at`` (included) until the next ones do."""

    name: str
    since_at: Instant
    rules: bytes | None
    """The compiled zone; ``None`` where it was not recorded."""
    version: str | None
    """The release of the zone data that it is from."""
    planned_to: str | None
    """The id up to which the jobs of the zone are planned by these rules; ``None``: all of them are."""


_RULES = Codec(encode=lambda rules: base64.b64encode(rules).decode("ascii"), decode=base64.b64decode)
_ZONES = Table(ZoneRules, codecs={"rules": _RULES})
_ONE = f"SELECT {_ZONES.columns()} FROM zones WHERE name = :name AND since_at = :since_at"
Replan = Callable[[Job], tuple[Job, str] | None]
"""The job with another next time, and why; ``None`` for one that keeps its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingJobs:
    """One slice of the jobs that wait without a next time."""

    last_id: str | None
    """The last of them; ``None`` when there are no more."""
    resumed: list[Job]
    """Those that have a next time again."""


class ZoneStore:
    """The time zones of all jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._registered: set[str] = set()

    async def register(self, names: Iterable[str]) -> None:
        """Record by which rules the jobs of these zones are planned, unless that is on record."""
        for name in {*names} - self._registered - {*FIXED}:
            try:
                rules = zone_rules(name)
            except LookupError:
                continue
            version = zone_data().version
            await self._register(ZoneRules(name=name, since_at=0, rules=rules, version=version, planned_to=None))
            self._registered.add(name)

    async def _register(self, zone: ZoneRules) -> None:
        async def register(tx: Transaction) -> None:
            if await self._latest(tx, zone.name) is None:
                await tx.execute(f"INSERT INTO zones {_ZONES.values()} ON CONFLICT DO NOTHING", _ZONES.encode(zone))

        await self._db.transaction(register)

    async def all(self) -> list[ZoneRules]:
        """What is on record, by name, the oldest rules of a zone first."""
        rows = await self._db.fetch_all(f"SELECT {_ZONES.columns()} FROM zones ORDER BY name, since_at")
        return [_ZONES.decode(row) for row in rows]

    async def rewrite(self, known: ZoneRules, rules: bytes) -> None:
        """Record the same rules as they are written down now."""

        async def rewrite(tx: Transaction) -> None:
            await tx.execute(
                "UPDATE zones SET rules = :rules WHERE name = :name AND since_at = :since_at",
                _ZONES.encode(replace(known, rules=rules)),
            )

        await self._db.transaction(rewrite)

    async def change(self, known: ZoneRules, rules: bytes, *, since_at: Instant, version: str | None) -> None:
        """Record that a zone has these rules from ``since_at`` on, unless others than the ``known`` are on record.

        All of its jobs are to be planned by them. ``version`` is the release that they are from.
        """

        async def change(tx: Transaction) -> None:
            await tx.advisory_lock(_LOCK)
            latest = await self._latest(tx, known.name)
            if latest is None or latest.since_at != known.since_at:
                return  # done by another node
            if latest.rules is None:
                await tx.execute("DELETE FROM zones WHERE name = :name", {"name": known.name})
            new = ZoneRules(
                name=known.name,
                since_at=max(since_at, latest.since_at + SECOND),
                rules=rules,
                version=version,
                planned_to="",
            )
            await tx.execute(f"INSERT INTO zones {_ZONES.values()}", _ZONES.encode(new))

        await self._db.transaction(change)

    async def _latest(self, tx: Transaction, name: str) -> ZoneRules | None:
        row = await tx.fetch_one(
            f"SELECT {_ZONES.columns()} FROM zones WHERE name = :name ORDER BY since_at DESC LIMIT 1", {"name": name}
        )
        return _ZONES.decode(row) if row else None

    async def replan(self, zone: ZoneRules, replan: Replan) -> tuple[ZoneRules | None, list[Job]]:
        """Plan the next jobs of a zone by its rules, those that are due at ``since_at`` or later.

        Returns the zone as it is then, ``None`` when all are planned, and the jobs that have another next time now.
        Several nodes may do this at the same time.
        """
        ids = [row["id"] for row in await self._next_jobs(zone)]

        async def work(tx: Transaction) -> tuple[ZoneRules | None, list[Job]]:
            await tx.advisory_lock(_LOCK)
            key = {"name": zone.name, "since_at": zone.since_at}
            row = await tx.fetch_one(
                f"SELECT {_ZONES.columns()} FROM zones WHERE name = :name AND since_at = :since_at", key
            )
            at_present = _ZONES.decode(row) if row else None
            if at_present is None or at_present.planned_to != zone.planned_to:
                is_done = at_present is None or at_present.planned_to is None
                return None if is_done else at_present, []  # continued by another node meanwhile
            moved = await self._replan_jobs(tx, zone, ids, replan)
            planned_to = ids[-1] if ids else None
            await tx.execute(
                "UPDATE zones SET planned_to = :planned_to WHERE name = :name AND since_at = :since_at",
                {**key, "planned_to": planned_to},
            )
            return (replace(at_present, planned_to=planned_to) if planned_to else None), moved

        return await self._db.transaction(work)

    async def resume(self, after_id: str, resume: Callable[[Job, Instant], Job | None], now: Instant) -> WaitingJobs:
        """Plan the next enabled jobs that have no next time, those with an id behind ``after_id``.

        ``resume`` gets each with the instant since which it has waited, and returns it with a next time, or ``None``.
        """
        rows = await self._db.fetch_all(
            "SELECT id FROM jobs WHERE enabled = 1 AND next_run_at IS NULL AND id > :after_id ORDER BY id LIMIT :limit",
            {"after_id": after_id, "limit": SLICE},
        )
        ids = [row["id"] for row in rows]

        async def work(tx: Transaction) -> list[Job]:
            placeholders, params = in_list(ids)
            found = await tx.fetch_all(
                f"""
                SELECT {JOBS.columns("j")},
                  (SELECT MAX(h.changed_at) FROM job_history h WHERE h.job_id = j.id) AS waiting_since_at
                FROM jobs j WHERE j.id IN ({placeholders}) AND j.enabled = 1 AND j.next_run_at IS NULL ORDER BY j.id
                FOR NO KEY UPDATE OF j
                """,
                params,
            )
            waiting = [(JOBS.decode(row), row["waiting_since_at"]) for row in found]
            planned = [resume(job, job.updated_at if since_at is None else since_at) for job, since_at in waiting]
            resumed = [job for job in planned if job is not None]
            await write_plans(tx, [(job, _RESUMED) for job in resumed], since_at=now)
            return resumed

        return WaitingJobs(last_id=ids[-1] if ids else None, resumed=await self._db.transaction(work) if ids else [])

    async def count_by_zone(self) -> dict[str, int]:
        """How many jobs each time zone has. Reads all jobs."""
        rows = await self._db.fetch_all("SELECT timezone, COUNT(*) AS n FROM jobs GROUP BY timezone")
        return {row["timezone"]: row["n"] for row in rows}

    async def _next_jobs(self, zone: ZoneRules) -> Sequence[Row]:
        return await self._db.fetch_all(
            # by the primary key, whose order it is: the index of next_run_at would be read anew for each slice
            """
            SELECT id FROM jobs
            WHERE id > :planned_to AND timezone = :name AND enabled = 1 AND +next_run_at >= :since_at
            ORDER BY id LIMIT :limit
            """,
            {"name": zone.name, "since_at": zone.since_at, "planned_to": zone.planned_to or "", "limit": SLICE},
        )

    async def _replan_jobs(self, tx: Transaction, zone: ZoneRules, ids: Sequence[str], replan: Replan) -> list[Job]:
        if not ids:
            return []
        placeholders, params = in_list(ids)
        rows = await tx.fetch_all(
            f"""
            SELECT {JOBS.columns("j")} FROM jobs j WHERE j.id IN ({placeholders}) AND j.timezone = :zone ORDER BY j.id
            FOR NO KEY UPDATE
            """,
            {**params, "zone": zone.name},
        )
        found = [replan(JOBS.decode(row)) for row in rows]
        moves = [one for one in found if one is not None]
        await write_plans(tx, moves, since_at=zone.since_at)
        return [job for job, _ in moves]


async def write_plans(tx: Transaction, moves: Sequence[tuple[Job, str]], *, since_at: Instant) -> None:
    """Write when jobs run next, with the reason in their history."""
    await tx.execute_many(
        """
        UPDATE jobs SET next_run_at = :next_run_at, enabled = :enabled, disabled_by = :disabled_by,
          disabled_reason = :disabled_reason, one_off_ended_at = :one_off_ended_at
        WHERE id = :id
        """,
        [
            {
                "id": job.id,
                "next_run_at": job.next_run_at,
                "enabled": int(job.enabled),
                "disabled_by": job.disabled_by,
                "disabled_reason": job.disabled_reason,
                "one_off_ended_at": job.one_off_ended_at,
            }
            for job, _ in moves
        ],
    )
    versions = [
        JobVersion(
            changed_at=since_at,
            changed_by=SERVICE,
            enabled=job.enabled,
            timing=job.timing,
            disabled_by=job.disabled_by,
            note=reason,
        )
        for job, reason in moves
    ]
    await add_versions(tx, versions, [job for job, _ in moves])
