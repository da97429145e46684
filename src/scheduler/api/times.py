"""When will it run, and why did it (not) run: previews, the next hours, explanations, and filling what was missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import Any

from aiohttp import web

from scheduler.api.access import Caller
from scheduler.api.aside import aside
from scheduler.api.documents import Document, answer, execution_document
from scheduler.api.operation import operation
from scheduler.api.schemas.bodies import MOST_AT_ONCE
from scheduler.api.schemas.times import (
    Backfill,
    Backfilled,
    Explain,
    ExplanationDocument,
    Preview,
    PreviewDocument,
    Upcoming,
    UpcomingDocument,
)
from scheduler.api.services import FORM, QUERY
from scheduler.domain.account import Role
from scheduler.domain.clock import Instant, format_instant, seconds
from scheduler.domain.errors import invalid
from scheduler.domain.explanation import Explanation, explain
from scheduler.domain.forecast import Plan, first_times, load_per_minute, preview
from scheduler.domain.job import Job
from scheduler.domain.schedule import parse_schedule, require_fires

_HOUR_S = 3600
_MOST_UPCOMING = 1000
_MOST_PLANS = 10_000
_MOST_MINUTES = 500_000
"""What one request may ask of the processor, in minutes of different schedules that something fires in."""


@operation(
    tag="schedules",
    summary="When would this schedule run?",
    description="Nothing is stored. `transition` says that a change of the clocks moved (gap) or repeats (overlap) it.",
    query=Preview,
    answers={200: PreviewDocument},
)
async def preview_schedule(request: web.Request) -> web.Response:
    query, now = request[QUERY], Caller.of(request).services.clock.now()
    return answer(await aside(request, _previewed, query, query.get("from_at", now)))


def _previewed(query: Mapping[str, Any], from_at: Instant) -> Document:
    schedule = parse_schedule(
        query["schedule"],
        timezone=query.get("timezone"),
        anchor_at=query.get("anchor_at", from_at),
        dst_policy=query["dst_policy"],
        day_match=query["day_match"],
    )
    require_fires(schedule, from_at - 1)
    runs = preview(schedule, from_at, query["count"])
    items = [{"at": format_instant(run.at), "local": run.local, "transition": run.transition} for run in runs]
    return {"description": schedule.describe(), "items": items}


@operation(
    tag="schedules",
    summary="What will fire in the next hours",
    description="The first 1,000 times, and how many fire in each minute, so that pile-ups show. Scheduled times: "
    "`jitter_s` and `spread_s` move the start behind them.",
    query=Upcoming,
    answers={200: UpcomingDocument},
    refuses=(403, 404),
)
async def list_upcoming(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    if "account_id" in query:
        await caller.account(query["account_id"], Role.VIEWER)
    now = caller.services.clock.now()
    until_at = now + seconds(query["hours"] * _HOUR_S)
    account_id = query.get("account_id")
    jobs = await caller.services.jobs.soonest(caller.user, until_at, account_id=account_id, limit=_MOST_UPCOMING)
    plans = await caller.services.jobs.plans(caller.user, now, until_at, account_id=account_id, limit=_MOST_PLANS)
    items = await aside(request, _first_runs, jobs, now, until_at)
    load, complete = await aside(request, _load, plans, until_at)
    return answer(
        {
            "from": format_instant(now),
            "to": format_instant(until_at),
            "total": load.total(),
            "complete": complete,
            "items": items,
            "per_minute": [
                {"minute": format_instant(minute), "count": count} for minute, count in sorted(load.items())
            ],
        }
    )


def _first_runs(jobs: Sequence[Job], now: Instant, until_at: Instant) -> list[Document]:
    """The first times of all jobs: they are among those of the jobs that come first."""
    times: list[tuple[Instant, str, str]] = []
    for job in jobs:
        last_at = times[-1][0] + 1 if len(times) == _MOST_UPCOMING else until_at
        found = [(at, job.id, job.name) for at in first_times(job, now, last_at, _MOST_UPCOMING)]
        times = nsmallest(_MOST_UPCOMING, times + found)
    return [{"at": format_instant(at), "job_id": job_id, "name": name} for at, job_id, name in times]


def _load(plans: Sequence[Plan], until_at: Instant) -> tuple[Counter[Instant], bool]:
    """How often something fires in each minute, and whether that is all of it."""
    load: Counter[Instant] = Counter()
    minutes = 0
    for position, plan in enumerate(plans):
        for minute, count in load_per_minute(plan, until_at).items():
            load[minute] += count * plan.jobs
            minutes += 1
        if minutes > _MOST_MINUTES:
            return load, position + 1 == len(plans) < _MOST_PLANS
    return load, len(plans) < _MOST_PLANS


@operation(
    tag="jobs",
    summary="What became of this time?",
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
    explained = await aside(request, explain, job, versions, executions, at, now, pruned_until_at=pruned_until_at)
    return answer(_explained(explained))


@operation(
    tag="jobs",
    summary="Run a job for past times that had no run",
    description="`from` is included, `to` is not; at most 1,000 times a call. A time that has its run keeps that one, "
    "so asking again adds nothing; one that was skipped, or merged into another run, gets a run of its own.",
    body=Backfill,
    answers={200: Backfilled, 202: Backfilled},
    refuses=(403, 404),
)
async def backfill_job(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    job = await caller.job(request.match_info["job_id"], Role.EDITOR)
    times = await aside(request, _times_to_fill, job, form["from_at"], form["to_at"], now)
    if job.next_run_at is not None and job.next_run_at <= now:
        await services.trigger_loop.fire_one(job.id, now)  # what is due by itself comes first
    dry_run = form.get("dry_run", False)
    executions = await services.trigger_loop.backfill(job.id, times, now, dry_run=dry_run, by=caller.actor)
    count = len({execution.scheduled_at for execution in executions})
    if dry_run:
        return answer({"count": count, "items": []})
    return answer({"count": count, "items": [execution_document(row) for row in executions]}, 202)


def _explained(explanation: Explanation) -> Document:
    previous_at, next_at = explanation.previous_at, explanation.next_at
    return {
        "at": format_instant(explanation.at),
        "verdict": explanation.verdict.value,
        "detail": explanation.detail,
        "executions": [execution_document(execution) for execution in explanation.executions],
        "previous_at": None if previous_at is None else format_instant(previous_at),
        "next_at": None if next_at is None else format_instant(next_at),
    }


def _times_to_fill(job: Job, from_at: Instant, to_at: Instant, now: Instant) -> list[Instant]:
    """The times of the present schedule, within `starts_at` and `ends_at`, in a past window."""
    if to_at <= from_at:
        raise invalid("to", "must be later than from")
    if to_at > now:
        raise invalid("to", "must not lie in the future: what is to come fires by itself")
    first_at = from_at if job.starts_at is None else max(from_at, job.starts_at)
    last_at = (to_at if job.ends_at is None else min(to_at, job.ends_at)) - 1
    if first_at > last_at:
        return []
    count = job.parsed().count_between(first_at, last_at)
    if count > MOST_AT_ONCE:
        raise invalid("to", f"{count} times fall into this window, at most {MOST_AT_ONCE} are filled a call")
    return job.parsed().between(first_at, last_at, MOST_AT_ONCE)
