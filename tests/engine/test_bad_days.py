"""Faults: a secret that cannot be read, a database that cannot be written, a task that ends with an exception."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.config import Config, DatabaseConfig
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome, Status, settle
from scheduler.ops.data_dir import DataDir
from scheduler.ops.start_error import StartError
from scheduler.service import Service, open_service
from scheduler.store.database import Transaction
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter
from tests.checks import present
from tests.conftest import JWT_SECRET, SECRET_KEY, OpenService, Receiver, SetClock
from tests.factories import USER, add_job, deliver_ready, rows_of


async def test_one_webhook_that_cannot_be_read_fails_alone(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    sealed = await add_job(service.stores, clock.now(), urls=[receiver.url], webhook={"headers": {"X-Key": "secret"}})
    plain = await add_job(service.stores, clock.now(), urls=[receiver.url])

    async def corrupt(tx: Transaction) -> None:
        await tx.execute("UPDATE webhooks SET headers = 'deadbeef.QUFBQUFBQUFBQUFBQUFB' WHERE headers IS NOT NULL")

    await service.stores.db.transaction(corrupt)
    for job in (sealed, plain):
        await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, plain)] == [Status.SUCCESS]
    first = (await rows_of(service.stores, sealed))[0]
    assert first.status is Status.FAILURE and present(first.error).startswith("secret_unreadable")


async def test_a_part_that_dies_makes_the_service_unready(open_test_service: OpenService, config: Config) -> None:
    """The pruner cannot count so many days; the check of the configuration would have refused them."""
    endless = replace(config, retention=replace(config.retention, executions_days=math.inf))
    async with open_test_service(config=endless) as service:
        await service.engine.start()
        async with asyncio.timeout(20):
            await service.engine.broken.wait()
        assert not (await service.health.now()).ready
        await service.engine.stop()


async def test_a_database_that_another_process_holds_makes_the_service_unready(
    service: Service, tmp_path: Path
) -> None:
    await service.engine.start()
    intruder = sqlite3.connect(tmp_path / "scheduler.db", isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    assert (await service.health.now()).database == "disconnected"
    intruder.execute("ROLLBACK")
    intruder.close()
    patient = replace(service.health, database_timeout_s=60)
    assert (await patient.now()).database == "connected"
    await service.engine.stop()


async def test_a_link_to_the_database_is_the_same_database(service: Service, config: Config, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "scheduler.db")
    other = Config(data_dir=link.parent, database=DatabaseConfig(url=f"sqlite:///{link}"))
    directory = DataDir(path=other.data_dir, jwt_secret=JWT_SECRET, sealing_keys=(SECRET_KEY,), created=())
    with pytest.raises(StartError, match="in use by another scheduler process"):
        async with open_service(other, directory):
            raise AssertionError


async def test_a_redriven_run_remembers_every_reason(service: Service, clock: SetClock) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now(), retry=RetryPolicy(max_attempts=2, delays=(0,), jitter=0))
    await service.engine.firer.start_run(job.id, clock.now())

    async def fail(attempt: int) -> None:
        (claim,) = await stores.queue.claim(clock.now(), 1)
        failed = Outcome(error_code=ErrorCode.HTTP, error_text="No", response_code=500 + attempt)
        await stores.queue.settle([settle(claim.execution, failed, clock.now(), policy=job.retry)], clock.now())

    await fail(1)
    await fail(2)
    dead = (await rows_of(stores, job))[-1]
    assert await stores.dead_letters.redrive(USER, Selection(ids=(dead.id,)), clock.now(), dry_run=False) == 1
    await fail(3)
    await fail(4)
    last = (await rows_of(stores, job))[-1]
    assert last.status is Status.DEAD_LETTER and last.attempt == 4
    assert last.error == "http_504 No (before: attempt 1: http_501 No; attempt 2: http_502 No; attempt 3: http_503 No)"
    assert await stores.executions.get(last.id) == last
    stored = await stores.db.fetch_all("SELECT error FROM executions ORDER BY attempt")
    assert [row["error"] for row in stored] == [f"http_50{attempt} No" for attempt in (1, 2, 3, 4)]
    for word, found in (("HTTP_501", [last]), ("http_504", [last]), ("http_505", [])):
        page = await stores.dead_letters.page(USER, ExecutionFilter(error=word), skip=0, limit=10)
        assert page.items == found and page.total == len(found)


async def test_a_run_whose_webhook_is_gone_stays_in_the_dead_letter(service: Service, clock: SetClock) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now(), retry=RetryPolicy(max_attempts=1))
    await service.engine.firer.start_run(job.id, clock.now())
    (claim,) = await stores.queue.claim(clock.now(), 1)
    failed = settle(
        claim.execution,
        Outcome(error_code=ErrorCode.HTTP, error_text="No", response_code=500),
        clock.now(),
        policy=job.retry,
    )
    await stores.queue.settle([failed], clock.now())
    await stores.webhooks.delete(present(claim.execution.webhook_id), clock.now())
    chosen = Selection(ids=(claim.execution.id,))
    assert await stores.dead_letters.redrive(USER, chosen, clock.now(), dry_run=False) == 0
    assert await stores.dead_letters.purge(USER, chosen, dry_run=True) == 1
