"""Every query on the way of an execution, and every list, uses an index: nothing grows with the table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from scheduler.domain.execution import Outcome, Status, settle
from scheduler.store.executions import ExecutionFilter
from scheduler.store.sqlite import SqliteDatabase
from scheduler.store.stores import Stores
from tests.conftest import SetClock
from tests.factories import USER, add_job, start_run

SUBQUERY_OF_AT_MOST_ONE_BATCH = "SCAN j"


@pytest.fixture
async def statements(db: SqliteDatabase) -> AsyncIterator[list[str]]:
    """What SQLite executes, with its parameters filled in."""
    seen: list[str] = []
    connections = (db._writer, db._reader, db._lister)
    for connection in connections:
        await connection.set_trace_callback(seen.append)
    yield seen
    for connection in connections:
        await connection.set_trace_callback(None)


async def test_nothing_scans_a_table(stores: Stores, clock: SetClock, statements: list[str]) -> None:
    job = await add_job(stores, clock.now(), overlap="buffer_one")
    clock.advance(120)
    await stores.db.transaction(lambda tx: stores.jobs.lock_due(tx, clock.now(), 10))
    await stores.jobs.next_due_at()
    (execution,) = await start_run(stores, job, clock.now())
    (claim,) = await stores.queue.claim(clock.now(), 10)
    await stores.queue.next_ready_at()
    await stores.queue.orphans(10)
    failed = settle(claim.execution, Outcome(error="timeout"), clock.now(), policy=claim.policy)
    await stores.queue.settle([failed])
    for narrowed in (
        ExecutionFilter(),
        ExecutionFilter(job_id=job.id),
        ExecutionFilter(account_id=job.account_id),
        ExecutionFilter(run_id=execution.run_id),
        ExecutionFilter(job_id=job.id, status=Status.QUEUED),
    ):
        await stores.executions.page(USER, narrowed, skip=0, limit=10)
        await stores.dead_letters.page(USER, narrowed, skip=0, limit=10)
    await stores.jobs.page(USER, skip=0, limit=10)
    await stores.webhooks.page(USER, skip=0, limit=10)
    await stores.webhooks.page(USER, job_id=job.id, skip=0, limit=10)
    await stores.executions.counts()

    judged = [sql for sql in statements if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))]
    assert len(judged) > 30
    for sql in judged:
        plan = [row["detail"] for row in await stores.db.fetch_all(f"EXPLAIN QUERY PLAN {sql}")]
        scans = [step for step in plan if step.startswith("SCAN") and step != SUBQUERY_OF_AT_MOST_ONE_BATCH]
        assert not [step for step in scans if "INDEX" not in step], f"{sql}\n{plan}"
