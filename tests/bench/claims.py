"""Measures claiming by the size of the table: medians with 10,000 and with 1,000,000 jobs, in turns; resident memory.

    python -m tests.bench.claims [--small 10000] [--large 1000000] [--rounds 40] [--batch 64]

One round queues ``batch`` executions of random jobs, claims and settles them; a second figure fires ``batch`` due jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from scheduler.domain.clock import SECOND, SystemClock
from scheduler.domain.runs.execution import Outcome, settle
from scheduler.domain.runs.firing import Present, fire, start
from scheduler.store.database import Transaction
from scheduler.store.ids import new_id
from scheduler.store.migrate import migrate
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.checks import present
from tests.factories import USER, make_job, make_webhook

FAR_S = 86_400 * 365


class Table:
    """A database of ``size`` jobs that are due in the far future, each with a webhook."""

    def __init__(self, db: SqliteDatabase, size: int) -> None:
        self.stores = Stores.over(db, vault=Vault(bytes(32)), worker_id="bench:1:1")
        self.size = size
        self.job_ids: list[str] = []

    async def fill(self) -> None:
        now = SystemClock().now()
        account = await self.stores.accounts.personal(user=USER, now=now)
        for start_at in range(0, self.size, 5000):
            entries = []
            for _ in range(min(5000, self.size - start_at)):
                due_at = now + int(FAR_S * (1 + random.random())) * SECOND
                job = make_job(account.id, now, schedule="@every 1h", next_run_at=due_at)
                entries.append((job, [make_webhook(job.id, now)]))
                self.job_ids.append(job.id)
            await self.stores.jobs.insert(entries)
        await self.stores.db.maintain()

    async def claim(self, batch: int) -> float:
        """Seconds to claim ``batch`` executions of random jobs."""
        now = SystemClock().now()
        moment = Present(now=now, watching_since=now, new_id=lambda: new_id(now), draw=random.random)
        chosen = random.sample(self.job_ids, batch)

        async def queue(tx: Transaction) -> None:
            for job_id in chosen:
                found = present(await self.stores.due_jobs.lock_one(tx, job_id))
                await self.stores.queue.apply(tx, [start(found.job, found.webhook_ids, moment)], now)

        await self.stores.db.transaction(queue)
        begun = time.perf_counter()
        claims = await self.stores.queue.claim(now, batch)
        taken_s = time.perf_counter() - begun
        assert len(claims) == batch
        done = Outcome(response_code=200)
        await self.stores.queue.settle(
            [settle(claim.execution, done, now, policy=claim.policy) for claim in claims], now
        )
        return taken_s

    async def fire(self, batch: int) -> float:
        """Seconds to fire ``batch`` random jobs that are due."""
        now = SystemClock().now()
        moment = Present(now=now, watching_since=0, new_id=lambda: new_id(now), draw=random.random)
        chosen = random.sample(self.job_ids, batch)

        async def make_due(tx: Transaction) -> None:
            await tx.execute_many(
                "UPDATE jobs SET next_run_at = :at WHERE id = :id", [{"at": now, "id": job_id} for job_id in chosen]
            )

        async def fire_batch(tx: Transaction) -> int:
            due = await self.stores.due_jobs.lock_due(tx, now, batch)
            firings = [fire(entry.job, entry.webhook_ids, moment, active=0) for entry in due]
            await self.stores.queue.apply(tx, firings, now)
            await self.stores.due_jobs.advance(tx, firings, now)
            return len(firings)

        await self.stores.db.transaction(make_due)
        begun = time.perf_counter()
        assert await self.stores.db.transaction(fire_batch) == batch
        taken_s = time.perf_counter() - begun
        await self.stores.queue.settle(
            [
                settle(claim.execution, Outcome(response_code=200), now, policy=claim.policy)
                for claim in await self.stores.queue.claim(SystemClock().now(), batch)
            ],
            now,
        )
        return taken_s


async def run(arguments: argparse.Namespace) -> None:
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        tables = []
        for size in (arguments.small, arguments.large):
            db = await SqliteDatabase.open(Path(folder) / f"{size}.db")
            await migrate(db, SystemClock().now())
            table = Table(db, size)
            await table.fill()
            tables.append(table)
            ids, table.job_ids = table.job_ids, []
            print(json.dumps({"jobs": size, "rss_mib": round(process.memory_info().rss / 2**20, 1)}), flush=True)
            table.job_ids = ids
        for what in ("claim", "fire"):
            taken: dict[int, list[float]] = {table.size: [] for table in tables}
            for _ in range(arguments.rounds):
                for table in tables:
                    taken[table.size].append(await getattr(table, what)(arguments.batch))
            small, large = (statistics.median(taken[table.size]) for table in tables)
            print(
                f"{what} of {arguments.batch}: {small * 1e3:.2f} ms at {arguments.small}, {large * 1e3:.2f} ms at "
                f"{arguments.large}, ratio {large / small:.2f}"
            )
        for table in tables:
            await table.stores.db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
