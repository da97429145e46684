"""Measures an idle service, and how long it takes to start.

    python -m tests.bench.idle [--jobs 0] [--seconds 20] [--starts 7]

Prints the CPU share of an idle process, its resident memory, and the median time from ``exec`` to the first answer of
``/health`` over several starts on the same data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from scheduler.domain.clock import SECOND, SystemClock
from scheduler.store.migrate import migrate
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.factories import USER, make_job, make_webhook


async def fill(path: Path, count: int) -> None:
    db = await SqliteDatabase.open(path)
    now = SystemClock().now()
    await migrate(db, now)
    stores = Stores.over(db, vault=Vault(bytes(32)), worker_id="bench:1:1")
    account = await stores.accounts.personal(user=USER, now=now)
    for start in range(0, count, 5000):
        jobs = [
            make_job(account.id, now, schedule="@every 1h", next_run_at=now + 86_400 * SECOND)
            for _ in range(min(5000, count - start))
        ]
        await stores.jobs.insert([(job, [make_webhook(job.id, now)]) for job in jobs])
    await db.close()


def begin(folder: str) -> tuple[subprocess.Popen[bytes], float]:
    """Start the service; returns it and the seconds until ``/health`` answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scheduler", "serve", "--data-dir", folder, "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "SCHEDULER_LOG__LEVEL": "warning"}
    )
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return process, time.perf_counter() - started
        except OSError:
            time.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--starts", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder) / "scheduler.db", arguments.jobs))
        starts = []
        for _ in range(arguments.starts):
            process, taken_s = begin(folder)
            starts.append(taken_s)
            process.terminate()
            assert process.wait(10) == 0
        process, _ = begin(folder)
        time.sleep(2)
        watched = psutil.Process(process.pid)
        before = sum(watched.cpu_times()[:2])
        time.sleep(arguments.seconds)
        share = (sum(watched.cpu_times()[:2]) - before) / arguments.seconds * 100
        print(
            json.dumps(
                {
                    "jobs": arguments.jobs,
                    "start_to_health_s_median": round(statistics.median(starts), 3),
                    "idle_cpu_percent_of_a_core": round(share, 2),
                    "rss_mib": round(watched.memory_info().rss / 2**20, 1),
                }
            )
        )
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
