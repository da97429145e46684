"""Holds queued executions and releases them: the column ``held``, see ``Hold``."""

from __future__ import annotations

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.runs.execution import Hold
from scheduler.store.database import Transaction

HOLD_BY_JOB = f"""
CASE WHEN j.enabled = 0 AND (j.disabled_by IS NULL OR j.disabled_by = '{DisabledBy.FAILING}')
  THEN {Hold.PAUSED} ELSE {Hold.NONE} END
"""
"""``held`` of an execution of job ``j``. The last runs and retries of a job that has ended go on."""

RELEASE_BUFFERED = f"""
UPDATE executions SET held = (SELECT {HOLD_BY_JOB} FROM jobs j WHERE j.id = executions.job_id)
WHERE id IN (
  SELECT b.id FROM executions b WHERE b.held = {Hold.BUFFERED} AND b.status = 'queued' AND NOT EXISTS (
    SELECT 1 FROM executions o WHERE o.job_id = b.job_id
      AND (o.status = 'running' OR (o.status = 'queued' AND o.held <> {Hold.BUFFERED}))
  ) FOR NO KEY UPDATE OF b SKIP LOCKED
)
"""
"""Release the buffered runs whose job has no other active run; a partial index makes the search cheap."""


PAUSED_TOO_LONG = "paused for longer than max_age_seconds"
"""The reason of held executions that were skipped when their job was enabled again."""


async def hold(tx: Transaction, job_id: str) -> None:
    """Hold the queued executions of a job that was just paused."""
    await tx.execute(
        f"""
        UPDATE executions SET held = {Hold.PAUSED}
        WHERE job_id = :job_id AND status = 'queued' AND held IN ({Hold.NONE}, {Hold.BACKLOG})
        """,
        {"job_id": job_id},
    )


async def release(tx: Transaction, job_id: str, now: Instant, *, deadline: Instant) -> int:
    """Release the held executions of a job that is enabled; those that have waited since before ``deadline`` are
    skipped.

    Returns how many were skipped. A first attempt becomes available ``now``, so that the pause does not count as delay.
    """
    skipped = await tx.fetch_all(
        f"""
        UPDATE executions SET status = 'skipped', reason = :reason, finished_at = :now
        WHERE job_id = :job_id AND status = 'queued' AND held = {Hold.PAUSED} AND budget_at < :deadline RETURNING id
        """,
        {"job_id": job_id, "now": now, "deadline": deadline, "reason": PAUSED_TOO_LONG},
    )
    await tx.execute(
        f"""
        UPDATE executions SET held = {Hold.NONE},
          available_at = CASE WHEN attempt = 1 AND available_at < :now THEN :now ELSE available_at END
        WHERE job_id = :job_id AND status = 'queued' AND held = {Hold.PAUSED}
        """,
        {"job_id": job_id, "now": now},
    )
    return len(skipped)
