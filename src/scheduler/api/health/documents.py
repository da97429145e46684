"""The JSON metrics as the document that the answer carries."""

from __future__ import annotations

from scheduler.api.http.answers import Document
from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.runs.execution import Status
from scheduler.store.executions.executions import Summary


def metrics_document(summary: Summary, now: Instant) -> Document:
    """The JSON metrics of one user; the success rate is a percentage of what ended on its own account."""
    counts = {status.value: summary.executions.get(status, 0) for status in Status}
    ended = sum(counts[status] for status in ("success", "failure", "timed_out", "dead_letter"))
    return {
        "timestamp": format_instant(now),
        "jobs": {
            "total": summary.jobs_total,
            "enabled": summary.jobs_enabled,
            "disabled": summary.jobs_total - summary.jobs_enabled,
        },
        "executions": {
            "total": sum(counts.values()),
            **counts,
            "success_rate": 100 * counts["success"] / ended if ended else 0.0,
            "avg_duration_ms": summary.avg_duration_ms,
        },
    }
