"""Schedules over HTTP: previews, and what fires in the next hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import Any

from aiohttp import web

from scheduler.api.auth.access import Caller
from scheduler.api.http.answers import Document, answer
from scheduler.api.http.offload import offload
from scheduler.api.http.operation import operation
from scheduler.api.schedules.schemas import Preview, PreviewDocument, Upcoming, UpcomingDocument
from scheduler.api.services import QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.clock import Instant, format_instant, seconds
from scheduler.domain.jobs.forecast import Plan, first_times, load_per_minute, preview
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.schedule.schedule import check_fires

_HOUR_S = 3600
_MOST_UPCOMING = 1000
_MOST_PLANS = 10_000
_MOST_MINUTES = 500_000
"""What one request may ask of the processor, in minutes of different schedules that something fires in."""


@operation(
    tag="schedules",
    summary="Preview the runs of a schedule",
    description="Nothing is stored. `transition` says that a change of the clocks moved (gap) or repeats (overlap) it.",
    query=Preview,
    answers={200: PreviewDocument},
)
async def preview_schedule(request: web.Request) -> web.Response:
    query, now = request[QUERY], Caller.of(request).services.clock.now()
    return answer(await offload(request, _previewed, query, query.get("from_at", now)))


def _previewed(query: Mapping[str, Any], from_at: Instant) -> Document:
    schedule = Timing.of(query, anchor_at=from_at).parsed()
    check_fires(schedule, from_at - 1)
    runs = preview(schedule, from_at, query["count"])
    items = [{"at": format_instant(run.at), "local": run.local, "transition": run.transition} for run in runs]
    return {"description": schedule.describe(), "items": items}


@operation(
    tag="schedules",
    summary="List what will fire in the next hours",
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
    items = await offload(request, _first_runs, jobs, now, until_at)
    load, complete = await offload(request, _load, plans, until_at)
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
