"""``scheduler serve --demo``: a receiver on loopback inside the process, and three jobs that call it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from scheduler.api.job_creation import JobCreate, draft_job
from scheduler.domain.clock import SECOND, Instant, SystemClock, format_instant
from scheduler.engine.firing import Firer
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.tls import TlsContexts
from scheduler.store.jobs.job_filter import JobFilter
from scheduler.store.stores import Stores

_USER = "admin"
_REMEMBERED_RUNS = 1000


@dataclass(frozen=True, kw_only=True)
class _Behaviour:
    """A path of the receiver and the job that calls it."""

    path: str
    job_name: str
    schedule: str
    refusals: int | None
    """How often a run is refused before it is accepted; ``None``: always."""
    retry: Mapping[str, Any]


_QUICKLY = {"backoff_seconds": 0.5, "backoff_type": "fixed", "jitter": 0}
_BEHAVIOURS = (
    _Behaviour(
        path="/works",
        job_name="demo: always works",
        schedule="*/2 * * * * *",
        refusals=0,
        retry={"max_attempts": 3, **_QUICKLY},
    ),
    _Behaviour(
        path="/fails-twice",
        job_name="demo: fails twice, then works",
        schedule="@every 5s",
        refusals=2,
        retry={"max_attempts": 3, **_QUICKLY},
    ),
    _Behaviour(
        path="/fails",
        job_name="demo: always fails",
        schedule="*/5 * * * * *",
        refusals=None,
        retry={"max_attempts": 2, **_QUICKLY},
    ),
)


@asynccontextmanager
async def demo_receiver(report: Callable[[str], object]) -> AsyncIterator[int]:
    """Receives on 127.0.0.1 as long as the context is open and yields its port.

    ``report`` gets one line for each delivery. ``/works`` answers 200, ``/fails`` 503, and ``/fails-twice`` answers
    503 to the first two attempts of each run (its ``webhook-id``) and 200 to the third; other paths answer 200 too, so
    a job of one's own can call any of them.
    """
    receiver = _Receiver(report)
    server = web.Application()
    server.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def demo_jobs(port: int) -> list[dict[str, Any]]:
    """Three bodies of ``POST /api/jobs``, one for each behaviour of the receiver on ``port``."""
    return [
        {
            "name": behaviour.job_name,
            "schedule": behaviour.schedule,
            "retry": dict(behaviour.retry),
            "webhook": {
                "url": f"http://127.0.0.1:{port}{behaviour.path}",
                "method": "POST",
                "body_template": '{"job": "{{ job.name }}", "scheduled_at": "{{ scheduled_at }}"}',
            },
        }
        for behaviour in _BEHAVIOURS
    ]


async def add_demo_jobs(stores: Stores, firer: Firer, egress: Egress, now: Instant, *, port: int) -> None:
    """Give the first user the demo's jobs, in place of those that an earlier one left behind, and run each at once."""
    await remove_demo_jobs(stores, now)
    account = await stores.accounts.personal(user=_USER, now=now)
    forms = [JobCreate().load(body) for body in demo_jobs(port)]
    drafts = [draft_job(form, egress=egress, tls=TlsContexts(), now=now) for form in forms]
    entries = [(replace(job, account_id=account.id), webhooks) for job, webhooks in drafts]
    await stores.jobs.insert(entries)
    for job, _ in entries:
        await firer.start_run(job.id, now)


async def remove_demo_jobs(stores: Stores, now: Instant) -> None:
    """Remove the demo's jobs: the receiver has another port at every start, so they could not reach it again."""
    names = {behaviour.job_name for behaviour in _BEHAVIOURS}
    for job in (await stores.jobs.page(_USER, JobFilter(), skip=0, limit=1000)).items:
        if job.name in names:
            await stores.deletions.delete_job(job.id, now)


class _Receiver:
    """Counts the attempts of each run and answers as the path says."""

    def __init__(self, report: Callable[[str], object]) -> None:
        self._report = report
        self._clock = SystemClock()
        self._attempts: OrderedDict[str, int] = OrderedDict()

    async def receive(self, request: web.Request) -> web.Response:
        await request.read()
        behaviour = next((one for one in _BEHAVIOURS if one.path == request.path), None)
        attempt = self._count(request.path + request.headers.get("webhook-id", ""))
        accepted = behaviour is None or (behaviour.refusals is not None and attempt > behaviour.refusals)
        status = 200 if accepted else 503
        at = format_instant(self._clock.now() // SECOND * SECOND)
        name = behaviour.job_name if behaviour else f"{request.method} {request.path!r}"
        self._report(f"{at}  {name}  attempt {attempt}  answered {status}")
        return web.json_response({"accepted": accepted, "attempt": attempt}, status=status)

    def _count(self, run: str) -> int:
        attempt = self._attempts.pop(run, 0) + 1
        self._attempts[run] = attempt
        if len(self._attempts) > _REMEMBERED_RUNS:
            self._attempts.popitem(last=False)
        return attempt
