"""Measures starting on a large database, and after a crash.

    python -m tests.bench.start [--jobs 100000] [--executions 1000000] [--orphans 1000] [--rounds 15] [--keep DIRECTORY]

Two figures of the real service in a process of its own, over several rounds:

* ``ready``: from ``exec`` to the first 200 of ``/health/ready``, and the CPU that took. Half of the rounds drop the
  database from the page cache before (``cold``), as far as the system permits.
* ``rescue``: with that many attempts ``running`` for a process that is gone: from ``exec`` to the first delivery, to
  the moment at which the last of them is closed and its next attempt in the queue, and to its delivery.

``--keep`` keeps the database, which takes a minute to build, in that directory for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from scheduler.config import Config
from scheduler.domain.clock import SECOND, Instant, SystemClock
from scheduler.domain.runs.execution import run_id_of
from scheduler.ops.data_dir import open_data_dir
from scheduler.service import open_service
from scheduler.store.ids import first_id, new_id
from tests.bench.herd import receiving
from tests.factories import USER, make_job, make_webhook

_DAY = 86_400 * SECOND
_BATCH = 5000
_ENDS = (
    # share, status, trigger, attempt, response_code, error
    (0.90, "success", "schedule", 1, 200, None),
    (0.03, "failure", "schedule", 1, 503, "http_503 Service Unavailable"),
    (0.03, "success", "retry", 2, 200, None),
    (0.01, "timed_out", "schedule", 1, None, "timeout no complete answer from example.org:443 within 30 s"),
    (0.01, "dead_letter", "retry", 3, 500, "http_500 Internal Server Error"),
    (0.02, "skipped", "schedule", 1, None, None),
)
_INSERT = """
INSERT INTO executions (
  id, run_id, job_id, account_id, webhook_id, status, attempt, trigger_kind, scheduled_at, available_at, held, covers,
  reason, budget_from, budget_at, worker_id, started_at, finished_at, duration_ms, response_code,
  response_body, response_headers, body_truncated, error, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 1, ?, 1, ?, ?, ?, ?, 42, ?, ?, ?, 0, ?, ?)
"""
_ORPHANS = """
INSERT INTO executions (
  id, run_id, job_id, account_id, webhook_id, status, attempt, trigger_kind, scheduled_at, available_at, held, covers,
  budget_from, budget_at, worker_id, started_at, body_truncated, created_at
) VALUES (?, ?, ?, ?, ?, 'running', 1, 'schedule', ?, ?, 0, 1, 1, ?, 'gone:1:1', ?, 0, ?)
"""


async def build(folder: Path, jobs: int, executions: int) -> None:
    """Jobs that are next due tomorrow, and what became of their runs over the last three weeks."""
    config = Config(data_dir=folder)
    async with open_service(config, open_data_dir(config)) as service:
        now = SystemClock().now()
        account = await service.stores.accounts.personal(user=USER, now=now)
        for start in range(0, jobs, _BATCH):
            entries = []
            for _ in range(min(_BATCH, jobs - start)):
                job = make_job(account.id, now - 30 * _DAY, schedule="@every 1h", next_run_at=now + _DAY)
                entries.append((job, [make_webhook(job.id, now)]))
            await service.stores.jobs.insert(entries)
    with closing(sqlite3.connect(folder / "scheduler.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        targets = connection.execute("SELECT job_id, id FROM webhooks").fetchall()
        for start in range(0, executions, _BATCH):
            size = min(_BATCH, executions - start)
            at = now - 21 * _DAY + start * 20 * _DAY // executions
            with connection:
                connection.executemany(_INSERT, list(_history(targets, start, size, at, account.id)))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _history(
    targets: list[tuple[str, str]], start: int, size: int, at: Instant, account_id: str
) -> Iterator[tuple[Any, ...]]:
    draw = random.Random(start)
    ends = draw.choices(_ENDS, [share for share, *_ in _ENDS], k=size)
    for number, (_, status, trigger, attempt, code, error) in enumerate(ends, start):
        job_id, webhook_id = targets[number % len(targets)]
        due_at = (at // SECOND + number // len(targets)) * SECOND
        sent_at = None if status == "skipped" else due_at + 5000
        reason = "missed: the service was not running, and catchup is none" if status == "skipped" else None
        body, headers = ("ok" * 50, '{"Content-Type": "text/plain"}') if code == 200 else (None, None)
        run_id = run_id_of(webhook_id, due_at)
        made_id = f"{first_id(due_at)[:24]}{draw.getrandbits(48):012x}"  # `new_id` goes back behind no other
        yield (
            made_id, run_id, job_id, account_id, webhook_id, status, attempt, trigger, due_at, due_at, reason,
            due_at, "host:7:1", sent_at, due_at + 47_000, code, body, headers, error, due_at,
        )  # fmt: skip


@contextmanager
def begun(folder: Path) -> Iterator[tuple[float, float]]:
    """The service, ready; yields the seconds from ``exec`` to that, and those of CPU. It is ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scheduler", "serve", "--data-dir", str(folder), "--port", str(port)]
    environment = os.environ | {"SCHEDULER_LOG__LEVEL": "error", "SCHEDULER_EGRESS__ALLOW": "127.0.0.0/8"}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            while not _is_ready(port):
                assert process.poll() is None, "the service has ended"
                time.sleep(0.002)
            taken_s = time.perf_counter() - started
            yield taken_s, sum(psutil.Process(process.pid).cpu_times()[:2])
        finally:
            process.terminate()
            ended_with = process.wait(30)
        assert ended_with == 0


