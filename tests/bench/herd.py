"""Measures thousands of jobs that are due in the same second: how long the last run waits, and that none is lost.

    python -m tests.bench.herd [--jobs 1000 10000] [--rounds 3]

The real service in a process of its own, in two scenes: ``queued``, where the runs are in the queue when it starts
(n / rate is the time that delivering takes by itself), and ``herd``, where the jobs are due together some seconds
later. The figure is the time from that second to the last arrival, divided by n / rate of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast

import uvloop

from scheduler.config import Config
from scheduler.domain.clock import SECOND, Instant, SystemClock
from scheduler.ops.data_dir import open_data_dir
from scheduler.service import open_service
from tests.bench.receiver import pin
from tests.factories import USER, make_job, make_webhook

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_AHEAD_S = 4


class Arrivals:
    """A receiver that answers at once and keeps when which run arrived."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, Instant]] = []
        self.url = ""
        self._awaited = 0
        self._complete = asyncio.Event()

    def arrived(self, run_id: str) -> None:
        self.runs.append((run_id, SystemClock().now()))
        if len(self.runs) == self._awaited:
            self._complete.set()

    async def wait(self, count: int, within_s: float = 120) -> None:
        """Until so many have arrived."""
        self._awaited = count
        self._complete.clear()
        if len(self.runs) < count:
            async with asyncio.timeout(within_s):
                await self._complete.wait()


class _Connection(asyncio.Protocol):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, lower = self._buffer[:end], self._buffer[:end].lower()
            length = _value(head, lower, b"content-length")
            if len(self._buffer) < end + 4 + int(length or 0):
                return
            self._buffer = self._buffer[end + 4 + int(length or 0) :]
            self._transport.write(_ANSWER)
            self._arrivals.arrived(_value(head, lower, b"webhook-id").decode())


def _value(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(b"\r\n" + name + b":")
    return head[at + len(name) + 3 :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""


@asynccontextmanager
async def receiving() -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(arrivals), "127.0.0.1", 0, backlog=1024)
    arrivals.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield arrivals
    finally:
        server.close()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service on the first core; yields it when it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scheduler", "serve", "--port", "0", "--data-dir", str(folder),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"SCHEDULER_EGRESS__ALLOW": "127.0.0.0/8"},
        preexec_fn=lambda: pin(last=False),
    )  # fmt: skip
    assert process.stderr is not None
    reading = None
    try:
        while line := (await process.stderr.readline()).decode():
            if '"message":"started"' in line:
                break
        assert line, "the service ended before it listened"
        reading = asyncio.create_task(_drain(process.stderr))
        yield process
    finally:
        process.terminate()
        await process.wait()
        if reading is not None:
            await reading


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def fill(folder: Path, jobs: int, url: str, due_at: Instant, *, fired: bool) -> None:
    """A data directory with jobs that are due at ``due_at``; with ``fired`` their runs are in the queue instead."""
    config = Config(data_dir=folder)
    async with open_service(config, open_data_dir(config)) as service:
        now = SystemClock().now()
        account = await service.stores.accounts.personal(user=USER, now=now)
        for start in range(0, jobs, 2000):
            entries = []
            for _ in range(min(2000, jobs - start)):
                job = make_job(account.id, now, schedule="@every 1d", next_run_at=due_at)
                entries.append((job, [make_webhook(job.id, now, url=url)]))
            await service.stores.jobs.insert(entries)
        if fired:
            while (next_at := await service.engine.firer.fire_due(now)) is not None and next_at <= now:
                pass
        await service.stores.db.maintain()


async def queued_rate(jobs: int) -> float:
    """Deliveries a second from a queue that is full, first to last arrival."""
    async with receiving() as arrivals:
        with tempfile.TemporaryDirectory() as folder:
            await fill(Path(folder), jobs, arrivals.url, SystemClock().now(), fired=True)
            async with serving(Path(folder)):
                await arrivals.wait(jobs)
    return jobs / ((arrivals.runs[-1][1] - arrivals.runs[0][1]) / SECOND)


async def herd(jobs: int) -> dict[str, float]:
    """Seconds from the second in which all are due to their first and their last arrival, and what was lost."""
    async with receiving() as arrivals:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            due_at = (SystemClock().now() // SECOND + 86_400) * SECOND
            await fill(path, jobs, arrivals.url, due_at, fired=False)
            due_at = (SystemClock().now() // SECOND + _AHEAD_S) * SECOND
            with closing(sqlite3.connect(path / "scheduler.db")) as connection, connection:
                connection.execute("UPDATE jobs SET next_run_at = ?", (due_at,))
            async with serving(path):
                assert SystemClock().now() < due_at, "the start has taken too long: give it more time"
                await arrivals.wait(jobs)
            lost = jobs - len({run_id for run_id, _ in arrivals.runs})
            with closing(sqlite3.connect(path / "scheduler.db")) as connection:
                statuses = Counter(dict(connection.execute("SELECT status, COUNT(*) FROM executions GROUP BY 1")))
    waits = sorted((at - due_at) / SECOND for _, at in arrivals.runs)
    assert statuses == Counter(success=jobs), statuses
    return {
        "lost": lost,
        "twice": len(waits) - jobs,
        "first_s": waits[0],
        "p50_s": waits[jobs // 2],
        "last_s": waits[-1],
    }


async def measure(jobs: int, rounds: int) -> None:
    ratios = []
    for number in range(rounds):
        rate = await queued_rate(jobs)
        figures = await herd(jobs)
        ratios.append(figures["last_s"] * rate / jobs)
        figures |= {"rate_per_s": rate, "last_over_n_by_rate": ratios[-1]}
        print(
            json.dumps({"jobs": jobs, "round": number + 1} | {k: round(v, 3) for k, v in figures.items()}), flush=True
        )
    print(f"{jobs} jobs: last arrival after {statistics.median(ratios):.2f} (most {max(ratios):.2f}) times n / rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pin(last=True)
    started = time.perf_counter()
    for jobs in arguments.jobs:
        uvloop.run(measure(jobs, arguments.rounds))
    print(f"({time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
