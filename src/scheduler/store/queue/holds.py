"""What keeps a queued execution from starting: its job is paused (``held`` 1), a previous run is active (2).

Or it waits in a lane, because its account or its receiver's host has its share of the pool (3).
"""

from __future__ import annotations

from scheduler.domain.clock import Instant
from scheduler.domain.jobs.auto_disable import FAILING
from scheduler.store.database import Transaction

PAUSED = f"""
CASE WHEN j.enabled = 0 AND (j.disabled_reason IS NULL OR j.disabled_reason LIKE '{FAILING}:%') THEN 1 ELSE 0 END
"""
"""``held`` of an execution of job ``j``. One that is through is disabled, too, but its last runs and retries go on."""

RELEASE_BUFFERED = f"""
UPDATE executions SET held = (SELECT {PAUSED} FROM jobs j WHERE j.id = executions.job_id)
WHERE id IN (
  SELECT b.id FROM executions b WHERE b.held = 2 AND b.status = 'queued' AND NOT EXISTS (
    SELECT 1 FROM executions o WHERE o.job_id = b.job_id
      AND (o.status = 'running' OR (o.status = 'queued' AND o.held <> 2))
  ) FOR NO KEY UPDATE OF b SKIP LOCKED
)
"""
"""Let go the runs whose predecessors are all gone; a partial index makes looking free."""


async def hold(tx: Transaction, job_id: str) -> None:
    """Hold what is queued for a job that is paused now."""
    await tx.execute(
        "UPDATE executions SET held = 1 WHERE job_id = :job_id AND status = 'queued' AND held IN (0, 3)",
        {"job_id": job_id},
    )


async def release(tx: Transaction, job_id: str, now: Instant, *, deadline: Instant) -> int:
    """Release what was held for a job that goes on; what has waited since before ``deadline`` is skipped.

    Returns how many were skipped. A first attempt is available from now on: the pause is none of its delay.
    """
    skipped = await tx.fetch_all(
        """
        UPDATE executions SET status = 'skipped', reason = 'paused for longer than max_age_seconds', finished_at = :now
        WHERE job_id = :job_id AND status = 'queued' AND held = 1 AND budget_at < :deadline RETURNING id
        """,
        {"job_id": job_id, "now": now, "deadline": deadline},
    )
    await tx.execute(
        """
        UPDATE executions SET held = 0,
          available_at = CASE WHEN attempt = 1 AND available_at < :now THEN :now ELSE available_at END
        WHERE job_id = :job_id AND status = 'queued' AND held = 1
        """,
        {"job_id": job_id, "now": now},
    )
    return len(skipped)
