"""Jobs over HTTP: list, read, change, pause, delete. ``api/job_creation.py`` creates them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from scheduler.api.auth.access import Caller, missing
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import split_paging
from scheduler.api.jobs.documents import job_document, job_summary
from scheduler.api.jobs.schemas import JobChange, JobDocument, JobList, JobPage, Pause
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.jobs.changes import change_job
from scheduler.store.jobs.job_filter import JobFilter


@operation(tag="jobs", summary="List jobs, oldest first", query=JobList, answers={200: JobPage}, refuses=(403, 404))
async def list_jobs(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    await caller.check_account(query.get("account_id"), Role.VIEWER)
    narrowing, paging = split_paging(query)
    return await page_answer(
        await caller.services.jobs.page(caller.user, JobFilter(**narrowing), **paging), job_summary, query
    )


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
    return await _changed(request)


@operation(
    tag="jobs",
    summary="Resume a job, from now on",
    description="What was missed while it was paused is not caught up; what was queued is released.",
    body=Pause,
    answers={200: JobDocument},
    refuses=(403, 404),
)
async def enable_job(request: web.Request) -> web.Response:
    return await _changed(request, enabled=True)


@operation(
    tag="jobs",
    summary="Pause a job",
    description="Nothing fires, and what is queued is held.",
    body=Pause,
    answers={200: JobDocument},
    refuses=(403, 404),
)
async def disable_job(request: web.Request) -> web.Response:
    return await _changed(request, enabled=False)


async def _changed(request: web.Request, **more: Any) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    before = await caller.job(request.match_info["job_id"], Role.EDITOR)
    job = await services.firer.change_job(
        before, lambda job: change_job(job, {**form, **more}, now), now, by=caller.actor
    )
    if job is None:
        raise missing("JOB")
    return answer(job_document(job))


@operation(
    tag="jobs",
    summary="Delete a job with its webhooks and executions",
    answers={204: "The job is deleted."},
    refuses=(403, 404),
)
async def delete_job(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    if not await caller.services.deletions.delete_job(job.id, caller.services.clock.now(), by=caller.actor):
        raise missing("JOB")
    return web.Response(status=204)
