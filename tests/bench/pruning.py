"""Measures pruning: how long one slice keeps the writer busy, in a table of many executions.

    python -m tests.bench.pruning [--jobs 100000] [--executions 1000000] [--slices 1500] [--keep DIRECTORY]

Three scenes on one database: a sweep that finds nothing to prune; one by count that leaves three executions of each
job; one by age that deletes all. Each ends after so many slices. ``held_ms`` is the time from the start of
a transaction to its commit, which is how long a delivery may have to wait for it; ``step_ms`` a whole step, reading
included. ``--keep`` is that of ``tests.bench.start``; what is pruned is a copy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from scheduler.config import Config
from scheduler.config.retention import RetentionConfig
from scheduler.engine.upkeep.pruner import Pruner
from scheduler.ops.data_dir import open_data_dir
from scheduler.service import Service, open_service
from scheduler.store.database import Transaction
from tests.bench.start import build
from tests.checks import present

_SCENES = (
    ("nothing", RetentionConfig()),
    ("by count", RetentionConfig(executions_per_job=3)),
    ("by age", RetentionConfig(executions_days=0.01, dead_letter_days=0.01)),
)
BETWEEN_SWEEPS_S = 60
"""No rest after a slice is as long as this; that between two sweeps is longer."""


async def measure(folder: Path, scene: str, retention: RetentionConfig, most: int) -> None:
    config = Config(data_dir=folder, retention=retention)
    async with open_service(config, open_data_dir(config)) as service:
        held = _time_transactions(service.stores.db)
        before = await _count(service)
        held.clear()
        steps = await _sweep(service.engine.pruner, most)
        figures = {"scene": scene, "slices": len(steps), "held_ms": _spread(held), "step_ms": _spread(steps)}
        print(json.dumps({**figures, "pruned": before - await _count(service)}), flush=True)


async def _sweep(pruner: Pruner, most: int) -> list[float]:
    steps: list[float] = []
    while len(steps) < most:
        began = time.perf_counter()
        if await pruner.step() > BETWEEN_SWEEPS_S:
            break
        steps.append((time.perf_counter() - began) * 1000)
    return steps


def _time_transactions(db: Any) -> list[float]:
    """Milliseconds from the first statement of each transaction from now on to its commit."""
    held: list[float] = []
    transaction = db.transaction

    async def timed(work: Callable[[Any], Awaitable[Any]]) -> Any:
        began = 0.0

        async def work_timed(tx: Transaction) -> Any:
            nonlocal began
            began = time.perf_counter()
            return await work(tx)

        made = await transaction(work_timed)
        held.append((time.perf_counter() - began) * 1000)
        return made

    db.transaction = timed
    return held


async def _count(service: Service) -> int:
    row = await service.stores.db.fetch_one("SELECT COUNT(*) AS n FROM executions")
    return int(present(row)["n"])


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    shares = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * at))], 1) for name, at in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--slices", type=int, default=1500)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        if arguments.keep and (arguments.keep / "scheduler.db").exists():
            shutil.copytree(arguments.keep, folder)
            os.sync()  # or the first commit that waits for the disk waits for all of the copy
        else:
            asyncio.run(build(folder, arguments.jobs, arguments.executions))
        for scene, retention in _SCENES:
            uvloop.run(measure(folder, scene, retention, arguments.slices))


if __name__ == "__main__":
    main()
