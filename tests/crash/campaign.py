"""A campaign: a real service under load is killed at random moments, and at last stopped; returns the evidence."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from tests.crash.checker import in_flight
from tests.crash.evidence import DatabaseView, Evidence, Glimpse, Life, View, WatchedJob
from tests.crash.load import DELAYS, JITTER, MAX_ATTEMPTS, job_body, webhook_body
from tests.crash.oracle import SECOND
from tests.crash.receiver import CrashReceiver, now
from tests.crash.service import Api, ServiceProcess, make_token

_LATE_S = 1.0
_BEAT_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a campaign goes. The same seed kills at the same points of the load, though never at the same instant."""

    seed: int
    kills: int = 25
    """Kills that must hit requests in flight; those at a start or in a lull come on top."""
    jobs: int = 110
    program: Sequence[str] = ("-m", "scheduler")
    drain_s: float = 20.0
    """How long the last life may take to bring every run to its end."""
    tell: Callable[[str], None] = print


async def run_campaign(plan: Plan, data_dir: Path) -> Evidence:
    """Carry out ``plan`` on an empty directory. Raises ``AssertionError`` or ``TimeoutError`` when it cannot go on."""
    return (await run_one(Campaign, plan, data_dir))[0]


async def run_one(kind: type[Campaign], plan: Plan, data_dir: Path) -> tuple[Evidence, tuple[str, ...]]:
    """``run_campaign`` of a certain kind; returns with the evidence what the campaign itself has to tell."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(CrashReceiver())
        view = DatabaseView(data_dir / "scheduler.db")
        stack.callback(view.close)
        headers = {"Authorization": f"Bearer {await make_token(data_dir)}", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=30)
        api = Api(await stack.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout)))
        campaign = kind(plan, data_dir, receiver=receiver, view=view, api=api)
        stack.push_async_callback(campaign.end)
        try:
            return await campaign.run(), campaign.dying
        except AssertionError as error:
            error.add_note("\n".join(["errors that the service logged:", *campaign.complaints]))
            raise


class Campaign:
    """One campaign over one process, which is started again after each kill."""

    dying: tuple[str, ...] = ()
    """What a process that killed itself had in hand."""

    def __init__(self, plan: Plan, data_dir: Path, *, receiver: CrashReceiver, view: View, api: Api) -> None:
        self._plan = plan
        self._data_dir = data_dir
        self._receiver = receiver
        self._view = view
        self._api = api
        self._random = random.Random(plan.seed)
        self._evidence = Evidence(requests=receiver.requests)
        self._service: ServiceProcess | None = None
        self._watching: asyncio.Task[None] | None = None
        receiver.look = view.status_of

    async def run(self) -> Evidence:
        await self._start()
        self._watching = asyncio.create_task(self._watch_stalls())
        await self._set_up()
        hits = 0
        while hits < self._plan.kills:
            await self._crash()
            hits += bool(in_flight(self._evidence, self._receiver.life))
            await self._start()
        await self._run_dry()
        return self._evidence

    @property
    def complaints(self) -> list[str]:
        return self._evidence.complaints

    async def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._service is not None:
            await self._service.end()

    async def _start(self) -> None:
        """Begin a life; the database has no other reader at that moment, so recovery is the service's own."""
        self._view.close()
        self._receiver.life = len(self._evidence.lives)
        self._evidence.lives.append(Life(started_at=now()))
        self._service = await ServiceProcess.start(
            self._plan.program, self._data_dir, allow=self._receiver.url.removeprefix("http://")
        )
        self._service.complaints = self._evidence.complaints

    async def _ready(self) -> None:
        assert self._service is not None
        async with asyncio.timeout(60):
            self._api.base = await self._service.ready()
        life = self._evidence.lives[-1]
        life.ready_at = life.ready_at or now()

    async def _set_up(self) -> None:
        """Create the jobs; one with several webhooks begins when it has them all."""
        await self._ready()
        bodies = [job_body(number, self._receiver.url) for number in range(self._plan.jobs)]
        created = (await self._api.call("POST", "/api/jobs/bulk", {"jobs": bodies}))["items"]
        for number, job in enumerate(created):
            webhook_ids = [job["webhook"]["id"]]
            if not job["enabled"]:
                more = {"job_id": job["id"], **webhook_body(number + 1, self._receiver.url)}
                webhook_ids.append((await self._api.call("POST", "/webhooks", more))["id"])
                job = await self._api.call("PATCH", f"/api/jobs/{job['id']}/enable")  # noqa: PLW2901
            self._evidence.jobs.append(
                WatchedJob(
                    id=job["id"],
                    webhook_ids=tuple(webhook_ids),
                    schedule=job["schedule"],
                    due_after_at=_instant(job["updated_at"]),
                    due_until_at=0,
                    perhaps_until_at=0,
                    delays=DELAYS,
                    jitter=JITTER,
                    max_attempts=MAX_ATTEMPTS,
                    at_most_once=job["delivery"] == "at_most_once",
                )
            )

    async def _crash(self) -> None:
        """Let this life come to an end of one of four kinds."""
        kind = self._random.choices(("arrival", "answer", "anytime", "start"), (4, 3, 4, 1))[0]
        if kind == "start":
            await asyncio.sleep(self._random.uniform(0.0, 0.5))
        else:
            await self._first_delivery()
            writer = asyncio.create_task(self._write_things())
            await self._moment(kind)
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
        self._kill()
        await self._bury()

    async def _first_delivery(self) -> None:
        before = len(self._receiver.requests)
        await self._ready()
        async with asyncio.timeout(30):
            await self._receiver.arrivals(before + 1)

    async def _moment(self, kind: str) -> None:
        """At the n-th request from now, before it is answered; a few ms after it; or at any time."""
        if kind == "anytime":
            await asyncio.sleep(self._random.uniform(0.0, 1.2))
            return
        left = self._random.randint(1, 200)
        pause_s = 0.0 if kind == "arrival" else self._random.uniform(0.0, 0.006)
        struck = asyncio.Event()

        def count() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                asyncio.get_running_loop().call_later(pause_s, strike) if pause_s else strike()

        def strike() -> None:
            self._kill()
            struck.set()

        self._receiver.on_arrival = count
        try:
            async with asyncio.timeout(30):
                await struck.wait()
        finally:
            self._receiver.on_arrival = lambda: None

    def _kill(self) -> None:
        assert self._service is not None
        life = self._evidence.lives[-1]
        if life.killed_at is None:
            life.killed_at = now()
            self._service.kill()

    async def _bury(self) -> None:
        """Read everything that the killed process had sent, then what it has left on disk."""
        assert self._service is not None
        await self._service.gone()
        async with asyncio.timeout(10):
            await self._receiver.abandoned()
        self._evidence.snapshots += self._view.rows(since_at=self._evidence.lives[-1].started_at)
        self._evidence.glimpses += self._view.next_runs(now())

    async def _write_things(self) -> None:
        """Use the API while the service works, and keep what it acknowledges."""
        evidence, job = self._evidence, self._random.choice(self._evidence.jobs)
        body = {"name": "acknowledged", "schedule": "@yearly", "enabled": False}
        with suppress(aiohttp.ClientError):
            while True:
                evidence.acknowledged_jobs.add((await self._api.call("POST", "/api/jobs", body))["id"])
                started = await self._api.call("POST", f"/api/jobs/{job.id}/trigger", {"overlap": "allow"})
                evidence.acknowledged_executions |= {item["id"] for item in started["items"]}
                await self._receiver.arrivals(len(evidence.requests) + 20)

    async def _watch_stalls(self) -> None:
        """Note how late this process gets its turn: the service shares the machine with it."""
        while True:
            began_at = now()
            await asyncio.sleep(_BEAT_S)
            late = now() - began_at - int(_BEAT_S * SECOND)
            life = self._evidence.lives[-1]
            if life.killed_at is None:  # afterwards the campaign itself is busy, reading what was left
                life.stall = max(life.stall, late)

    async def _run_dry(self) -> None:
        """Let the last life catch up, end the schedules, wait until every run has ended, and gather the rest."""
        await self._ready()
        async with asyncio.timeout(self._plan.drain_s):
            await self._caught_up()
        await self._end_schedules()
        with suppress(TimeoutError):  # what is not final then is for the checker to name
            async with asyncio.timeout(self._plan.drain_s):
                await self._all_final()
        metrics = await self._api.call("GET", "/metrics")
        self._evidence.counts = {
            name: int(metrics["executions"][name])
            for name in ("queued", "running", "success", "failure", "dead_letter", "timed_out")
        }
        await self._end_in_peace()
        self._gather()

    async def _end_in_peace(self) -> None:
        assert self._service is not None
        assert await self._service.stop() == 0, "the last life did not end in peace"

    async def _caught_up(self) -> None:
        """Until no due time lies back: this returning is the second half of I7."""
        while True:
            jobs = (await self._api.call("GET", "/api/jobs", enabled="true", limit=1000))["items"]
            seen_at = now()
            next_runs = [_instant(job["next_run_at"]) for job in jobs]
            self._evidence.glimpses += [
                Glimpse(seen_at, job["id"], at) for job, at in zip(jobs, next_runs, strict=True)
            ]
            if min(next_runs) >= seen_at - _LATE_S * SECOND:
                return
            await self._pause()

    async def _end_schedules(self) -> None:
        """Half of the jobs get an end, the others a schedule that is never due."""
        for position, job in enumerate(self._evidence.jobs):
            if position % 2:
                end_at = (now() // SECOND + 2) * SECOND
                await self._api.call("PUT", f"/api/jobs/{job.id}", {"ends_at": _text(end_at)})
                until, perhaps_until = end_at - 1, now()
            else:
                changed = await self._api.call("PUT", f"/api/jobs/{job.id}", {"schedule": "@yearly"})
                until, perhaps_until = _instant(changed["updated_at"]), now()
            self._evidence.jobs[position] = replace(job, due_until_at=until, perhaps_until_at=perhaps_until)

    async def _all_final(self) -> None:
        end_at = max(job.due_until_at for job in self._evidence.jobs)
        while now() <= end_at or self._view.unfinished():
            await self._pause()

    async def _pause(self) -> None:
        """Until the next request arrives, or a moment: what is awaited changes with deliveries, mostly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await self._receiver.arrivals(len(self._receiver.requests) + 1)

    def _gather(self) -> None:
        evidence = self._evidence
        wal = self._data_dir / "scheduler.db-wal"
        evidence.wal_bytes = wal.stat().st_size if wal.exists() else 0
        evidence.rows = self._view.rows()
        evidence.job_ids = {glimpse.job_id for glimpse in self._view.next_runs(now())}
        evidence.integrity = self._view.integrity()


def _instant(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _text(instant: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    return moment.isoformat().replace("+00:00", "Z")
