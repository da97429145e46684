"""The audit log over HTTP."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.audit.documents import audit_document
from scheduler.api.audit.schemas import AuditList, AuditPage
from scheduler.api.auth.access import Caller
from scheduler.api.http.answers import page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import split_paging
from scheduler.api.services import QUERY
from scheduler.domain.accounts.account import Role
from scheduler.store.accounts.audit import AuditFilter


@operation(
    tag="audit",
    summary="List who did what, when and from where, newest first",
    description="For owners, of one account or of all that are yours. What the service disables by itself is there, "
    "too, with the actor `scheduler` and no address.",
    query=AuditList,
    answers={200: AuditPage},
    refuses=(403, 404),
)
async def list_audit(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    narrowing, paging = split_paging(query)
    chosen = AuditFilter(**narrowing)
    await caller.check_account(chosen.account_id, Role.OWNER)
    page = await caller.services.audit.page(caller.user, chosen, **paging)
    return await page_answer(page, audit_document, query)
