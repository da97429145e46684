"""A scripted campaign for one fault: a few jobs, a receiver that answers as the test says, one process after the other.
Nothing is random; the checker decides from the same evidence.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import jwt

from tests.crash.evidence import DatabaseView, Evidence, Life, Request, WatchedJob
from tests.crash.oracle import SECOND
from tests.crash.receiver import Answer, CrashReceiver, _Connection, now
from tests.crash.service import Api, ServiceProcess

PROMPT = Answer(200)
HELD = Answer(None, math.inf)
"""Nothing is answered until the test says what."""

_DRAIN_S = 20.0
_LOOK_S = 0.05
_BEAT_S = 0.02


class ScriptedReceiver(CrashReceiver):
    """Answers as ``script`` says."""

    def __init__(self) -> None:
        super().__init__()
        self.script: Callable[[Request], Answer] = lambda _: PROMPT
        self.held: dict[str, HeldRequest] = {}
        """The requests without an answer, by execution."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HeldRequest(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def until(self, condition: Callable[[], bool], *, within_s: float = _DRAIN_S) -> None:
        """Wait for what comes with requests, or with time; fails loudly instead of hanging."""
        async with asyncio.timeout(within_s):
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self.arrivals(len(self.requests) + 1)


class HeldRequest(_Connection):
    """A connection whose request may have to wait for its answer."""

    _receiver: ScriptedReceiver

    def answer(self, status: int | None) -> None:
        """Answer now; ``None`` ends the connection without an answer."""
        super()._answer(status)

    def _answer(self, status: int | None) -> None:
        request = self._current
        if request is None:
            return
        status, delay_s = self._receiver.script(request)
        if delay_s == math.inf:
            self._receiver.held[request.execution_id] = self
        elif delay_s:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.answer, status)
        else:
            self.answer(status)


