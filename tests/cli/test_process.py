"""The process and the system: a log without a reader, a closed standard error, SIGHUP, listeners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Receiver
from tests.crash.service import ROOT, environment, make_token


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(
    data_dir: Path,
    *,
    shell: str = "exec {}",
    stderr: int | None = asyncio.subprocess.DEVNULL,
    environ: Mapping[str, str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """``scheduler serve`` as ``shell`` runs it, ready; yields the process and its base URL."""
    port = free_port()
    command = f"{sys.executable} -m scheduler serve --port {port} --data-dir {data_dir}"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", shell.format(command)),
        cwd=ROOT,
        env={**environment(), **environ},
        stderr=stderr,
        start_new_session=True,
        limit=4096,  # what is not read soon stays in the pipe
    )
    base = f"http://127.0.0.1:{port}"
    try:
        await until_ready(process, base)
        yield process, base
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # of the shell and of what it has started
        await process.wait()


async def until_ready(process: asyncio.subprocess.Process, base: str) -> None:
    """Ask as a load balancer does: the line that tells of it is in the log, which these tests leave unread or close."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{base}/health/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise AssertionError(f"the service ended with {process.returncode}")


async def trigger_often(base: str, data_dir: Path, receiver: Receiver, times: int) -> None:
    """A job that is started by hand so many times, one run after the other, and delivered."""
    headers = {"Authorization": f"Bearer {await make_token(data_dir)}"}
    async with aiohttp.ClientSession(base, headers=headers) as session:
        body = {"name": "often", "schedule": "0 0 1 1 *", "webhook": {"url": receiver.url}}
        async with session.post("/api/jobs", json=body) as answer:
            job = (await answer.json())["id"]
        for _ in range(times):
            async with session.post(f"/api/jobs/{job}/trigger") as answer:
                assert answer.status == 202
    await receiver.wait_for(times)


def permitted(receiver: Receiver) -> dict[str, str]:
    return {"SCHEDULER_EGRESS__ALLOW": receiver.url.removeprefix("http://")}


async def test_a_log_reader_that_stalls_delays_no_delivery(tmp_path: Path, receiver: Receiver) -> None:
    """The pipe takes 64 KiB; the lines of these attempts are more than that, and nothing reads them meanwhile."""
    environ = {**permitted(receiver), "SCHEDULER_LOG__LEVEL": "debug"}
    async with serving(tmp_path, stderr=asyncio.subprocess.PIPE, environ=environ) as (process, base):
        assert process.stderr is not None
        async with asyncio.timeout(60):
            await trigger_often(base, tmp_path, receiver, 400)
        process.send_signal(signal.SIGTERM)
        told = await process.stderr.read()
        assert await process.wait() == 0
    assert len(told) > 2 * 65_536


async def test_a_closed_standard_error_ends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    async with serving(tmp_path, shell="exec {} 2>&-", environ=permitted(receiver)) as (process, base):
        await trigger_often(base, tmp_path, receiver, 3)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_log_whose_reader_is_gone_ends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    environ = {**permitted(receiver), "SCHEDULER_LOG__LEVEL": "debug"}
    async with serving(tmp_path, shell="{} 2>&1 >/dev/null | true", environ=environ) as (_, base):
        await trigger_often(base, tmp_path, receiver, 3)
    assert len(receiver.requests) == 3


Told = Callable[[str], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def configured(tmp_path: Path, text: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, Path, Told]]:
    """The service with a configuration file; yields, beside process and URL, the file and how to await a log line."""
    file = tmp_path / "scheduler.toml"
    file.write_text(text, encoding="utf-8")
    environ = {"SCHEDULER_CONFIG": str(file), "SCHEDULER_LOG__FORMAT": "json"}
    async with serving(tmp_path / "data", stderr=asyncio.subprocess.PIPE, environ=environ) as (process, base):

        async def told(message: str) -> dict[str, Any]:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                while line := await process.stderr.readline():
                    event: dict[str, Any] = json.loads(line)
                    if message in event["message"]:
                        return event
            raise AssertionError(f"the log ended without {message!r}")

        yield process, base, file, told


