"""Executions and explanations as JSON documents."""

from __future__ import annotations

from scheduler.api.http.answers import Document, time_or_none
from scheduler.domain.clock import format_instant
from scheduler.domain.runs.execution import Execution
from scheduler.domain.runs.explanation import Explanation


def execution_document(execution: Execution) -> Document:
    return {
        "id": execution.id,
        "run_id": execution.run_id,
        "job_id": execution.job_id,
        "account_id": execution.account_id,
        "webhook_id": execution.webhook_id,
        "status": execution.status.value,
        "attempt": execution.attempt,
        "trigger": execution.trigger.value,
        "scheduled_at": format_instant(execution.scheduled_at),
        "available_at": format_instant(execution.available_at),
        "covers": execution.covers,
        "covers_from": time_or_none(execution.covers_from),
        "reason": execution.reason,
        "worker_id": execution.worker_id,
        "started_at": time_or_none(execution.started_at),
        "finished_at": time_or_none(execution.finished_at),
        "duration_ms": execution.duration_ms,
        "response_code": execution.response_code,
        "response_headers": execution.response_headers,
        "response_body": execution.response_body,
        "body_truncated": execution.body_truncated,
        "warnings": execution.warnings,
        "error": execution.error,
        "created_at": format_instant(execution.created_at),
    }


def explanation_document(explanation: Explanation) -> Document:
    return {
        "at": format_instant(explanation.at),
        "verdict": explanation.verdict.value,
        "detail": explanation.detail,
        "executions": [execution_document(execution) for execution in explanation.executions],
        "previous_at": time_or_none(explanation.previous_at),
        "next_at": time_or_none(explanation.next_at),
    }
