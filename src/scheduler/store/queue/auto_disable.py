"""Disables jobs and webhooks that keep failing, in the transaction that stores how attempts ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from scheduler.domain.accounts.audit import SERVICE, Action, Actor, AuditedAction, audited_job_change
from scheduler.domain.clock import Instant
from scheduler.domain.jobs.auto_disable import (
    FAILING_RUNS,
    GONE,
    DisabledItem,
    disable_failing,
    is_failing,
    is_first_dead_letter,
    is_gone,
)
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.version import JobVersion
from scheduler.domain.runs.execution import Settlement, Status
from scheduler.store.accounts.audit import record_on_jobs
from scheduler.store.database import Transaction
from scheduler.store.jobs.history import add_versions
from scheduler.store.jobs.job_table import JOBS, UPDATE_JOB
from scheduler.store.queue.holds import hold
from scheduler.store.sql import in_list

RESET_FAILURES = "UPDATE jobs SET dead_count = 0, dead_since_at = NULL WHERE id = :job_id AND dead_count > 0"
"""Reset the count of failed runs of a job."""
_COUNT_FAILURE = """
UPDATE jobs SET dead_count = dead_count + 1, dead_since_at = COALESCE(dead_since_at, :finished_at) WHERE id = :job_id
"""


async def apply_auto_disable(
    tx: Transaction, settled: Sequence[Settlement], now: Instant, *, with_failures: Collection[str]
) -> list[DisabledItem]:
    """Count the runs of each job that failed since its last success, and disable what fails; returns what was disabled.

    ``with_failures`` are the ids of the executions whose job had failed runs when they were claimed: only their success
    resets a count, so that a success of any other costs no statement.
    """
    dead = [one for one in settled if one.status is Status.DEAD_LETTER]
    recovered = {
        one.execution.job_id for one in settled if one.status is Status.SUCCESS and one.execution.id in with_failures
    }
    if not dead and not recovered:
        return []
    failed = [
        {"job_id": one.execution.job_id, "finished_at": one.finished_at} for one in dead if is_first_dead_letter(one)
    ]
    await tx.execute_batch([(RESET_FAILURES, [{"job_id": job_id} for job_id in recovered]), (_COUNT_FAILURE, failed)])
    return [*await _disable_webhooks(tx, dead, now), *await _disable_jobs(tx, dead, now)]


async def _disable_webhooks(tx: Transaction, dead: Sequence[Settlement], now: Instant) -> list[DisabledItem]:
    """Disable the webhooks whose receiver answered 410; other webhooks of the job stay enabled."""
    asked_at: dict[str, Instant] = {}
    for one in dead:
        if is_gone(one) and one.execution.webhook_id is not None and one.execution.started_at is not None:
            asked_at[one.execution.webhook_id] = one.execution.started_at
    if not asked_at:
        return []
    placeholders, params = in_list(asked_at)
    rows = await tx.fetch_all(
        f"""
        SELECT w.id, w.job_id, w.updated_at, j.account_id FROM webhooks w JOIN jobs j ON j.id = w.job_id
        WHERE w.id IN ({placeholders}) AND w.enabled = 1 AND j.auto_disable = 1
        """,
        params,
    )
    # A webhook that was changed since the request was sent may have another address now.
    gone = [row for row in rows if row["updated_at"] <= asked_at[row["id"]]]
    await tx.execute_many(
        """
        UPDATE webhooks SET enabled = 0, disabled_by = :disabled_by, disabled_reason = :reason, updated_at = :now
        WHERE id = :id
        """,
        [{"id": row["id"], "disabled_by": DisabledBy.GONE.value, "reason": GONE, "now": now} for row in gone],
    )
    done = [AuditedAction(action=Action.WEBHOOK_DISABLED, subject_id=row["id"], changes=("enabled",)) for row in gone]
    await record_on_jobs(
        tx, Actor(name=SERVICE, at=now), [(row["job_id"], audited) for row, audited in zip(gone, done, strict=True)]
    )
    return [
        DisabledItem(account_id=row["account_id"], job_id=row["job_id"], webhook_id=row["id"], reason=GONE)
        for row in gone
    ]


async def _disable_jobs(tx: Transaction, dead: Sequence[Settlement], now: Instant) -> list[DisabledItem]:
    """Disable the jobs of which enough runs failed, for long enough."""
    last = {one.execution.job_id: one for one in dead}
    if not last:
        return []
    placeholders, params = in_list(last)
    rows = await tx.fetch_all(
        f"""
        SELECT {JOBS.columns("j")}, j.dead_count, j.dead_since_at FROM jobs j
        WHERE j.id IN ({placeholders}) AND j.enabled = 1 AND j.auto_disable = 1 AND j.dead_count >= :failing_runs
        """,
        {**params, "failing_runs": FAILING_RUNS},
    )
    disabled = []
    for row in rows:
        job, end = JOBS.decode(row), last[row["id"]]
        if is_failing(row["dead_count"], row["dead_since_at"], end.finished_at):
            after = disable_failing(job, row["dead_count"], row["dead_since_at"], now, last_error=end.outcome.error)
            await _disable_job(tx, job, after)
            disabled.append(DisabledItem(account_id=job.account_id, job_id=job.id, reason=after.disabled_reason or ""))
    return disabled


async def _disable_job(tx: Transaction, job: Job, after: Job) -> None:
    await tx.execute(UPDATE_JOB, JOBS.encode(after))
    version = JobVersion.of(after, changed_by=SERVICE)
    if job.next_run_at is not None and job.next_run_at <= after.updated_at:
        # This time was due and is not fired any more: it belongs to the version that is disabled.
        version = replace(version, changed_at=job.next_run_at - 1)
    await add_versions(tx, [version], [after])
    await hold(tx, job.id)
    audited = audited_job_change(job, after)
    await record_on_jobs(tx, Actor(name=SERVICE, at=after.updated_at), [(job.id, audited)] if audited else [])
