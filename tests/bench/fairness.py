"""Measures the lag of a healthy account at 100 deliveries a second, alone and beside noisy accounts.

    python -m tests.bench.fairness [--seconds 40] [--rate 100] [--hanging 5000] [--hostile 50]

Three scenes, each with a fresh service on uvloop and its receivers in processes of their own: healthy traffic alone;
beside an account with ``hanging`` jobs whose receivers accept and never answer, all due at once and again every minute;
beside one whose ``hostile`` jobs each have one of the receivers of ``tests.engine.test_hostile_receivers``, all due at
once and again every five seconds. Lag is from the scheduled time of a run to the start of its attempt.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import uvloop

from scheduler.config import Config, EngineConfig
from scheduler.config.network import EgressConfig
from scheduler.domain.clock import SECOND
from scheduler.domain.events import AttemptsSettled
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Settlement
from scheduler.ops.data_dir import DataDir
from scheduler.service import Service, open_service
from tests.bench.receiver import receiver
from tests.engine.receivers import receiving, silence
from tests.engine.test_hostile_receivers import CASES
from tests.factories import make_job, make_webhook

_HANGING_TIMEOUT_S = 10
_HOSTILE_TIMEOUT_S = 3
_WARM_UP_S = 3


class Lags:
    """Listens to settlements and keeps the lags of one account's runs, in milliseconds."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self.values: list[float] = []
        self.others = 0

    def settled(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            execution = settlement.execution
            if execution.account_id != self._account_id:
                self.others += 1
            elif execution.started_at is not None:
                self.values.append((execution.started_at - execution.scheduled_at) / 1000)

    def at(self, share: float) -> float:
        return sorted(self.values)[min(len(self.values) - 1, int(len(self.values) * share))]


async def _add_jobs(
    service: Service, user: str, urls: Sequence[str], *, every_s: float, first_s: float, spread: bool, **webhook: Any
) -> str:
    """Jobs of this user, one for each URL; due together in ``first_s`` seconds, or from then on ``spread`` evenly."""
    now = service.clock.now()
    account = await service.stores.accounts.personal(user=user, now=now)
    entries = []
    for number, url in enumerate(urls):
        due_at = now + int((first_s + (every_s * number / len(urls) if spread else 0)) * SECOND)
        job = make_job(
            account.id,
            now,
            schedule=f"@every {every_s:g}s",
            next_run_at=due_at,
            anchor_at=due_at,
            retry=RetryPolicy(max_attempts=1),
            auto_disable=False,
        )
        entries.append((job, [make_webhook(job.id, now, url=url, **webhook)]))
    await service.stores.jobs.insert(entries)
    return account.id


async def _watch_the_loop(gaps: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        gaps.append((time.perf_counter() - before - 0.005) * 1000)


@asynccontextmanager
async def _hostile_urls(count: int) -> AsyncIterator[list[str]]:
    async with AsyncExitStack() as stack:
        scripts = islice(cycle(case.script for case in CASES), count)
        receivers = [await stack.enter_async_context(receiving(script)) for script in scripts]
        yield [f"http://127.0.0.1:{one.port}/hook" for one in receivers]


@asynccontextmanager
async def _hanging_urls(count: int) -> AsyncIterator[list[str]]:
    async with receiving(silence) as one:
        yield [f"http://127.0.0.1:{one.port}/hook?{number}" for number in range(count)]


async def _neighbours(kind: str, count: int) -> None:
    """In a process of its own: the receivers of the noisy account."""
    async with _hanging_urls(count) if kind == "hanging" else _hostile_urls(count) as urls:
        print(json.dumps(urls), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def _rss_mib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


async def _scene(kind: str, arguments: argparse.Namespace, url: str, noisy_urls: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data_dir=Path(folder), engine=EngineConfig(drain_s=0), egress=EgressConfig(allow=("127.0.0.0/8",))
        )
        directory = DataDir(path=config.data_dir, jwt_secret=bytes(32), sealing_keys=(bytes(32),), created=())
        async with open_service(config, directory) as service:
            if noisy_urls:
                timeout_s = _HANGING_TIMEOUT_S if kind == "hanging" else _HOSTILE_TIMEOUT_S
                await _add_jobs(
                    service,
                    "noisy",
                    noisy_urls,
                    every_s=60 if kind == "hanging" else 5,
                    first_s=2 * _WARM_UP_S + 0.5,
                    spread=False,
                    timeout_s=timeout_s,
                )
            healthy = [url] * arguments.rate
            lags = Lags(
                await _add_jobs(service, "healthy", healthy, every_s=1, first_s=_WARM_UP_S, spread=True, timeout_s=10)
            )
            service.events.listen(AttemptsSettled, lambda event: lags.settled(event.settlements))
            await service.engine.start()
            await asyncio.sleep(2 * _WARM_UP_S)
            gaps: list[float] = []
            watching = asyncio.create_task(_watch_the_loop(gaps))
            before_mib, before_s = _rss_mib(), time.process_time()
            lags.values.clear()
            await asyncio.sleep(arguments.seconds)
            cpu_s, during_mib = time.process_time() - before_s, _rss_mib()
            watching.cancel()
            counts = await service.stores.executions.counts()
            figures = {
                "scene": kind,
                "deliveries": len(lags.values),
                "p50_ms": round(lags.at(0.5), 1),
                "p99_ms": round(lags.at(0.99), 1),
                "max_ms": round(max(lags.values), 1),
                "noisy_ended": lags.others,
                "left": {status.value: count for status, count in counts.items()},
                "longest_stall_ms": round(max(gaps), 1),
                "cpu_s": round(cpu_s, 1),
                "rss_mib": [round(before_mib, 1), round(during_mib, 1)],
            }
            service.engine.trigger_loop.stop()
            await asyncio.sleep(0.5)
            await service.engine.stop()
            print(json.dumps({**figures, "rss_mib_after": round(_rss_mib(), 1)}), flush=True)


def _child(arguments: argparse.Namespace) -> None:
    if arguments.child.startswith("receive-"):
        uvloop.run(_neighbours(arguments.child.removeprefix("receive-"), arguments.count))
    else:
        uvloop.run(_scene(arguments.child, arguments, arguments.url, json.loads(sys.stdin.read() or "[]")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--hanging", type=int, default=5000)
    parser.add_argument("--hostile", type=int, default=50)
    parser.add_argument("--child")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return
    this = [sys.executable, "-m", "tests.bench.fairness", *sys.argv[1:]]
    with receiver() as url:
        for kind, count in (("alone", 0), ("hanging", arguments.hanging), ("hostile", arguments.hostile)):
            scene = [*this, "--child", kind, "--url", url]
            if not count:
                subprocess.run(scene, check=True, input="[]", text=True)
                continue
            neighbours = [*this, "--child", f"receive-{kind}", "--count", str(count)]
            with subprocess.Popen(neighbours, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                subprocess.run(scene, check=True, input=process.stdout.readline(), text=True)


if __name__ == "__main__":
    main()
