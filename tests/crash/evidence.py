"""What a campaign leaves behind for the checker: the receiver's log, the database, the lives and what was promised.

Every instant is epoch microseconds on the wall clock of this machine. Nothing here comes from the code under test.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

FINAL = frozenset({"success", "failure", "timed_out", "dead_letter", "skipped", "cancelled"})


@dataclass(kw_only=True, slots=True)
class Request:
    """One request as the receiver saw it."""

    run_id: str
    """Header ``webhook-id``."""
    attempt: int
    execution_id: str
    life: int
    """Which life of the service had sent it; lives are counted from 0."""
    arrived_at: int
    row_status: str | None = None
    """The status of its row on disk when it arrived: ``absent`` without one, ``None`` if it could not be read."""
    ended_at: int | None = None
    """When the answer was written or the connection ended; ``None`` while neither has happened."""
    status: int | None = None
    """What was answered; ``None`` when the connection ended without an answer."""

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Row(NamedTuple):
    """The columns of an execution that the checker reads."""

    id: str
    run_id: str
    job_id: str
    webhook_id: str | None
    status: str
    attempt: int
    trigger: str
    scheduled_at: int
    available_at: int
    covers: int
    covers_from: int | None
    worker_id: str | None
    started_at: int | None
    finished_at: int | None
    response_code: int | None
    error: str | None

    @property
    def interrupted(self) -> bool:
        return (self.error or "").startswith(("interrupted", "crash_suspect"))

    @property
    def stale(self) -> bool:
        """Did it meet a connection that the receiver was just closing?"""
        return (self.error or "").startswith("stale_connection")

    @property
    def ending(self) -> tuple[object, ...]:
        """What must never change once the row is final."""
        return (self.status, self.started_at, self.finished_at, self.response_code, self.error, self.worker_id)


ROWS = """
SELECT id, run_id, job_id, webhook_id, status, attempt, trigger_kind, scheduled_at, available_at, covers, covers_from,
  worker_id, started_at, finished_at, response_code, error FROM executions
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedJob:
    """A job as the campaign asked for it and as the API acknowledged it."""

    id: str
    webhook_ids: tuple[str, ...]
    schedule: str
    due_after_at: int
    """Its first due time is after this instant."""
    due_until_at: int
    """Its last due time is not after this instant."""
    perhaps_until_at: int
    """Due times between the two may have a run or not: a change was on its way to the disk."""
    delays: tuple[float, ...] = ()
    """Seconds to wait after each failed attempt; the last one repeats."""
    jitter: float = 0.0
    max_attempts: int = 1
    at_most_once: bool = False


@dataclass(kw_only=True, slots=True)
class Life:
    """One life of the service process."""

    started_at: int
    ready_at: int | None = None
    killed_at: int | None = None
    """When SIGKILL was sent; ``None`` for the last life, which is stopped."""
    stall: int = 0
    """The longest that this machine let the campaign itself wait in vain, in microseconds."""
    settling: int = 0
    """What an answer may take to the disk beyond that, in microseconds: through a server, and while that was away."""


class Glimpse(NamedTuple):
    """What a job's ``next_run_at`` was at some moment."""

    seen_at: int
    job_id: str
    next_run_at: int | None


@dataclass(kw_only=True)
class Evidence:
    """Everything that the checker may know."""

    jobs: list[WatchedJob] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    snapshots: list[Row] = field(default_factory=list)
    """Rows as they were on disk right after a kill."""
    glimpses: list[Glimpse] = field(default_factory=list)
    acknowledged_jobs: set[str] = field(default_factory=set)
    acknowledged_executions: set[str] = field(default_factory=set)
    """Ids in answers of the API with status 2xx."""
    job_ids: set[str] = field(default_factory=set)
    """All jobs in the database at the end."""
    complaints: list[str] = field(default_factory=list)
    """What the service logged as errors."""
    integrity: str = "ok"
    wal_bytes: int = 0
    counts: dict[str, int] | None = None
    """Executions by status, as ``/metrics`` told them when all was quiet."""


class View(Protocol):
    """Reads the database beside the service."""

    def status_of(self, run_id: str, attempt: int) -> str | None: ...

    def rows(self, since_at: int | None = None) -> list[Row]: ...

    def unfinished(self) -> int: ...

    def next_runs(self, now: int) -> list[Glimpse]: ...

    def integrity(self) -> str: ...

    def close(self) -> None: ...


class DatabaseView:
    """Reads the database beside the service. Open only while a process lives: the next start must find it alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def status_of(self, run_id: str, attempt: int) -> str | None:
        """The status of the row of an attempt, ``absent`` if there is none, ``None`` if the file cannot be read now."""
        try:
            found = self._open().execute(
                "SELECT status FROM executions WHERE run_id = ? AND attempt = ?", (run_id, attempt)
            )
            row = found.fetchone()
        except sqlite3.OperationalError:
            return None
        return row[0] if row else "absent"

    def rows(self, since_at: int | None = None) -> list[Row]:
        """All rows; with ``since_at`` those that ended since then or have not ended."""
        if since_at is None:
            return self._rows(f"{ROWS} ORDER BY run_id, attempt")
        return self._rows(f"{ROWS} WHERE finished_at >= ? OR status IN ('queued', 'running')", (since_at,))

    def unfinished(self) -> int:
        """How many executions have not ended. One look: asked for one status after the other, a retry would hide."""
        found = self._open().execute("SELECT COUNT(*) FROM executions WHERE status IN ('queued', 'running')")
        return int(found.fetchone()[0])

    def next_runs(self, now: int) -> list[Glimpse]:
        rows = self._open().execute("SELECT id, next_run_at FROM jobs")
        return [Glimpse(now, job_id, next_run_at) for job_id, next_run_at in rows]

    def integrity(self) -> str:
        """``ok``, or what ``PRAGMA integrity_check`` and ``foreign_key_check`` complain of."""
        connection = self._open()
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        return "; ".join(found + [f"broken references: {orphans[:3]}"] * bool(orphans))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, sql: str, params: Iterable[int] = ()) -> list[Row]:
        return [Row(*row) for row in self._open().execute(sql, tuple(params))]

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=2)
        return self._connection
