"""Executions over HTTP: list, read, retry, cancel."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.auth.access import Caller
from scheduler.api.executions.documents import execution_document
from scheduler.api.executions.schemas import Empty, ExecutionDocument, ExecutionList, ExecutionPage
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import split_paging
from scheduler.api.services import QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.errors import SchedulerError
from scheduler.store.executions.executions import ExecutionFilter


@operation(
    tag="executions",
    summary="List executions, newest first",
    query=ExecutionList,
    answers={200: ExecutionPage},
    refuses=(403, 404),
)
async def list_executions(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    narrowing, paging = split_paging(query)
    chosen = await caller.filter(ExecutionFilter(**narrowing), Role.VIEWER)
    page = await caller.services.executions.page(caller.user, chosen, **paging)
    return await page_answer(page, execution_document, query)


@operation(tag="executions", summary="Read an execution", answers={200: ExecutionDocument}, refuses=(403, 404))
async def read_execution(request: web.Request) -> web.Response:
    execution = await Caller.of(request).execution(request.match_info["execution_id"], Role.VIEWER)
    return answer(execution_document(execution))


@operation(
    tag="executions",
    summary="Try a run again",
    description="Queues the next attempt of a run whose last one is `dead_letter`, `cancelled` or `skipped`.",
    body=Empty,
    answers={202: ExecutionDocument},
    refuses=(403, 404, 409),
)
async def retry_execution(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    execution = await caller.execution(request.match_info["execution_id"], Role.EDITOR)
    queued = await caller.services.dead_letters.retry(execution.id, caller.services.clock.now(), by=caller.actor)
    if queued is None:
        raise SchedulerError(
            "CONFLICT",
            f"only a dead_letter, cancelled or skipped execution without a later attempt can be retried; "
            f"this one is {execution.status.value}",
        )
    return answer(execution_document(queued), 202)


@operation(
    tag="executions",
    summary="Cancel an execution that is queued or running",
    description="A request that is in flight is aborted; the receiver may have seen it.",
    body=Empty,
    answers={200: ExecutionDocument},
    refuses=(403, 404, 409),
)
async def cancel_execution(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    services = caller.services
    execution = await caller.execution(request.match_info["execution_id"], Role.EDITOR)
    cancelled = await services.executions.cancel(
        execution.id, services.clock.now(), reason=f"cancelled by {caller.user}", by=caller.actor
    )
    if cancelled is None:
        raise SchedulerError("CONFLICT", "only a queued or running execution can be cancelled; this one has ended")
    return answer(execution_document(cancelled))