async def test_a_hangup_reads_the_configuration_again(tmp_path: Path, receiver: Receiver) -> None:
    async with configured(tmp_path, "[retention]\nexecutions_days = 5\n") as (process, base, file, told):
        host = receiver.url.removeprefix("http://")
        file.write_text(f'[server]\nkeepalive_s = 9\n[egress]\nallow = ["{host}"]\n', encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        again = await told("was read again")
        assert again["changed"] == ["egress.allow", "retention.executions_days"]
        assert (await told("need a restart"))["unchanged"] == ["server.keepalive_s"]
        await trigger_often(base, tmp_path / "data", receiver, 1)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_bad_file_is_refused_and_the_old_configuration_stays(tmp_path: Path, receiver: Receiver) -> None:
    host = receiver.url.removeprefix("http://")
    async with configured(tmp_path, f'[egress]\nallow = ["{host}"]\n') as (process, base, file, told):
        file.write_text('[egress]\nallow = []\n[log]\nlevel = "loud"\n', encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        refused = await told("was not read again")
        assert "scheduler.toml:4: log.level: must be one of debug, info, warning, error" in refused["message"]
        await trigger_often(base, tmp_path / "data", receiver, 1)
        process.send_signal(signal.SIGHUP)
        assert (await told("was not read again"))["level"] == "error"


async def test_a_file_that_would_block_is_not_read_again(tmp_path: Path) -> None:
    async with configured(tmp_path, "[server]\nkeepalive_s = 9\n") as (process, _, file, told):
        file.unlink()
        os.mkfifo(file)
        process.send_signal(signal.SIGHUP)
        assert "scheduler.toml: no regular file" in (await told("was not read again"))["message"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def answers(host: str, port: int) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/health?probe=1") as answer:
        return answer.status


async def test_it_listens_on_several_addresses_and_on_both_families(tmp_path: Path) -> None:
    for number, (hosts, reachable) in enumerate(
        (
            (("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.2")),
            (("::",), ("127.0.0.1", "[::1]")),
            (("127.0.0.1", "::1"), ("127.0.0.1", "[::1]")),
            (("0.0.0.0", "::", "127.0.0.1"), ("127.0.0.1", "[::1]")),
            (("127.0.0.1", "0.0.0.0", "::1", "::1"), ("127.0.0.1", "[::1]")),
        )
    ):
        flags = " ".join(f"--host {host}" for host in hosts)
        async with serving(tmp_path / str(number), shell=f"exec {{}} {flags}", environ={}) as (_, base):
            port = int(base.rpartition(":")[2])
            assert [await answers(host, port) for host in reachable] == [200] * len(reachable)


async def test_the_healthcheck_finds_a_port_given_by_flag(tmp_path: Path) -> None:
    async def healthcheck() -> tuple[int | None, str]:
        command = (sys.executable, "-m", "scheduler", "healthcheck", "--data-dir", str(tmp_path), "--json")
        asking = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment(), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await asking.communicate()
        return asking.returncode, json.loads(told)["url"]

    async with serving(tmp_path, environ={}) as (process, base):
        assert await healthcheck() == (0, f"{base}/health/ready")
        process.send_signal(signal.SIGTERM)
        await process.wait()
    assert not (tmp_path / "address").exists(), "what stopped is forgotten"


@pytest.mark.parametrize(
    "host", ["a..b", "-a", "x" * 64, "300.1.1.1", "1.2.3", "münchen", "no.such.name.invalid", "fe80::1%none", "a b"]
)
def test_every_bad_host_is_one_sentence(tmp_path: Path, host: str) -> None:
    command = (sys.executable, "-m", "scheduler", "serve", "--port", "0", "--data-dir", str(tmp_path), f"--host={host}")
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode in (3, 4), ended.stderr
    assert "Traceback" not in ended.stderr
    assert host in ended.stderr.splitlines()[-1] and "host" in ended.stderr.splitlines()[-1]
