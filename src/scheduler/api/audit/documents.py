"""Audit entries as JSON documents."""

from __future__ import annotations

from scheduler.api.http.answers import Document
from scheduler.domain.accounts.audit import AuditEntry
from scheduler.domain.clock import format_instant


def audit_document(entry: AuditEntry) -> Document:
    actor, audited = entry.actor, entry.audited
    return {
        "id": entry.id,
        "account_id": entry.account_id,
        "at": format_instant(actor.at),
        "actor": actor.name,
        "action": audited.action.value,
        "subject_type": audited.action.subject_type,
        "subject_id": audited.subject_id,
        "subject_name": audited.subject_name,
        "from": actor.address,
        "request_id": actor.request_id,
        "changes": list(audited.changes),
        "count": audited.subjects,
    }
