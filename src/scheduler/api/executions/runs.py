"""The runs of a job over HTTP: start one, backfill missed times, list them, explain a time."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.auth.access import Caller, missing
from scheduler.api.executions.documents import execution_document, explanation_document
from scheduler.api.executions.schemas import (
    Backfill,
    Backfilled,
    ExecutionPage,
    ExecutionsStarted,
    Explain,
    ExplanationDocument,
    JobExecutionList,
    Trigger,
)
from scheduler.api.http.answers import answer, documents_of, items_answer, page_answer
from scheduler.api.http.fields import MOST_AT_ONCE
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import split_paging
from scheduler.api.limits.offload import offload
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.runs.explanation import explain
from scheduler.domain.runs.firing import times_to_backfill
from scheduler.store.executions.executions import ExecutionFilter


@operation(
    tag="jobs",
    summary="Run a job now, independently of its schedule",
    description="One execution for each of its webhooks. `next_run_at` does not move.",
    body=Trigger,
    answers={202: ExecutionsStarted},
    refuses=(403, 404),
)
async def trigger_job(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    executions = await caller.services.firer.start_run(
        job.id, caller.services.clock.now(), overlap=request[FORM]["overlap"], by=caller.actor
    )
    if not executions:
        raise missing("JOB")
    return items_answer([execution_document(execution) for execution in executions], 202)


@operation(
    tag="jobs",
    summary="List the executions of a job, newest first",
    query=JobExecutionList,
    answers={200: ExecutionPage},
    refuses=(403, 404),
)
async def list_job_executions(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    job = await caller.job(request.match_info["job_id"], Role.VIEWER)
    narrowing, paging = split_paging(query)
    page = await caller.services.executions.page(caller.user, ExecutionFilter(job_id=job.id, **narrowing), **paging)
    return await page_answer(page, execution_document, query)


@operation(
    tag="jobs",
    summary="Explain what happened at a time",
    description="From recorded facts: ran, skipped, merged, paused and by whom, not due (with the nearest times) …",
    query=Explain,
    answers={200: ExplanationDocument},
    refuses=(403, 404),
)
async def explain_time(request: web.Request) -> web.Response:
    caller, at = Caller.of(request), request[QUERY]["at"]
    job = await caller.job(request.match_info["job_id"], Role.VIEWER)
    now = caller.services.clock.now()
    versions = await caller.services.jobs.history(job.id)
    executions = await caller.services.executions.standing_for(job.id, at)
    pruned_until_at = await caller.services.jobs.pruned_until_at(job.id)
    explained = await offload(
        request, lambda _: explain(job, versions, executions, at, now, pruned_until_at=pruned_until_at)
    )
    return answer(explanation_document(explained))


@operation(
    tag="jobs",
    summary="Run a job for past times that had no run",
    description="`from` is included, `to` is not; at most 1,000 times a call. A time that has its run keeps that one, "
    "so a repeated request adds nothing; one that was skipped, or merged into another run, gets a run of its own.",
    body=Backfill,
    answers={200: Backfilled, 202: Backfilled},
    refuses=(403, 404),
)
async def backfill_job(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    from_at, to_at = form["from_at"], form["to_at"]
    times = await offload(request, lambda _: times_to_backfill(job, from_at, to_at, now, most=MOST_AT_ONCE))
    dry_run = form.get("dry_run", False)
    executions = await services.firer.backfill(job, times, now, dry_run=dry_run, by=caller.actor)
    count = len({execution.scheduled_at for execution in executions})
    items = [] if dry_run else await documents_of(executions, execution_document)
    return answer({"count": count, "items": items}, 200 if dry_run else 202)
