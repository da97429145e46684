"""Metrics and log lines, both made from the same events (``domain/events.py``), so that they agree.

Metrics follow the Prometheus text format 0.0.4 with base units; every label value comes from a closed set.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import resource
import time
from collections import Counter as Counts
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from aioprometheus.collectors import Counter, Gauge, Histogram, Registry
from aioprometheus.renderer import render

from scheduler import __version__
from scheduler.domain.accounts.kept_bytes import BODY_DROPPED
from scheduler.domain.clock import SECOND, format_instant
from scheduler.domain.events import (
    AccountDeleted,
    AttemptsSettled,
    Committed,
    Disabled,
    Events,
    ExecutionsEnded,
    ExecutionsPruned,
    Fired,
    LookedForDueJobs,
    PruneCause,
    RequestAnswered,
)
from scheduler.domain.runs.execution import Execution, Settlement, Status, Trigger

_SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, math.inf]
_NO_LABELS: dict[str, str] = {}

attempts_log = logging.getLogger("scheduler.attempts")
log = logging.getLogger(__name__)


class Telemetry:
    """The metrics of one service, and a log line for each attempt that ended; both from events only."""

    def __init__(self, events: Events, *, pool_size: int) -> None:
        registry = Registry()
        self._registry = registry
        self._pool_size = pool_size

        def counter(name: str, doc: str) -> Any:
            return Counter(f"scheduler_{name}", doc, registry=registry)

        def gauge(name: str, doc: str) -> Any:
            return Gauge(f"scheduler_{name}", doc, registry=registry)

        def histogram(name: str, doc: str) -> Any:
            return Histogram(f"scheduler_{name}", doc, registry=registry, buckets=_SECONDS_BUCKETS)

        self._executions = counter("executions_total", "Executions that ended, by status")
        self._attempt_seconds = histogram("attempt_duration_seconds", "From the start of an attempt to its end")
        self._fire_lag = histogram("fire_lag_seconds", "From the scheduled time of a run to its first attempt")
        self._polls = counter("jobs_polled_total", "Due jobs seen by the trigger loop")
        self._enqueued = counter("jobs_enqueued_total", "Executions queued by the trigger loop")
        self._poll_seconds = histogram("poll_duration_seconds", "One look for due jobs, its transaction included")
        self._missed = counter("missed_times_total", "Due times that were skipped or merged into another run, by cause")
        self._disabled = counter("disabled_total", "Jobs and webhooks that the service disabled by itself, by kind")
        self._rescued = counter("rescued_total", "Attempts that an earlier stop had interrupted")
        self._pruned = counter("executions_pruned_total", "Executions that were deleted by retention, by cause")
        self._last_tick = gauge("last_tick_timestamp_seconds", "When the trigger loop last looked for due jobs")
        self._http = counter("http_requests_total", "API requests, by method, route and status")
        self._http_seconds = histogram("http_request_duration_seconds", "API requests, by route")
        self._bodies_dropped = counter("bodies_dropped_total", "Bodies of answers beyond the budget of their account")
        self._database_seconds = histogram("database_commit_seconds", "One commit on the database")
        self._gauges = {
            name: gauge(name, doc)
            for name, doc in {
                "pool_in_use": "Webhooks in flight",
                "pool_size": "Webhooks in flight at most",
                "queue_depth": "Executions that are queued",
                "waiting_seconds": "How long the oldest execution has waited for a slot or its share of them",
                "executions_running": "Executions that are running",
                "dead_letters": "Executions in the dead letter",
                "log_lines_dropped_total": "Log lines that were dropped: their reader was too slow or refused them",
                "process_cpu_seconds_total": "User and system CPU time of the process",
                "process_resident_memory_bytes": "Resident memory of the process",
                "process_open_fds": "Open file descriptors of the process",
                "process_start_time_seconds": "When the process started",
            }.items()
        }
        self._started = time.time()
        gauge("build_info", "What is running").set({"version": __version__, "python": platform.python_version()}, 1)
        for status in (one for one in Status if one not in (Status.QUEUED, Status.RUNNING)):
            self._executions.add({"status": status.value}, 0)
        for cause in ("skipped", "merged"):
            self._missed.add({"cause": cause}, 0)
        for kind in ("job", "webhook"):
            self._disabled.add({"kind": kind}, 0)
        for cause in get_args(PruneCause):
            self._pruned.add({"cause": cause}, 0)
        for plain in (self._polls, self._enqueued, self._rescued, self._bodies_dropped):
            plain.add(_NO_LABELS, 0)
        events.listen(LookedForDueJobs, self._on_looked)
        events.listen(Fired, self._on_fired)
        events.listen(AttemptsSettled, self._on_settled)
        events.listen(ExecutionsEnded, self._on_ended)
        events.listen(Disabled, self._on_disabled)
        events.listen(AccountDeleted, self._on_account_deleted)
        events.listen(ExecutionsPruned, self._on_pruned)
        events.listen(Committed, self._on_committed)
        events.listen(RequestAnswered, self._on_answered)

    def render(
        self, *, pool_in_use: int, counts: Mapping[Status, int], waiting_s: float, dropped_log_lines: int
    ) -> tuple[bytes, Mapping[str, str]]:
        """The metrics as Prometheus text, and the headers that go with it.

        ``counts`` has the executions that are queued, running and in the dead letter at this moment, ``waiting_s`` says
        for how long the oldest could have started if a slot had been free for it.
        """
        figures = {
            "pool_in_use": pool_in_use,
            "pool_size": self._pool_size,
            "queue_depth": counts.get(Status.QUEUED, 0),
            "waiting_seconds": waiting_s,
            "executions_running": counts.get(Status.RUNNING, 0),
            "dead_letters": counts.get(Status.DEAD_LETTER, 0),
            "log_lines_dropped_total": dropped_log_lines,
            "process_cpu_seconds_total": time.process_time(),
            "process_resident_memory_bytes": _resident_bytes(),
            "process_open_fds": _open_files(),
            "process_start_time_seconds": self._started,
        }
        for name, value in figures.items():
            self._gauges[name].set(_NO_LABELS, value)
        body, headers = render(self._registry, [])
        return body, headers

    def _on_looked(self, event: LookedForDueJobs) -> None:
        self._last_tick.set(_NO_LABELS, event.at / SECOND)
        self._poll_seconds.observe(_NO_LABELS, event.seconds)
        if event.due:
            self._polls.add(_NO_LABELS, event.due)

    def _on_fired(self, event: Fired) -> None:
        rows = [row for firing in event.firings for row in firing.rows]
        ended = Counts(row.status for row in rows)
        self._enqueued.add(_NO_LABELS, ended.pop(Status.QUEUED, 0))
        self._count_ended(ended)
        missed = Counts[str]()
        for row in rows:
            if row.status is Status.SKIPPED and row.trigger is not Trigger.MANUAL:
                missed["skipped"] += row.covers
            elif row.covers > 1:
                missed["merged"] += row.covers - 1
            if row.status is not Status.QUEUED:
                _log_attempt(row.status, row, error=row.reason or row.error)
        for cause, count in missed.items():
            self._missed.add({"cause": cause}, count)

    def _on_settled(self, event: AttemptsSettled) -> None:
        if event.rescued:
            self._rescued.add(_NO_LABELS, len(event.settlements))
        for settlement in event.settlements:
            execution = settlement.execution
            if settlement.status is Status.SKIPPED:
                # the other due times that it covers were counted when they were merged
                self._missed.add({"cause": "skipped"}, 1)
                _log_attempt(settlement.status, execution, error=settlement.reason)
                continue
            if not event.rescued:  # the time from a crash to the rescue is no duration of an attempt
                self._attempt_seconds.observe(_NO_LABELS, settlement.duration_ms / 1000)
            if execution.attempt == 1 and execution.started_at is not None:
                lag_s = (execution.started_at - execution.scheduled_at) / SECOND
                self._fire_lag.observe(_NO_LABELS, max(0.0, lag_s))
            if BODY_DROPPED in settlement.outcome.warnings:
                self._bodies_dropped.add(_NO_LABELS, 1)
            _log_attempt(settlement.status, execution, error=settlement.error, settlement=settlement)
        self._count_ended(Counts(settlement.status for settlement in event.settlements))

    def _on_ended(self, event: ExecutionsEnded) -> None:
        self._count_ended({event.status: event.count})
        if event.status is Status.SKIPPED:
            self._missed.add({"cause": "skipped"}, event.count)
        for execution in event.executions:
            _log_attempt(event.status, execution, error=execution.reason)

    def _on_disabled(self, event: Disabled) -> None:
        for item in event.items:
            kind = "job" if item.webhook_id is None else "webhook"
            self._disabled.add({"kind": kind}, 1)
            about = {"account_id": item.account_id, "job_id": item.job_id, "webhook_id": item.webhook_id}
            log.warning("a %s was disabled", kind, extra={**about, "reason": item.reason})

    def _on_account_deleted(self, event: AccountDeleted) -> None:
        # its audit entries are deleted with it, so this line is the record of it
        by = event.by
        about = {"account_id": event.account_id, "actor": by.name, "from": by.address, "request_id": by.request_id}
        log.warning("an account was deleted with all that it owned", extra=about)

    def _on_pruned(self, event: ExecutionsPruned) -> None:
        self._pruned.add({"cause": event.cause}, event.count)

    def _on_committed(self, event: Committed) -> None:
        self._database_seconds.observe(_NO_LABELS, event.seconds)

    def _on_answered(self, event: RequestAnswered) -> None:
        self._http.add({"method": event.method, "route": event.route, "status": str(event.status)}, 1)
        self._http_seconds.observe({"route": event.route}, event.seconds)

    def _count_ended(self, counts: Mapping[Status, int]) -> None:
        for status, count in counts.items():
            self._executions.add({"status": status.value}, count)


def render_own(counts: Mapping[Status, int]) -> tuple[bytes, Mapping[str, str]]:
    """Metrics of some accounts as Prometheus text, and the headers; ``counts`` has their stored executions.

    They have the names of those of the service. What is not stored per account, and the process, are not among them.
    """
    registry = Registry()
    ended = Counter("scheduler_executions_total", "Executions that ended and are kept, by status", registry=registry)
    for status in (one for one in Status if one not in (Status.QUEUED, Status.RUNNING)):
        ended.add({"status": status.value}, counts.get(status, 0))
    for name, doc, present in (
        ("queue_depth", "Executions that are queued", Status.QUEUED),
        ("executions_running", "Executions that are running", Status.RUNNING),
        ("dead_letters", "Executions in the dead letter", Status.DEAD_LETTER),
    ):
        Gauge(f"scheduler_{name}", doc, registry=registry).set(_NO_LABELS, counts.get(present, 0))
    body, headers = render(registry, [])
    return body, headers


def _log_attempt(
    status: Status, execution: Execution, *, error: str | None, settlement: Settlement | None = None
) -> None:
    good = status is Status.SUCCESS
    level = logging.DEBUG if good else logging.INFO
    if not attempts_log.isEnabledFor(level):
        return
    event: dict[str, Any] = {
        "execution_id": execution.id,
        "run_id": execution.run_id,
        "job_id": execution.job_id,
        "webhook_id": execution.webhook_id,
        "attempt": execution.attempt,
        "trigger": execution.trigger.value,
        "scheduled_at": format_instant(execution.scheduled_at),
        "status": status.value,
        "error": error,
    }
    if settlement is not None:
        event["duration_ms"] = settlement.duration_ms
        event["response_code"] = settlement.outcome.response_code
        event["retry_at"] = format_instant(settlement.retry.available_at) if settlement.retry else None
    attempts_log.log(level, "attempt %s", status.value, extra=event)


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return 0
