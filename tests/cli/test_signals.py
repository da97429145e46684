"""The end of a process: orderly with the first signal, at once with the second; and disks that fail meanwhile."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.conftest import Received, Receiver
from tests.crash.service import ServiceProcess, make_token


class Client:
    """One life of the service and its API."""

    def __init__(self, process: ServiceProcess, session: aiohttp.ClientSession, base: str) -> None:
        self.process = process
        self._session = session
        self._base = base

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        async with self._session.request(method, self._base + path, json=body) as answer:
            return answer.status, await answer.json(), answer.headers

    async def add_job(self, url: str, schedule: str = "* * * * * *") -> str:
        webhook = {"url": url, "timeout_s": 60}
        job = {"name": "job", "schedule": schedule, "webhook": webhook, "retry": {"max_attempts": 5, "delays": [0.2]}}
        status, answer, _ = await self.call("POST", "/api/jobs", job)
        assert status == 201, answer
        return str(answer["id"])

    async def ready(self) -> tuple[int, Any]:
        status, answer, _ = await self.call("GET", "/health/ready")
        return status, answer


@asynccontextmanager
async def life(
    data_dir: Path, receiver: Receiver, *, program: Sequence[str] = ("-m", "scheduler"), **environ: str
) -> AsyncIterator[Client]:
    process = await ServiceProcess.start(program, data_dir, allow=receiver.url.removeprefix("http://"), **environ)
    try:
        base = await process.ready()
        headers = {"Authorization": f"Bearer {await make_token(data_dir)}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Client(process, session, base)
    finally:
        await process.end()


def rows(data_dir: Path) -> list[tuple[str, int, str | None]]:
    with closing(sqlite3.connect(data_dir / "scheduler.db")) as connection:
        return connection.execute("SELECT status, attempt, error FROM executions ORDER BY id").fetchall()


async def test_a_stop_under_load_finishes_what_it_can_and_queues_the_rest_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    """At once it is not ready and claims nothing more; it answers requests to the end."""
    release = asyncio.Event()

    async def slow(received: Received) -> web.Response:
        await (release.wait() if received.path == "/slow" else asyncio.Event().wait())
        return web.Response(text="ok")

    receiver.answer = slow
    async with life(tmp_path, receiver, SCHEDULER_ENGINE__DRAIN_S="1") as client:
        await client.add_job(f"{receiver.url}/slow")
        await client.add_job(f"{receiver.url}/never")
        await receiver.wait_for(2)
        client.process.signal(signal.SIGTERM)
        await client.process.says("stopping")
        status, told = await client.ready()
        assert (status, told["draining"]) == (503, True)
        arrived = len(receiver.requests)
        assert (await client.call("GET", "/health/live"))[0] == 200
        assert (await client.call("GET", "/api/jobs"))[0] == 200
        release.set()
        assert await client.process.gone() == 0
    assert len(receiver.requests) == arrived
    found = rows(tmp_path)
    assert not [row for row in found if row[0] == "running"]
    assert any(row[0] == "success" for row in found)
    interrupted = [row for row in found if row[0] == "failure" and (row[2] or "").startswith("interrupted")]
    retries = [row for row in found if row[0] == "queued" and row[1] == 2]
    assert len(interrupted) == len(retries) > 0


async def test_a_second_signal_ends_at_once_and_the_next_start_goes_on(tmp_path: Path, receiver: Receiver) -> None:
    async def never(_: Received) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = never
    async with life(tmp_path, receiver, SCHEDULER_ENGINE__DRAIN_S="3600") as client:
        await client.add_job(receiver.url)
        await receiver.wait_for(1)
        client.process.signal(signal.SIGTERM)
        await client.process.says("stopping")
        client.process.signal(signal.SIGTERM)
        assert await client.process.gone() == 1
    first = receiver.requests[0].headers["webhook-id"]
    assert "running" in {row[0] for row in rows(tmp_path)}
    receiver.answer = lambda _: web.Response(text="ok")
    arrived = len(receiver.requests)
    async with life(tmp_path, receiver) as client:
        await receiver.wait_for(arrived + 1)
        assert await client.process.stop() == 0
    repeated = [one.headers for one in receiver.requests[arrived:] if one.headers["webhook-id"] == first]
    assert [headers["x-scheduler-attempt"] for headers in repeated] == ["2"]


async def test_a_disk_that_is_full_for_a_while_refuses_work_and_loses_none(tmp_path: Path, receiver: Receiver) -> None:
    """The process stays, the API says 503 and when to ask again, nothing is sent without a row, and then it goes on."""
    async with life(tmp_path, receiver) as client:
        await client.add_job(receiver.url)
        await receiver.wait_for(1)
        limit = resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await client.process.says("looking for due jobs failed")
        assert (await client.ready())[0] == 503
        body = {"name": "refused", "schedule": "@yearly"}
        status, told, headers = await client.call("POST", "/api/jobs", body)
        assert (status, told["error_code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(headers["Retry-After"]) >= 1
        resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE, limit)
        assert (await client.ready())[0] == 200
        arrived = len(receiver.requests)
        await receiver.wait_for(arrived + 1)
        _, jobs, _ = await client.call("GET", "/api/jobs")
        assert [job["name"] for job in jobs["items"]] == ["job"]
        assert await client.process.stop() == 0
    with closing(sqlite3.connect(tmp_path / "scheduler.db")) as connection:
        known = {row[0] for row in connection.execute("SELECT id FROM executions")}
    sent = [request.headers["x-scheduler-execution-id"] for request in receiver.requests]
    assert set(sent) <= known and len(sent) == len(set(sent))


async def test_a_disk_that_does_not_confirm_ends_the_process(tmp_path: Path, receiver: Receiver) -> None:
    async with life(tmp_path, receiver, program=("-m", "tests.crash.broken_disk")) as client:
        status, told, _ = await client.call("POST", "/api/jobs", {"name": "job", "schedule": "@yearly"})
        assert (status, told["error_code"]) == (503, "SERVICE_UNAVAILABLE")
        assert await client.process.gone() == 1
        assert any("did not confirm" in line for line in client.process.told)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_service_stops_with_exit_code_0(tmp_path: Path, receiver: Receiver, signum: int) -> None:
    async with life(tmp_path, receiver) as client:
        client.process.signal(signum)
        assert await client.process.gone() == 0
