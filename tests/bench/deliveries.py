"""Measures durable deliveries a second against those of a bare aiohttp client: medians over interleaved rounds.

    python -m tests.bench.deliveries [--rounds 5] [--count 10000] [--concurrency 64] [--durability full] [--postgres]

Both post the same 200-byte body to the same receiver. The whole product runs: due jobs in SQLite, or in a Postgres
server of its own, are fired, claimed, delivered and settled; the clock stops when the last settlement is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import uvloop
from yarl import URL

from scheduler.app import collect_rarely
from scheduler.config import Config, DatabaseConfig, EngineConfig
from scheduler.config.network import EgressConfig
from scheduler.domain.clock import SECOND, SystemClock
from scheduler.domain.events import AttemptsSettled
from scheduler.domain.runs.execution import Status
from scheduler.ops.data_dir import DataDir
from scheduler.service import Service, open_service
from tests.bench.receiver import pin, receiver
from tests.factories import USER, make_job, make_webhook
from tests.postgres import running_server

BODY = json.dumps({"event": "job.due", "pad": "x" * 169})


async def _bare(url: str, count: int, concurrency: int) -> None:
    left = count

    async def post(session: aiohttp.ClientSession) -> None:
        nonlocal left
        target = URL(url)
        while left > 0:
            left -= 1
            async with session.post(target, data=BODY.encode()) as response:
                await response.read()

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(
        connector=connector,
        headers={"Content-Type": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        await _measured(asyncio.gather(*(post(session) for _ in range(concurrency))), count)


async def _product(url: str, count: int, concurrency: int, database: DatabaseConfig) -> None:
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data_dir=Path(folder),
            database=database,
            engine=EngineConfig(concurrency=concurrency),
            egress=EgressConfig(allow=("127.0.0.0/8",)),
        )
        directory = DataDir(path=config.data_dir, jwt_secret=bytes(32), sealing_keys=(bytes(32),), created=())
        async with open_service(config, directory) as service:
            now = SystemClock().now()
            account = await service.stores.accounts.personal(user=USER, now=now)
            entries = []
            for _ in range(count):
                job = make_job(account.id, now, schedule="@every 1d", next_run_at=now - SECOND)
                entries.append((job, [make_webhook(job.id, now, url=url, body_template=BODY)]))
            await service.stores.jobs.insert(entries)
            collect_rarely()  # as `serve` does
            await _measured(_until_settled(service, count), count)
            await service.engine.stop()


async def _until_settled(service: Service, count: int) -> None:
    await service.engine.start()
    done = 0
    finished = asyncio.Event()

    def on_settled(event: AttemptsSettled) -> None:
        nonlocal done
        done += sum(settlement.status is Status.SUCCESS for settlement in event.settlements)
        if done >= count:
            finished.set()

    service.events.listen(AttemptsSettled, on_settled)
    await finished.wait()


async def _measured(work: Awaitable[object], count: int) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await work
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"per_s": count / wall_s, "cpu_s_per_1000": cpu_s / count * 1000}), flush=True)


def _child(arguments: argparse.Namespace) -> None:
    pin(last=False)
    if arguments.child == "bare":
        uvloop.run(_bare(arguments.url, arguments.count, arguments.concurrency))
    else:
        database = DatabaseConfig(url=arguments.database_url, durability=arguments.durability)
        uvloop.run(_product(arguments.url, arguments.count, arguments.concurrency, database))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--durability", default="full")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--database-url")
    parser.add_argument("--child")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return
    rounds = []
    with ExitStack() as stack:
        url = stack.enter_context(receiver())
        server = stack.enter_context(running_server(durable=True)) if arguments.postgres else None
        for number in range(arguments.rounds):
            row = {}
            for child in ("bare", "product"):
                database = ["--database-url", asyncio.run(server.create())] if server is not None else []
                command = [
                    sys.executable,
                    "-m",
                    "tests.bench.deliveries",
                    *sys.argv[1:],
                    *database,
                    "--child",
                    child,
                    "--url",
                    url,
                ]
                row[child] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row["rate_ratio"] = row["product"]["per_s"] / row["bare"]["per_s"]
            row["cpu_ratio"] = row["product"]["cpu_s_per_1000"] / row["bare"]["cpu_s_per_1000"]
            rounds.append(row)
            print(json.dumps({"round": number + 1, **row}), flush=True)
    for figure in ("rate_ratio", "cpu_ratio"):
        values = [row[figure] for row in rounds]
        print(f"{figure}: median {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
