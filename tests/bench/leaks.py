"""Measures memory and descriptors over many deliveries, a tenth of them to hostile receivers.

    python -m tests.bench.leaks [--deliveries 100000] [--rate 400]

The real service in a process of its own; of the jobs, which run each second, one in ten belongs to another account and
has one of the receivers of ``tests.engine.test_hostile_receivers``. One line is printed for every tenth of the
deliveries, and one at the end, when nothing is due or in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from itertools import cycle, islice
from pathlib import Path

import psutil

from scheduler.config import Config
from scheduler.domain.clock import SECOND, SystemClock
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.ops.data_dir import open_data_dir
from scheduler.service import open_service
from tests.bench.herd import receiving as answering_at_once
from tests.bench.herd import serving
from tests.bench.receiver import pin
from tests.engine.receivers import receiving
from tests.engine.test_hostile_receivers import CASES
from tests.factories import make_job, make_webhook

_HOSTILE = 10
"""One in so many."""
_TIMEOUT_S = 1
_IDLE_S = 20
"""Longer than connections are kept for a next request."""


async def fill(folder: Path, urls: dict[str, list[str]], runs: int) -> None:
    """A data directory with a job for each URL of each user; each runs so many times, second after second."""
    config = Config(data_dir=folder)
    async with open_service(config, open_data_dir(config)) as service:
        now = SystemClock().now()
        first_at = (now // SECOND + 4) * SECOND
        for user, theirs in urls.items():
            account = await service.stores.accounts.personal(user=user, now=now)
            entries = []
            for number, url in enumerate(theirs):
                due_at = first_at + number * SECOND // len(theirs)
                job = make_job(
                    account.id,
                    now,
                    schedule="@every 1s",
                    anchor_at=due_at,
                    next_run_at=due_at,
                    max_runs=runs,
                    catchup="all",
                    retry=RetryPolicy(max_attempts=1),
                    auto_disable=False,
                )
                entries.append((job, [make_webhook(job.id, now, url=url, timeout_s=_TIMEOUT_S)]))
            await service.stores.jobs.insert(entries)


async def measure(deliveries: int, rate: int) -> None:
    async with AsyncExitStack() as stack:
        healthy = await stack.enter_async_context(answering_at_once())
        scripts = islice(cycle(case.script for case in CASES), rate // _HOSTILE)
        hostile = [await stack.enter_async_context(receiving(script)) for script in scripts]
        urls = {
            "healthy": [healthy.url] * (rate - len(hostile)),
            "hostile": [f"http://127.0.0.1:{one.port}/hook" for one in hostile],
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await fill(folder, urls, deliveries // rate)
        process = psutil.Process((await stack.enter_async_context(serving(folder))).pid)
        with closing(sqlite3.connect(folder / "scheduler.db")) as connection:
            for tenth in range(1, 11):
                while (ended := _ended(connection)) < deliveries // rate * rate * tenth // 10:
                    await asyncio.sleep(0.5)
                _report(process, ended)
            await asyncio.sleep(_IDLE_S)
            _report(process, _ended(connection))
            counts = connection.execute("SELECT status, COUNT(*) FROM executions GROUP BY 1")
            print(json.dumps(dict(counts)), flush=True)


def _ended(connection: sqlite3.Connection) -> int:
    (ended,) = connection.execute(
        "SELECT (SELECT COUNT(*) FROM executions)"
        " - (SELECT COUNT(*) FROM executions WHERE status IN ('queued', 'running'))"
    ).fetchone()
    return int(ended)


def _report(process: psutil.Process, ended: int) -> None:
    figures = {
        "ended": ended,
        "rss_mib": round(process.memory_info().rss / 2**20, 1),
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=400)
    arguments = parser.parse_args()
    pin(last=True)
    asyncio.run(measure(arguments.deliveries, arguments.rate))  # the scripts of the receivers are written for this loop


if __name__ == "__main__":
    main()
