"""What the service tells about itself: log lines and metrics. One function per event, so that both always agree.

Metrics follow the Prometheus text format 0.0.4 with base units; every label value comes from a closed set.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import resource
import sys
import time
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import orjson
from aioprometheus.collectors import Counter, Gauge, Histogram, Registry
from aioprometheus.renderer import render

from scheduler import __version__
from scheduler.config import LogConfig
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.characters import escape_unprintable
from scheduler.domain.clock import SECOND, Instant, format_instant
from scheduler.domain.jobs.auto_disable import Disabled
from scheduler.domain.runs.execution import Execution, Settlement, Status, Trigger
from scheduler.domain.runs.firing import Firing

_SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, math.inf]
_NO_LABELS: dict[str, str] = {}
_OWN_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

attempts_log = logging.getLogger("scheduler.attempts")
log = logging.getLogger(__name__)


class Telemetry:
    """The metrics of one service. ``live_counts`` reads queue depth, running and dead letters when they are scraped."""

    def __init__(self, *, pool_size: int = 0) -> None:
        registry = Registry()
        self._registry = registry
        self._pool_size = pool_size
        self.pool_in_use: Callable[[], int] = lambda: 0
        self.live_counts: Callable[[], Awaitable[Mapping[Status, int]]] | None = None

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
        self._pruned = counter("executions_pruned_total", "Executions that were deleted because of their age or number")
        self._last_tick = gauge("last_tick_timestamp_seconds", "When the trigger loop last looked for due jobs")
        self._http = counter("http_requests_total", "API requests, by method, route and status")
        self._http_seconds = histogram("http_request_duration_seconds", "API requests, by route")
        self._database_seconds = histogram("database_commit_seconds", "One commit on the database")
        self._gauges = {
            name: gauge(name, doc)
            for name, doc in {
                "pool_in_use": "Webhooks in flight",
                "pool_size": "Webhooks in flight at most",
                "queue_depth": "Executions that are queued",
                "executions_running": "Executions that are running",
                "dead_letters": "Executions in the dead letter",
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
        for plain in (self._polls, self._enqueued, self._rescued, self._pruned):
            plain.add(_NO_LABELS, 0)

    def looked(self, now: Instant, *, seconds: float) -> None:
        """The trigger loop looked for due jobs."""
        self._last_tick.set(_NO_LABELS, now / SECOND)
        self._poll_seconds.observe(_NO_LABELS, seconds)

    def polled(self, count: int) -> None:
        """The trigger loop found this many jobs due."""
        if count:
            self._polls.add(_NO_LABELS, count)

    def fired(self, firings: Sequence[Firing]) -> None:
        """Jobs were turned into these executions, and they are on disk."""
        rows = [row for firing in firings for row in firing.rows]
        ended = Counts(row.status for row in rows)
        self._enqueued.add(_NO_LABELS, ended.pop(Status.QUEUED, 0))
        for status, count in ended.items():
            self._executions.add({"status": status.value}, count)
        missed = Counts[str]()
        for row in rows:
            if row.status is Status.SKIPPED and row.trigger is not Trigger.MANUAL:
                missed["skipped"] += row.covers
            elif row.covers > 1:
                missed["merged"] += row.covers - 1
            if row.status is not Status.QUEUED:
                self._log(row.status, row, error=row.reason or row.error)
        for cause, count in missed.items():
            self._missed.add({"cause": cause}, count)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """These attempts ended and are on disk."""
        counts: Counts[Status] = Counts()
        for settlement in settlements:
            execution = settlement.execution
            counts[settlement.status] += 1
            if settlement.status is Status.SKIPPED:
                self._missed.add({"cause": "skipped"}, 1)  # what else it stood for was counted when it was merged
                self._log(settlement.status, execution, error=settlement.reason)
                continue
            self._attempt_seconds.observe(_NO_LABELS, settlement.duration_ms / 1000)
            if execution.attempt == 1 and execution.started_at is not None:
                lag_s = (execution.started_at - execution.scheduled_at) / SECOND
                self._fire_lag.observe(_NO_LABELS, max(0.0, lag_s))
            self._log(settlement.status, execution, error=settlement.error, settlement=settlement)
        for status, count in counts.items():
            self._executions.add({"status": status.value}, count)

    def ended(self, status: Status, count: int) -> None:
        """So many queued or running executions were ended together, by a change of their job or a newer run."""
        if count:
            self._executions.add({"status": status.value}, count)
        if count and status is Status.SKIPPED:
            self._missed.add({"cause": "skipped"}, count)

    def cancelled(self, execution: Execution) -> None:
        """Somebody cancelled this execution."""
        self._ended(Status.CANCELLED, execution, error=execution.reason)

    def disabled(self, given_up: Sequence[Disabled]) -> None:
        """These jobs and webhooks were given up, and that is on disk."""
        for one in given_up:
            kind = "job" if one.webhook_id is None else "webhook"
            self._disabled.add({"kind": kind}, 1)
            about = {"account_id": one.account_id, "job_id": one.job_id, "webhook_id": one.webhook_id}
            log.warning("a %s was disabled", kind, extra={**about, "reason": one.reason})

    def account_deleted(self, account_id: str, actor: Actor) -> None:
        """An account is gone and its audit with it: this line is what remains."""
        about = {"account_id": account_id, "actor": actor.name, "from": actor.address, "request_id": actor.request_id}
        log.warning("an account was deleted with all that it owned", extra=about)

    def rescued(self, count: int) -> None:
        """This many attempts of an earlier life were closed and queued again."""
        self._rescued.add(_NO_LABELS, count)

    def pruned(self, count: int) -> None:
        """This many executions that retention does not keep are gone."""
        self._pruned.add(_NO_LABELS, count)

    def committed(self, seconds: float) -> None:
        """The database committed once, in this time."""
        self._database_seconds.observe(_NO_LABELS, seconds)

    def http_finished(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """The API answered; ``route`` is the pattern of the route, never the path that was asked for."""
        self._http.add({"method": method, "route": route, "status": str(status)}, 1)
        self._http_seconds.observe({"route": route}, seconds)

    async def render(self) -> tuple[bytes, Mapping[str, str]]:
        """The metrics as Prometheus text, and the headers that go with it."""
        figures = {
            "pool_in_use": self.pool_in_use(),
            "pool_size": self._pool_size,
            "process_cpu_seconds_total": time.process_time(),
            "process_resident_memory_bytes": _resident_bytes(),
            "process_open_fds": _open_files(),
            "process_start_time_seconds": self._started,
        }
        if self.live_counts is not None:
            counts = await self.live_counts()
            figures["queue_depth"] = counts.get(Status.QUEUED, 0)
            figures["executions_running"] = counts.get(Status.RUNNING, 0)
            figures["dead_letters"] = counts.get(Status.DEAD_LETTER, 0)
        for name, value in figures.items():
            self._gauges[name].set(_NO_LABELS, value)
        body, headers = render(self._registry, [])
        return body, headers

    def _ended(
        self, status: Status, execution: Execution, *, error: str | None, settlement: Settlement | None = None
    ) -> None:
        self._executions.add({"status": status.value}, 1)
        self._log(status, execution, error=error, settlement=settlement)

    def _log(
        self, status: Status, execution: Execution, *, error: str | None, settlement: Settlement | None = None
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


def configure_logging(config: LogConfig, stream: TextIO = sys.stderr) -> None:
    """Send log lines to ``stream`` in the configured format; replaces what was set up before."""
    handler = logging.StreamHandler(stream)
    as_text = config.format == "text" or (config.format == "auto" and stream.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    for chatty in ("aiosqlite", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # It warns of every heartbeat that comes while a look is still under way, and that is as it should be.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters are escaped, as JSON does."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": format_instant(int(record.created * SECOND)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(event, default=str).decode()


class TextFormatter(logging.Formatter):
    """Lines for a person at a terminal; control characters in what others wrote are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items() if value is not None)
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname.lower():7} "
        line += f"{record.getMessage()} {extras}".rstrip()
        line = escape_unprintable(line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN_ATTRIBUTES}


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
