"""Health and metrics over HTTP."""

from __future__ import annotations

import hmac

from aiohttp import hdrs, web

from scheduler.api.auth.access import Caller
from scheduler.api.health.documents import health_document, metrics_document
from scheduler.api.health.schemas import Alive, HealthDocument, MetricsDocument
from scheduler.api.http.answers import accepted, answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import AnyParameters
from scheduler.api.services import SERVICES, Health
from scheduler.logs import dropped_lines
from scheduler.telemetry import render_own

_SERVICE = "scheduler"


@operation(
    tag="health",
    summary="Check that the process answers",
    answers={200: Alive},
    query=AnyParameters,
    public=True,
)
async def health(request: web.Request) -> web.Response:
    return answer({"status": "healthy", "service": _SERVICE})


@operation(
    tag="health",
    summary="Check that the process is alive (liveness probe)",
    answers={200: Alive},
    query=AnyParameters,
    public=True,
)
async def live(request: web.Request) -> web.Response:
    return answer({"status": "alive", "service": _SERVICE})


@operation(
    tag="health",
    summary="Check that requests may be sent here (readiness probe)",
    description="503 while draining, without the database or the lease, with full storage or a stalled trigger loop.",
    answers={200: HealthDocument, 503: HealthDocument},
    query=AnyParameters,
    public=True,
)
async def ready(request: web.Request) -> web.Response:
    state = await request.app[SERVICES].health()
    return _health_answer(state, words=("ready", "not ready"))


@operation(
    tag="health",
    summary="Read the health of each part of the process",
    description="503 for the same reasons as `/health/ready`.",
    answers={200: HealthDocument, 503: HealthDocument},
    query=AnyParameters,
    public=True,
)
async def health_detailed(request: web.Request) -> web.Response:
    state = await request.app[SERVICES].health()
    return _health_answer(state, words=("healthy", "unhealthy"))


@operation(
    tag="health",
    summary="Read the metrics",
    description="Prometheus text: with `metrics.token` or `metrics.public` the totals of all accounts and the figures "
    "of the process, otherwise of the caller's accounts. With `Accept: application/json` a summary of these.",
    answers={200: MetricsDocument},
    or_text=True,
)
async def metrics(request: web.Request) -> web.Response:
    if wants_json(request):
        caller = Caller.of(request)
        summary = await caller.services.executions.summary(caller.user)
        return answer(metrics_document(summary, caller.services.clock.now()))
    services = request.app[SERVICES]
    if not is_for_operator(request):
        own = await services.executions.summary(Caller.of(request).user)
        body, headers = render_own(own.executions)
        return web.Response(body=body, headers=headers)
    counts = await services.executions.counts()
    queue = (await services.health()).details.get("queue", {})
    body, headers = services.telemetry.render(
        pool_in_use=services.worker_pool.in_use,
        counts=counts,
        waiting_s=max(queue.get("lag_s", 0.0), queue.get("in_lanes_lag_s", 0.0)),
        dropped_log_lines=dropped_lines(),
    )
    return web.Response(body=body, headers=headers)


def is_for_operator(request: web.Request) -> bool:
    """Does the request ask for the metrics of the whole service, and may it have them?"""
    config = request.app[SERVICES].config.metrics
    if wants_json(request):
        return False
    given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
    has_token = config.token is not None and hmac.compare_digest(given, f"Bearer {config.token}".encode())
    return config.public or has_token


def wants_json(request: web.Request) -> bool:
    """Does the Accept header prefer JSON to text (RFC 9110, section 12.5.1)? Without such a header: no."""
    types = accepted(request, hdrs.ACCEPT)
    return types.get("application/json", 0.0) > types.get("text/plain", 0.0)


def _health_answer(state: Health, *, words: tuple[str, str]) -> web.Response:
    document = health_document(state, service=_SERVICE, status=words[0] if state.ready else words[1])
    response = answer(document, 200 if state.ready else 503)
    if not state.ready:
        response.headers[hdrs.RETRY_AFTER] = "1"
    return response