def _is_ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False


def let_go(folder: Path) -> None:
    """Ask the system to drop the database from its page cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def starts(folder: Path, rounds: int) -> None:
    taken: dict[str, list[tuple[float, float]]] = {"warm": [], "cold": []}
    with begun(folder):
        pass  # the first one compiles the program
    for number in range(2 * rounds):
        kind = "cold" if number % 2 else "warm"
        if kind == "cold":
            let_go(folder)
        with begun(folder) as figures:
            taken[kind].append(figures)
    for kind, rounds_s in taken.items():
        wall_s, cpu_s = zip(*rounds_s, strict=True)
        cpu = {"cpu_median_s": round(statistics.median(cpu_s), 3)}
        print(json.dumps({"ready": kind, **_spread(wall_s), **cpu}), flush=True)


@contextmanager
def orphans(folder: Path, count: int, url: str) -> Iterator[sqlite3.Connection]:
    """What a crash leaves: attempts that are ``running`` for nobody. Gone again afterwards, with what came of them."""
    now = SystemClock().now()
    with closing(sqlite3.connect(folder / "scheduler.db", timeout=30)) as connection:
        chosen = connection.execute(
            "SELECT w.job_id, w.id, j.account_id FROM webhooks w JOIN jobs j ON j.id = w.job_id LIMIT ?", (count,)
        ).fetchall()  # all of them: a cursor that is left open would see nothing of what changes later
        with connection:
            connection.executemany("UPDATE webhooks SET url = ? WHERE id = ?", [(url, one[1]) for one in chosen])
            connection.executemany(
                _ORPHANS,
                [
                    (new_id(now), run_id_of(webhook_id, now + number), job_id, account_id, webhook_id, *[now] * 5)
                    for number, (job_id, webhook_id, account_id) in enumerate(chosen)
                ],
            )
        yield connection
        with connection:
            connection.execute("DELETE FROM executions WHERE created_at >= ?", (now,))


async def rescues(folder: Path, count: int, rounds: int) -> None:
    first, last, delivered = [], [], []
    for _ in range(rounds):
        async with receiving() as arrivals:
            with orphans(folder, count, arrivals.url) as connection:
                over = threading.Event()
                started = SystemClock().now()
                serving = asyncio.create_task(asyncio.to_thread(_serve_until, folder, over))
                try:
                    last.append((await _re_queued_at(connection) - started) / SECOND)
                    await arrivals.wait(count)
                finally:
                    over.set()
                    await serving
                first.append((arrivals.runs[0][1] - started) / SECOND)
                delivered.append((arrivals.runs[-1][1] - started) / SECOND)
    for what, seconds in (("first delivery", first), ("last re-queued", last), ("last delivered", delivered)):
        print(json.dumps({"rescue": what, "orphans": count, **_spread(seconds)}), flush=True)


def _serve_until(folder: Path, over: threading.Event) -> None:
    with begun(folder):
        over.wait()


async def _re_queued_at(connection: sqlite3.Connection) -> Instant:
    sql = "SELECT COUNT(*) FROM executions WHERE status = 'running' AND worker_id = 'gone:1:1'"
    async with asyncio.timeout(60):
        while connection.execute(sql).fetchone()[0]:
            await asyncio.sleep(0.005)
    return SystemClock().now()


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    figures = {"median_s": statistics.median(ordered), "p99_s": ordered[-(-len(ordered) * 99 // 100) - 1]}
    return {"rounds": len(ordered)} | {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--orphans", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        # as installed: otherwise each start may compile the whole program first, which takes half as long again
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(temporary) / "bytecode")
        folder = arguments.keep or Path(temporary) / "data"
        if not (folder / "scheduler.db").exists():
            asyncio.run(build(folder, arguments.jobs, arguments.executions))
        print(f"database of {(folder / 'scheduler.db').stat().st_size / 2**20:.0f} MiB", flush=True)
        starts(folder, arguments.rounds)
        uvloop.run(rescues(folder, arguments.orphans, arguments.rounds))


if __name__ == "__main__":
    main()
