"""Health and metrics as JSON documents."""

from __future__ import annotations

from scheduler.api.http.answers import Document
from scheduler.api.services import Health
from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.runs.execution import Status
from scheduler.store.executions.executions import Summary


def health_document(state: Health, *, service: str, status: str) -> Document:
    """The health of the process; when it is not ready, the fields of an error document are added."""
    document = {
        "status": status,
        "service": service,
        "database": state.database,
        "scheduler_service": state.scheduler_service,
        "draining": state.draining,
        **state.details,
    }
    if state.ready:
        return document
    return {**document, "detail": _reason(state), "error_code": "SERVICE_UNAVAILABLE", "status_code": 503}


def _reason(state: Health) -> str:
    """Why the process is not ready."""
    if state.draining:
        return "draining"
    reason = f"database {state.database}, scheduler service {state.scheduler_service}"
    if state.details.get("storage") == "full":
        reason += ", storage full"
    if not state.details.get("lease", {}).get("held", True):
        reason += ", lease lost"
    return reason


def metrics_document(summary: Summary, now: Instant) -> Document:
    """The JSON metrics of one user. The success rate is a percentage of the attempts that succeeded or failed."""
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
