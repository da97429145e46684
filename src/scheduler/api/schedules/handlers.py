"""Schedules over HTTP: previews of a schedule, and the runs of the next hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from scheduler.api.auth.access import Caller
from scheduler.api.http.answers import Document, answer
from scheduler.api.http.operation import operation
from scheduler.api.limits.offload import IsOver, offload
from scheduler.api.schedules.documents import preview_document, upcoming_document, upcoming_warnings
from scheduler.api.schedules.schemas import Preview, PreviewDocument, Upcoming, UpcomingDocument
from scheduler.api.services import QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.clock import Instant, seconds
from scheduler.domain.jobs.forecast import Plan, preview, soonest_runs, split_computable, total_load
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing
from scheduler.domain.schedule.schedule import check_fires

_HOUR_S = 3600
_MOST_UPCOMING = 1000
_MOST_PLANS = 10_000


@operation(
    tag="schedules",
    summary="Preview the runs of a schedule",
    description="What a job that is made now would run, or from `from` on; nothing is stored. `transition` says that a "
    "change of the clocks moved (gap) or repeats (overlap) it.",
    query=Preview,
    answers={200: PreviewDocument},
)
async def preview_schedule(request: web.Request) -> web.Response:
    query, now = request[QUERY], Caller.of(request).services.clock.now()
    return answer(await offload(request, lambda _: _preview(query, now)))


def _preview(query: Mapping[str, Any], now: Instant) -> Document:
    from_at = query.get("from_at", now)
    schedule = Timing.of(query, now=now).parsed(is_stored=False)
    check_fires(schedule, from_at - 1)
    made_at = None if "anchor_at" in query else now
    return preview_document(schedule, preview(schedule, from_at, query["count"], made_at=made_at))


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
    account_id = query.get("account_id")
    await caller.check_account(account_id, Role.VIEWER)
    jobs, now = caller.services.jobs, caller.services.clock.now()
    until_at = now + seconds(query["hours"] * _HOUR_S)
    soonest = await jobs.soonest(caller.user, until_at, account_id=account_id, limit=_MOST_UPCOMING)
    plans = await jobs.plans(caller.user, now, until_at, account_id=account_id, limit=_MOST_PLANS)
    waiting = await jobs.count_waiting(caller.user, account_id=account_id)
    window = now, until_at
    return answer(await offload(request, lambda is_over: _upcoming(soonest, plans, waiting, window, is_over)))


def _upcoming(
    jobs: Sequence[Job], plans: Sequence[Plan], waiting: int, window: tuple[Instant, Instant], is_over: IsOver
) -> Document:
    known_jobs, _ = split_computable(jobs)
    known_plans, left_out = split_computable(plans)
    runs = soonest_runs(known_jobs, *window, _MOST_UPCOMING)
    load, is_whole = total_load(known_plans, window[1], is_over)
    complete = is_whole and len(plans) < _MOST_PLANS
    warnings = upcoming_warnings(left_out, waiting=waiting)
    return upcoming_document(*window, runs, load, complete=complete, warnings=warnings)
