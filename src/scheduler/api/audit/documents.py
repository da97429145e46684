"""Records of the audit as the JSON documents that answers carry."""

from __future__ import annotations

from scheduler.api.http.answers import Document
from scheduler.domain.accounts.audit import AuditEntry
from scheduler.domain.clock import format_instant


def audit_document(entry: AuditEntry) -> Document:
    actor, deed = entry.actor, entry.deed
    return {
        "id": entry.id,
        "account_id": entry.account_id,
        "at": format_instant(actor.at),
        "actor": actor.name,
        "action": deed.action.value,
        "subject_type": deed.action.subject_type,
        "subject_id": deed.subject_id,
        "subject_name": deed.subject_name,
        "from": actor.address,
        "request_id": actor.request_id,
        "changes": list(deed.changes),
        "count": deed.subjects,
    }
