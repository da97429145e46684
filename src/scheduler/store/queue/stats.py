"""The depth of the queue, its oldest execution and the newest row, cheap enough to be read every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.clock import Instant
from scheduler.domain.runs.execution import Hold
from scheduler.store.database import Database
from scheduler.store.ids import instant_of

COUNTED_TO = 10_000
"""Counting stops here, so that a deep queue takes no longer."""

_IN_LANE = f"status = 'queued' AND held = {Hold.BACKLOG}"
# From lane to lane by the index on (lane, available_at), a seek each: a lane may have any number of executions.
_OLDEST_IN_LANES = f"""
WITH RECURSIVE lanes (lane) AS (
  SELECT MIN(lane) FROM executions WHERE {_IN_LANE}
  UNION ALL
  SELECT (SELECT MIN(e.lane) FROM executions e WHERE {_IN_LANE} AND e.lane > lanes.lane)
  FROM lanes WHERE lane IS NOT NULL
)
SELECT MIN((SELECT MIN(e.available_at) FROM executions e WHERE {_IN_LANE} AND e.lane = lanes.lane)) FROM lanes
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """The queue at one moment; the counts end at ``COUNTED_TO``."""

    ready: int
    """Executions that could start if there were free slots."""
    planned: int
    """Executions for later, retries mostly."""
    in_lanes: int
    """Executions that wait for the share of their account or the limit of their receiver's host."""
    jobs_waiting: int
    """Enabled jobs that have no next time, as it cannot be computed now."""
    oldest_ready_at: Instant | None
    """Since when the oldest of them has been ready."""
    oldest_in_lanes_at: Instant | None
    """Since when the oldest that waits for a share or a limit could have started otherwise."""
    next_due_at: Instant | None
    """When the next job is due, perhaps already."""


async def depth(db: Database, now: Instant) -> Depth:
    """The depth of the queue, by one statement over partial indexes."""
    counted = "SELECT COUNT(*) FROM (SELECT 1 AS one FROM executions WHERE status = 'queued' AND {} LIMIT :most) n"
    row = await db.fetch_one(
        f"""
        SELECT ({counted.format(f"held = {Hold.NONE} AND available_at <= :now")}) AS ready,
          ({counted.format(f"held = {Hold.NONE} AND available_at > :now")}) AS planned,
          ({counted.format(f"held = {Hold.BACKLOG}")}) AS in_lanes,
          ({_OLDEST_IN_LANES}) AS in_lanes_since,
          (SELECT COUNT(*) FROM jobs WHERE enabled = 1 AND next_run_at IS NULL) AS jobs_waiting,
          (SELECT MIN(available_at) FROM executions WHERE status = 'queued' AND held = {Hold.NONE}) AS oldest_at,
          (SELECT MIN(next_run_at) FROM jobs WHERE next_run_at IS NOT NULL) AS due_at
        """,
        {"now": now, "most": COUNTED_TO},
    )
    assert row is not None  # noqa: S101 - there is no FROM
    oldest_at = row["oldest_at"]
    return Depth(
        ready=row["ready"],
        planned=row["planned"],
        in_lanes=row["in_lanes"],
        jobs_waiting=row["jobs_waiting"],
        oldest_ready_at=oldest_at if oldest_at is not None and oldest_at <= now else None,
        oldest_in_lanes_at=row["in_lanes_since"],
        next_due_at=row["due_at"],
    )


async def newest_at(db: Database) -> Instant | None:
    """When the newest job or execution was made; ``None`` when there are none."""
    rows = [await db.fetch_one(f"SELECT MAX(id) AS id FROM {table}") for table in ("jobs", "executions")]
    return max((instant_of(row["id"]) for row in rows if row and row["id"]), default=None)
