"""The rows of attempts that have not started yet: inserts the first one of a run, and each next one."""

from __future__ import annotations

from scheduler.domain.runs.execution import Execution, Hold
from scheduler.store.executions.executions import RENAMED
from scheduler.store.jobs.job_table import IS_LIVE
from scheduler.store.queue.holds import HOLD_BY_JOB
from scheduler.store.rows import Table

QUEUED = Table(
    Execution,
    renamed=RENAMED,
    without=(
        *("worker_id", "started_at", "duration_ms", "response_code", "response_body", "response_headers", "warnings"),
    ),
)
"""Executions without what they only have once they have started."""


def enqueue(hold: Hold) -> str:
    """INSERT attempts that are held by ``hold``; those that exist stay as they are."""
    return f"INSERT INTO executions {QUEUED.values(held=f'{hold:d}')} ON CONFLICT (run_id, attempt) DO NOTHING"


_NEXT = {
    "id": ":new_id",
    "status": "'queued'",
    "attempt": ":attempt",
    "available_at": ":available_at",
    "created_at": ":now",
    "reason": "NULL",
    "uncounted": "0",
    "after_stale": "0",
    "finished_at": "NULL",
    "body_truncated": "0",
    "error_code": "NULL",
    "error": "NULL",
}


def next_attempt(trigger: str, **different: str) -> str:
    """INSERT the attempt after execution ``e`` of job ``j``; the caller adds the WHERE.

    It is as ``e``, but for ``_NEXT``, its trigger and what is ``different``: columns and their expressions. A deleted
    job has none.
    """
    expressions = {**_NEXT, "trigger_kind": f"'{trigger}'", **different}
    values = ", ".join(expressions.get(name, f"e.{name}") for name in QUEUED.names)
    return (
        f"INSERT INTO executions ({QUEUED.columns()}, held) SELECT {values}, {HOLD_BY_JOB} "
        f"FROM executions e JOIN jobs j ON j.id = e.job_id AND {IS_LIVE}"
    )
