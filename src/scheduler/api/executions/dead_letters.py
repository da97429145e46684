"""Dead letters over HTTP, runs whose retries are used up: list, redrive, purge."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.auth.access import Caller
from scheduler.api.executions.documents import execution_document
from scheduler.api.executions.schemas import DeadLetterList, ExecutionPage, SelectionForm
from scheduler.api.http.answers import Count, answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import split_paging
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter


@operation(
    tag="dead letter",
    summary="List the dead letter, newest first",
    query=DeadLetterList,
    answers={200: ExecutionPage},
    refuses=(403, 404),
)
async def list_dead_letter(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    narrowing, paging = split_paging(query)
    chosen = await caller.filter(ExecutionFilter(**narrowing), Role.VIEWER)
    page = await caller.services.dead_letters.page(caller.user, chosen, **paging)
    return await page_answer(page, execution_document, query)


@operation(
    tag="dead letter",
    summary="Try dead letters again",
    description="The runs stay the same, with as many further attempts as the retry policy has.",
    body=SelectionForm,
    answers={200: Count},
    refuses=(403, 404),
)
async def redrive_dead_letter(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services = caller.services
    selection = await _selection(caller, request)
    count = await services.dead_letters.redrive(
        caller.user, selection, services.clock.now(), dry_run=form["dry_run"], by=caller.actor
    )
    return answer({"count": count})


@operation(
    tag="dead letter",
    summary="Delete dead letters",
    description="The earlier attempts of their runs are deleted as well.",
    body=SelectionForm,
    answers={200: Count},
    refuses=(403, 404),
)
async def purge_dead_letter(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    selection = await _selection(caller, request)
    count = await caller.services.dead_letters.purge(caller.user, selection, dry_run=form["dry_run"], by=caller.actor)
    return answer({"count": count})


async def _selection(caller: Caller, request: web.Request) -> Selection:
    form = request[FORM]
    chosen = ExecutionFilter(**form["filter"]) if "filter" in form else None
    return await caller.selection(form.get("ids"), chosen)
