"""Jobs over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from scheduler.api import documents
from scheduler.api.access import Caller, missing
from scheduler.api.documents import answer, items_answer, job_document, page_answer
from scheduler.api.forms import draft_job
from scheduler.api.operation import operation
from scheduler.api.schemas.answers import (
    ExecutionPage,
    ExecutionsStarted,
    JobDocument,
    JobPage,
    JobsCreated,
    JobWithWebhook,
)
from scheduler.api.schemas.bodies import JobBulk, JobChange, JobCreate, Pause, Trigger
from scheduler.api.schemas.queries import JobExecutionList, JobList
from scheduler.api.services import FORM, QUERY
from scheduler.domain.account import Role
from scheduler.domain.execution import Status
from scheduler.domain.job import Job
from scheduler.domain.planning import change_job
from scheduler.domain.webhook import Webhook
from scheduler.store.executions import ExecutionFilter

_BREATH = 4
"""Jobs of a bulk request that are worked on before other requests get a turn."""


@operation(
    tag="jobs",
    summary="Create a job",
    description="With `webhook` its first webhook is created in the same transaction and answered with it.",
    body=JobCreate,
    answers={201: JobWithWebhook},
    refuses=(403, 404, 409),
)
async def create_job(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    draft, webhooks = draft_job(form, egress=services.egress, now=now)
    job = replace(draft, account_id=await caller.home(form.get("account_id"), now))
    await services.jobs.insert([(job, webhooks)], by=caller.actor, most=services.config.limits.jobs_per_account)
    services.trigger_loop.wake(job.next_run_at)
    return answer(documents.created_job_document(job, webhooks), 201)


@operation(
    tag="jobs",
    summary="Create up to 1,000 jobs, all or none",
    body=JobBulk,
    answers={201: JobsCreated},
    refuses=(403, 404, 409),
)
async def create_jobs(request: web.Request) -> web.Response:
    caller, forms = Caller.of(request), request[FORM]["jobs"]
    entries = await _drafts(caller, forms)
    homes = await _homes(caller, forms)
    for position, form in enumerate(forms):
        draft, webhooks = entries[position]
        entries[position] = replace(draft, account_id=homes[form.get("account_id")]), webhooks
    limits = caller.services.config.limits
    await caller.services.jobs.insert(entries, by=caller.actor, most=limits.jobs_per_account)
    caller.services.trigger_loop.wake(min((job.next_run_at for job, _ in entries if job.next_run_at), default=None))
    created = []
    for position, (job, webhooks) in enumerate(entries):
        created.append(documents.created_job_document(job, webhooks))
        await _breathe(position)
    return items_answer(created, 201)


async def _drafts(caller: Caller, forms: Sequence[Mapping[str, Any]]) -> list[tuple[Job, list[Webhook]]]:
    services, now = caller.services, caller.services.clock.now()
    drafts = []
    for position, form in enumerate(forms):
        drafts.append(draft_job(form, egress=services.egress, now=now, path=f"jobs.{position}"))
        await _breathe(position)
    return drafts


async def _homes(caller: Caller, forms: Sequence[Mapping[str, Any]]) -> dict[str | None, str]:
    """The account of each name that the forms give, no name last: that one may have to be made."""
    now = caller.services.clock.now()
    named = sorted({form.get("account_id") for form in forms}, key=lambda name: (name is None, name))
    return {name: await caller.home(name, now) for name in named}


async def _breathe(position: int) -> None:
    if position % _BREATH == _BREATH - 1:
        await asyncio.sleep(0)


@operation(tag="jobs", summary="List jobs, oldest first", query=JobList, answers={200: JobPage}, refuses=(403, 404))
async def list_jobs(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    if "account_id" in query:
        await caller.account(query["account_id"], Role.VIEWER)
    return page_answer(await caller.services.jobs.page(caller.user, **query), documents.job_summary, query)


@operation(tag="jobs", summary="Read a job", answers={200: JobDocument}, refuses=(403, 404))
async def read_job(request: web.Request) -> web.Response:
    return answer(job_document(await Caller.of(request).job(request.match_info["job_id"], Role.VIEWER)))


@operation(
    tag="jobs",
    summary="Change a job",
    description="Partial: what is absent stays, null clears what may be null. A changed schedule counts from now on.",
    body=JobChange,
    answers={200: JobDocument},
    refuses=(403, 404),
)
async def update_job(request: web.Request) -> web.Response:
    form = request[FORM]
    return await _changed(request, form)


@operation(
    tag="jobs",
    summary="Resume a job, from now on",
    description="What was missed while it was paused is not caught up; what was queued is released.",
    body=Pause,
    answers={200: JobDocument},
    refuses=(403, 404),
)
async def enable_job(request: web.Request) -> web.Response:
    form = request[FORM]
    return await _changed(request, {**form, "enabled": True})


@operation(
    tag="jobs",
    summary="Pause a job",
    description="Nothing fires, and what is queued is held.",
    body=Pause,
    answers={200: JobDocument},
    refuses=(403, 404),
)
async def disable_job(request: web.Request) -> web.Response:
    form = request[FORM]
    return await _changed(request, {**form, "enabled": False})


async def _changed(request: web.Request, fields: Mapping[str, Any]) -> web.Response:
    caller = Caller.of(request)
    services, now = caller.services, caller.services.clock.now()
    before = await caller.job(request.match_info["job_id"], Role.EDITOR)
    if before.next_run_at is not None and before.next_run_at <= now:
        await services.trigger_loop.fire_one(before.id, now)  # what was due before the change still fires
    job = await services.jobs.change(before.id, lambda job: change_job(job, fields, now), by=caller.actor)
    if job is None:
        raise missing("JOB")
    services.trigger_loop.wake(job.next_run_at)
    services.worker_pool.wake()
    return answer(job_document(job))


@operation(
    tag="jobs",
    summary="Delete a job with its webhooks and executions",
    answers={204: "It is gone."},
    refuses=(403, 404),
)
async def delete_job(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    if not await caller.services.jobs.delete(job.id, by=caller.actor):
        raise missing("JOB")
    return web.Response(status=204)


@operation(
    tag="jobs",
    summary="Run a job now, whatever its schedule says",
    description="One execution for each of its webhooks. `next_run_at` does not move.",
    body=Trigger,
    answers={202: ExecutionsStarted},
    refuses=(403, 404),
)
async def trigger_job(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    executions = await caller.services.trigger_loop.start_run(
        job.id, caller.services.clock.now(), overlap=request[FORM]["overlap"], by=caller.actor
    )
    if not executions:
        raise missing("JOB")
    caller.services.worker_pool.wake()
    return items_answer([documents.execution_document(execution) for execution in executions], 202)


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
    status = Status(query["status"]) if "status" in query else None
    page = await caller.services.executions.page(
        caller.user, ExecutionFilter(job_id=job.id, status=status), skip=query["skip"], limit=query["limit"]
    )
    return page_answer(page, documents.execution_document, query)
