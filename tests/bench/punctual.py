"""Measures the time from the planned instant of a run to its first byte at the receiver, at a steady rate.

    python -m tests.bench.punctual [--rate 200] [--seconds 120] [--scenes spread anchored together]

The real service in a process of its own, with ``rate`` jobs that run each second:

* ``spread``: all are due at the whole second, and ``spread_s`` of 1 plans each run for an instant within it.
* ``anchored``: ``@every 1s`` from as many anchors, evenly over the second, so that one is always due.
* ``together``: all are due at the whole second, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
import uvloop

from scheduler.config import Config
from scheduler.domain.clock import SECOND, Instant, SystemClock
from scheduler.ops.data_dir import open_data_dir
from scheduler.service import open_service
from tests.bench.herd import Arrivals, receiving, serving
from tests.bench.receiver import pin
from tests.factories import USER, make_job, make_webhook

_AHEAD_S = 5
_WARM_UP_S = 3
_PATIENCE_S = 30


async def fill(folder: Path, scene: str, rate: int, runs: int, url: str) -> Instant:
    """A data directory with ``rate`` jobs, each with so many runs to come; returns when the first are due."""
    config = Config(data_dir=folder)
    async with open_service(config, open_data_dir(config)) as service:
        now = SystemClock().now()
        account = await service.stores.accounts.personal(user=USER, now=now)
        first_at = (now // SECOND + _AHEAD_S) * SECOND
        entries = []
        for number in range(rate):
            due_at = first_at + (number * SECOND // rate if scene == "anchored" else 0)
            job = make_job(
                account.id,
                now,
                schedule="@every 1s",
                anchor_at=due_at,
                next_run_at=due_at,
                max_runs=runs,
                spread_s=1 if scene == "spread" else 0,
            )
            entries.append((job, [make_webhook(job.id, now, url=url)]))
        await service.stores.jobs.insert(entries)
    return first_at


async def measure(scene: str, rate: int, seconds: int) -> None:
    runs = _WARM_UP_S + seconds
    async with receiving() as arrivals:
        with tempfile.TemporaryDirectory() as folder:
            first_at = await fill(Path(folder), scene, rate, runs, arrivals.url)
            async with serving(Path(folder)) as process:
                assert SystemClock().now() < first_at, "the start has taken too long: give it more time"
                service = psutil.Process(process.pid)
                await asyncio.sleep((first_at - SystemClock().now()) / SECOND + _WARM_UP_S)
                before_s = _cpu_s(service)
                await arrivals.wait(rate * runs, within_s=seconds + _PATIENCE_S)
                cpu_s = _cpu_s(service) - before_s
            figures = lateness(Path(folder), arrivals, first_at + _WARM_UP_S * SECOND)
    figures |= {
        "lost": rate * runs - len({run_id for run_id, _ in arrivals.runs}),
        "cpu_percent": cpu_s / seconds * 100,
    }
    print(json.dumps({"scene": scene} | {name: round(value, 2) for name, value in figures.items()}), flush=True)


def lateness(folder: Path, arrivals: Arrivals, since: Instant) -> dict[str, float]:
    """Milliseconds from the planned instants from ``since`` on to the first arrivals of their runs."""
    with closing(sqlite3.connect(folder / "scheduler.db")) as connection:
        rows = connection.execute(
            "SELECT run_id, available_at, status FROM executions WHERE available_at >= ?", (since,)
        )
        planned = {run_id: (available_at, status) for run_id, available_at, status in rows}
    statuses = Counter(status for _, status in planned.values())
    assert set(statuses) == {"success"}, statuses
    arrived_at: dict[str, Instant] = {}
    for run_id, at in arrivals.runs:
        arrived_at.setdefault(run_id, at)
    late = sorted((arrived_at[run_id] - at) / 1000 for run_id, (at, _) in planned.items())
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    figures = {name: late[min(len(late) - 1, int(len(late) * share))] for name, share in shares.items()}
    return {"runs": len(late), "least_ms": late[0], **figures, "most_ms": late[-1]}


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--scenes", nargs="+", default=["spread", "anchored", "together"])
    arguments = parser.parse_args()
    pin(last=True)
    for scene in arguments.scenes:
        uvloop.run(measure(scene, arguments.rate, arguments.seconds))


if __name__ == "__main__":
    main()
