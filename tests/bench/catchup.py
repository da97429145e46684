"""Measures catching up: 100,000 jobs that are all due after 24 hours of downtime, with requests to the API meanwhile.

    python -m tests.bench.catchup [--jobs 100000] [--catchup latest|none] [--durability full|normal]

The real service in a process of its own, started on a data directory whose jobs were last planned a day ago. Measured
from the moment it listens: until no job is overdue, and until no run that was caught up is queued or running. Meanwhile
``GET /health`` and ``GET /api/jobs/{id}`` are sent, ten times a second each.
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
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import jwt

from scheduler.config import Config
from scheduler.domain.clock import SECOND, Instant, SystemClock
from scheduler.ops.data_dir import open_data_dir
from scheduler.store.migrate import migrate
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.bench.receiver import receiver
from tests.factories import USER, make_job, make_webhook

DAY_S = 86_400
PERIOD_S = 0.1
"""Between two questions of the same kind."""


async def fill(folder: Path, jobs: int, catchup: str, url: str) -> list[str]:
    """A data directory with jobs of a minute's schedule, planned a day ago; returns some of their ids."""
    directory = open_data_dir(Config(data_dir=folder))
    db = await SqliteDatabase.open(folder / "scheduler.db")
    now = SystemClock().now()
    await migrate(db, now)
    stores = Stores.over(db, vault=Vault(*directory.sealing_keys), worker_id="bench:1:1")
    due_at = (now // (60 * SECOND) - DAY_S // 60) * 60 * SECOND
    account = await stores.accounts.personal(user=USER, now=due_at)
    ids: list[str] = []
    for start in range(0, jobs, 2000):
        entries = []
        for _ in range(min(2000, jobs - start)):
            job = make_job(account.id, due_at - 60 * SECOND, next_run_at=due_at, catchup=catchup)
            entries.append((job, [make_webhook(job.id, now, url=url)]))
        await stores.jobs.insert(entries)
        ids.append(entries[0][0].id)
    await db.maintain()
    await db.close()
    return ids


async def measure(folder: Path, ids: Sequence[str], durability: str) -> dict[str, float]:
    environment = os.environ | {"SCHEDULER_EGRESS__ALLOW": "127.0.0.0/8", "SCHEDULER_DATABASE__DURABILITY": durability}
    command = [sys.executable, "-m", "scheduler", "serve", "--port", "0", "--data-dir", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=environment)
    assert process.stderr is not None
    try:
        base = None
        while base is None:
            line = (await process.stderr.readline()).decode()
            assert line, "the service ended before it listened"
            base = json.loads(line)["url"] if '"message":"started"' in line else None
        draining = asyncio.create_task(_drain(process.stderr))
        figures = await _watch(base, folder, ids)
        figures["cpu_s"] = _cpu_s(process.pid)
        return figures
    finally:
        process.terminate()
        await process.wait()
        draining.cancel()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _watch(base: str, folder: Path, ids: Sequence[str]) -> dict[str, float]:
    secret = (folder / "jwt.secret").read_bytes().strip()
    now_s = int(time.time())
    token = jwt.encode({"sub": USER, "iat": now_s, "exp": now_s + 3600}, secret, algorithm="HS256")
    finished = asyncio.Event()
    started, started_at = time.perf_counter(), SystemClock().now()
    async with aiohttp.ClientSession(base, headers={"Authorization": f"Bearer {token}"}) as session:
        asking = [
            asyncio.create_task(_ask(session, paths, finished))
            for paths in (["/health"], [f"/api/jobs/{job_id}" for job_id in ids])
        ]
        rows = sqlite3.connect(f"file:{folder / 'scheduler.db'}?mode=ro", uri=True)
        caught_up_s = None
        while True:
            await asyncio.sleep(0.25)
            if caught_up_s is None and not _overdue(rows, started_at):
                caught_up_s = time.perf_counter() - started
            if caught_up_s is not None and not _active(rows):
                break
        settled_s = time.perf_counter() - started
        finished.set()
        health, job = [await task for task in asking]
        covers, kinds = _accounted(rows)
        rows.close()
    print(json.dumps({"covers": covers, "rows": kinds}), flush=True)
    return {
        "caught_up_s": caught_up_s,
        "settled_s": settled_s,
        **{f"health_{name}": value for name, value in _spread(health).items()},
        **{f"job_{name}": value for name, value in _spread(job).items()},
    }


def _overdue(rows: sqlite3.Connection, before: Instant) -> bool:
    sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE next_run_at IS NOT NULL AND next_run_at < ?)"
    return bool(rows.execute(sql, (before,)).fetchone()[0])


def _active(rows: sqlite3.Connection) -> bool:
    sql = "SELECT EXISTS (SELECT 1 FROM executions WHERE status IN ('queued', 'running') AND trigger_kind = 'catchup')"
    return bool(rows.execute(sql).fetchone()[0])


def _accounted(rows: sqlite3.Connection) -> tuple[int, dict[str, int]]:
    sql = "SELECT trigger_kind || ' ' || status, COUNT(*), SUM(covers) FROM executions GROUP BY 1"
    counted = rows.execute(sql).fetchall()
    return sum(covers for _, _, covers in counted), {kind: count for kind, count, _ in counted}


async def _ask(session: aiohttp.ClientSession, paths: Sequence[str], finished: asyncio.Event) -> list[float]:
    """How long each answer took, in seconds."""
    taken = []
    number = 0
    while not finished.is_set():
        begun = time.perf_counter()
        async with session.get(paths[number % len(paths)]) as reply:
            await reply.read()
            assert reply.status == 200, reply.status
        taken.append(time.perf_counter() - begun)
        number += 1
        await asyncio.sleep(max(0.0, PERIOD_S - taken[-1]))
    return taken


def _spread(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {"p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3, "max_ms": max(taken) * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--catchup", default="latest")
    parser.add_argument("--durability", default="full")
    arguments = parser.parse_args()
    with receiver() as url, tempfile.TemporaryDirectory() as folder:
        ids = asyncio.run(fill(Path(folder), arguments.jobs, arguments.catchup, url))
        figures = asyncio.run(measure(Path(folder), ids, arguments.durability))
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