class Episode:
    """One data directory, its receiver and its lives, as an async context manager.

    ``clock`` tells the wall clock of the service, in epoch microseconds.
    """

    def __init__(self, data_dir: Path, *, clock: Callable[[], int] = now) -> None:
        self.data_dir = data_dir
        self.receiver = ScriptedReceiver()
        self.evidence = Evidence(requests=self.receiver.requests)
        self.view = DatabaseView(data_dir / "scheduler.db")
        self._clock = clock
        self._stack = AsyncExitStack()
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.receiver)
        self.receiver.look = self.view.status_of
        self._stack.callback(self.view.close)
        watching = asyncio.create_task(self._watch_stalls())
        self._stack.callback(watching.cancel)
        self._stack.push_async_callback(self._life.aclose)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.evidence.complaints:
            error.add_note("\n".join(["errors that the service logged:", *self.evidence.complaints]))
        await self._stack.aclose()

    async def begin(self, *program: str, **environ: str) -> None:
        """Begin a life of ``program`` and wait until it listens. The database has no other reader when it starts."""
        await self._life.aclose()
        self.view.close()
        self.receiver.life = len(self.evidence.lives)
        life = Life(started_at=now())
        self.evidence.lives.append(life)
        self.service = await ServiceProcess.start(
            program or ("-m", "scheduler"),
            self.data_dir,
            allow=self.receiver.url.removeprefix("http://"),
            **environ,
        )
        self._life.push_async_callback(self.service.end)
        self.service.complaints = self.evidence.complaints
        async with asyncio.timeout(60):
            base = await self.service.ready()
        life.ready_at = now()
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=30)
        session = await self._life.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout))
        self.api = Api(session)
        self.api.base = base

    async def add_jobs(self, *bodies: dict[str, Any]) -> list[str]:
        """Create jobs, whose ids are returned; from then on the checker expects their runs."""
        created = (await self.api.call("POST", "/api/jobs/bulk", {"jobs": list(bodies)}))["items"]
        self.evidence.jobs += [watched(job) for job in created]
        self.evidence.acknowledged_jobs |= {job["id"] for job in created}
        return [job["id"] for job in created]

    async def died(self, within_s: float = 30) -> None:
        """Wait until this life has ended by itself, and read what it has left on disk."""
        async with asyncio.timeout(within_s):
            await self._gone()
        told = [json.loads(line) for line in self.service.told if '"message": "dies"' in line]
        self.evidence.lives[-1].killed_at = told[-1]["at"] if told else now()
        self.evidence.snapshots += self.view.rows()
        self.evidence.glimpses += self.view.next_runs(now())

    async def kill(self) -> None:
        """SIGKILL, now; returns when nothing of this life is left but its files."""
        self.evidence.lives[-1].killed_at = now()
        self.service.kill()
        await self._gone()
        self.view.close()

    async def run_dry(self) -> Evidence:
        """Let this life catch up, end the schedules, wait for the last runs, stop it, and gather the rest."""
        await self.receiver.until(self.is_caught_up)
        await self.end_schedules()
        with suppress(TimeoutError):  # what is not final then is for the checker to name
            await self.receiver.until(lambda: not self.view.unfinished())
        metrics = await self.api.call("GET", "/metrics")
        statuses = ("queued", "running", "success", "failure", "dead_letter", "timed_out")
        self.evidence.counts = {name: int(metrics["executions"][name]) for name in statuses}
        assert await self.service.stop() == 0, "the last life did not end in peace"
        self.gather()
        return self.evidence

    def is_caught_up(self) -> bool:
        """Does no due time lie back?"""
        glimpses, latest = self.view.next_runs(now()), self._clock() - SECOND
        self.evidence.glimpses += glimpses
        return all(one.next_run_at is None or one.next_run_at >= latest for one in glimpses)

    async def end_schedules(self) -> None:
        """Give every job a schedule that is due in ten years; what was due before stays so."""
        for position, job in enumerate(self.evidence.jobs):
            planned_at = next(one.next_run_at for one in self.view.next_runs(0) if one.job_id == job.id)
            changed = await self.api.call("PUT", f"/api/jobs/{job.id}", {"schedule": "@every 520w"})
            # What a clock that was ahead has fired already stays fired.
            until = max(instant(changed["updated_at"]), (planned_at or 0) - 1)
            perhaps = max(until, self._clock())
            self.evidence.jobs[position] = replace(job, due_until_at=until, perhaps_until_at=perhaps)

    def gather(self) -> None:
        """Read what the database has at the end."""
        wal = self.data_dir / "scheduler.db-wal"
        self.evidence.wal_bytes = wal.stat().st_size if wal.exists() else 0
        self.evidence.rows = self.view.rows()
        self.evidence.job_ids = {glimpse.job_id for glimpse in self.view.next_runs(0)}
        self.evidence.integrity = self.view.integrity()

    async def _gone(self) -> None:
        """Wait for the end of the process, and until everything that it had sent has been read."""
        await self.service.gone()
        await self.receiver.abandoned()

    async def _watch_stalls(self) -> None:
        """Note how late this process gets its turn: the service shares the machine with it."""
        while True:
            began_at = time.monotonic()
            await asyncio.sleep(_BEAT_S)
            late = round((time.monotonic() - began_at - _BEAT_S) * SECOND)
            if self.evidence.lives:
                self.evidence.lives[-1].stall = max(self.evidence.lives[-1].stall, late)

    def _token(self) -> str:
        at_s = self._clock() // SECOND
        secret = (self.data_dir / "jwt.secret").read_bytes().strip()
        return jwt.encode({"sub": "ann", "iat": at_s, "exp": at_s + 7 * 86_400}, secret, algorithm="HS256")


async def side_by_side(*stories: Awaitable[Any], at_once: int) -> Sequence[Any]:
    """Let stories happen, a few at a time; the result of each, or what went wrong in it."""
    turns = asyncio.Semaphore(at_once)

    async def in_turn(story: Awaitable[Any]) -> Any:
        async with turns:
            return await story

    return await asyncio.gather(*map(in_turn, stories), return_exceptions=True)


def watched(job: dict[str, Any]) -> WatchedJob:
    """The job as the API has just answered it; its end is set when it has one."""
    return WatchedJob(
        id=job["id"],
        webhook_ids=(job["webhook"]["id"],),
        schedule=job["schedule"],
        due_after_at=instant(job["updated_at"]),
        due_until_at=0,
        perhaps_until_at=0,
        delays=tuple(job["retry"].get("delays") or ()),
        jitter=job["retry"]["jitter"],
        max_attempts=job["retry"]["max_attempts"],
        at_most_once=job["delivery"] == "at_most_once",
    )


def instant(text: str) -> int:
    """The epoch microseconds of a time as the API writes it."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
