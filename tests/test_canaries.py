"""Planted secrets are found nowhere: not on disk, in a log at DEBUG, in metrics, in refusals or in the history."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from scheduler.service import Service
from tests.checks import present
from tests.cli.test_serve import environment
from tests.conftest import Received, Receiver
from tests.factories import add_job, deliver_ready, rows_of

CREDENTIAL = "canary-credential-0123456789"
ORDINARY = "canary-ordinary-0123456789"
SIGNING = "whsec_" + base64.b64encode(b"canary-signing-0123456789-abc").decode()
CANARIES = (CREDENTIAL, ORDINARY, SIGNING, SIGNING.removeprefix("whsec_"), "canary", "Canary")
HEADERS = {"Authorization": f"Bearer {CREDENTIAL}", "X-Api-Key": CREDENTIAL, "X-Ordinary": ORDINARY}


class Running:
    """A service in a process of its own, and everything that it logged and answered."""

    def __init__(self, url: str, token: str, data_dir: Path, log: list[str]) -> None:
        self.url, self.token, self.data_dir, self.log = url, token, data_dir, log
        self.answers: list[str] = []
        self._line_arrived = asyncio.Event()

    async def call(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        async with session.request(method, self.url + path, json=body, headers=sent) as answer:
            text = await answer.text()
            if answer.status >= 400:
                self.answers.append(f"{answer.headers} {text}")
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def keep_log(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.log.append(line.decode())
            self._line_arrived.set()

    async def logged(self, text: str, count: int, *, within_s: float = 30) -> None:
        """Until ``count`` lines of the log have this text."""
        async with asyncio.timeout(within_s):
            while sum(text in line for line in self.log) < count:
                self._line_arrived.clear()
                await self._line_arrived.wait()

    def files(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.data_dir.iterdir() if path.name.startswith("scheduler.db"))


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Running]:
    data_dir = tmp_path / "data"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", "serve", "--dev", "--port", "0", "--data-dir", str(data_dir)),
        stderr=asyncio.subprocess.PIPE,
        env=environment(SCHEDULER_LOG__LEVEL="debug"),
    )
    assert process.stderr is not None
    log: list[str] = []
    reading = None
    try:
        while not log or json.loads(log[-1])["message"] != "started":
            line = (await process.stderr.readline()).decode()
            assert line, log
            log.append(line)
        running = Running(json.loads(log[-1])["url"], await _token(data_dir), data_dir, log)
        reading = asyncio.create_task(running.keep_log(process.stderr))
        yield running
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if reading is not None:
            await reading


async def _token(data_dir: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", "token", "create", "--data-dir", str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    return (await process.communicate())[0].decode().strip()


async def test_planted_secrets_are_found_nowhere(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda request: web.Response(status=500 if request.path == "/fails" else 200, text="done")
    async with serving(tmp_path) as running, aiohttp.ClientSession() as session:
        for path in ("/works", "/fails"):
            hook = {"url": receiver.url + path, "headers": HEADERS, "signing_secret": SIGNING, "body_template": "{}"}
            status, job = await running.call(
                session, "POST", "/api/jobs", {"name": "j", "schedule": "@yearly", "webhook": hook}
            )
            assert (status, job["webhook"]["signing_secret"]) == (201, SIGNING)
            hook_path = f"/webhooks/{job['webhook']['id']}"
            assert (await running.call(session, "POST", f"{hook_path}/rotate-secret"))[0] == 200
            assert (await running.call(session, "PUT", hook_path, {"headers": HEADERS}))[0] == 200
            assert (await running.call(session, "POST", f"/api/jobs/{job['id']}/trigger"))[0] == 202
        await refusals(running, session, hook_path)
        await running.logged("scheduler.attempts", 2)
        _, executions = await running.call(session, "GET", "/api/executions")
        assert sum(item["finished_at"] is not None for item in executions["items"]) == 2
        assert {request.headers["authorization"] for request in receiver.requests} == {HEADERS["Authorization"]}
        metrics = [
            (await running.call(session, "GET", "/metrics", Accept=accept))[1] for accept in ("*/*", "application/json")
        ]
        while_running = running.files()
        assert any(path.name.endswith("-wal") for path in running.data_dir.iterdir())
    told = {
        "database and its log": (while_running + running.files()).decode("latin-1"),
        "log": "".join(running.log),
        "metrics": json.dumps(metrics),
        "refusals": "\n".join(running.answers),
        "executions": json.dumps(executions),
    }
    assert len(running.answers) > 12
    assert any('"level":"debug"' in line for line in running.log)
    for where, text in told.items():
        assert len(text) > 500, where
        for canary in (*CANARIES, running.token, running.token.split(".")[2]):
            assert canary not in text, (where, canary)


async def refusals(running: Running, session: aiohttp.ClientSession, hook_path: str) -> None:
    """Requests that are refused, each with a secret in the place where it would be repeated first."""
    for body in (
        {"signing_secret": SIGNING + "!"},
        {"signing_secret": [SIGNING]},
        {"headers": {"Authorization": f"{CREDENTIAL}\n"}},
        {"headers": {"Host": CREDENTIAL}},
        {"headers": {"X-Api-Key": [CREDENTIAL]}},
        {"headers": CREDENTIAL},
        {"headers": {"X-Key": CREDENTIAL * 1000}},
        {"url": f"https://user:{CREDENTIAL}@example.com/"},
        {"body_template": f"{{{{ {CREDENTIAL} "},
    ):
        status, answer = await running.call(session, "PUT", hook_path, body)
        assert status == 400, answer
    for path, status in (
        (f"/api/jobs?token={CREDENTIAL}", 400),
        (f"/nowhere/{CREDENTIAL}?token={running.token}", 404),
        (f"/api/jobs/{CREDENTIAL}", 404),
    ):
        assert (await running.call(session, "GET", path))[0] == status
    assert (await running.call(session, "GET", "/api/jobs", Authorization=f"Bearer {CREDENTIAL}"))[0] == 401
    assert (await running.call(session, "GET", "/api/jobs", Authorization=f"Basic {CREDENTIAL}"))[0] == 401
    assert (await running.call(session, "GET", "/api/jobs", Authorization=f"Bearer {running.token}x"))[0] == 401
    host, port = running.url.removeprefix("http://").split(":")
    for malformed in (f"GET / HTTP/1.1\r\nAuthorization: {running.token}\0\r\n\r\n", f"{CREDENTIAL}\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(malformed.encode())
        await reader.read()  # the HTTP parser quotes the request to its sender, and nowhere else
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("status", [200, 302, 500])
async def test_what_a_receiver_sends_back_of_a_credential_is_not_stored(
    service: Service, receiver: Receiver, tmp_path: Path, status: int
) -> None:
    def echo(request: Received) -> web.Response:
        sent = request.headers["authorization"]
        return web.Response(
            status=status,
            reason=f"No {sent}",
            text=json.dumps(request.headers),
            headers={"X-Sent": sent, "Location": sent},
        )

    receiver.answer = echo
    clock, stores = service.clock, service.stores
    job = await add_job(stores, clock.now(), urls=[receiver.url], webhook={"headers": HEADERS})
    await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    row = (await rows_of(stores, job))[0]
    assert row.response_code == status
    echoed = json.loads(present(row.response_body))
    assert echoed["authorization"] == present(row.response_headers)["X-Sent"] == "***"
    assert echoed["x-ordinary"] == ORDINARY
    await stores.db.maintain()
    assert CREDENTIAL.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
