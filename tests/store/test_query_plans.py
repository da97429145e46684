"""Every query on the way of an execution, and every list, uses an index: nothing grows with the table."""

from __future__ import annotations

from typing import Any

import aiosqlite
import pytest

from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.events import Disabled, Events
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome, Status, settle
from scheduler.domain.slots import SlotLimits, Slots
from scheduler.store.accounts.audit import AuditFilter
from scheduler.store.database import Database
from scheduler.store.executions.executions import ExecutionFilter
from scheduler.store.executions.pruning import Edge
from scheduler.store.jobs.deletion import DeletionStore
from scheduler.store.jobs.job_filter import JobFilter
from scheduler.store.stores import Stores
from tests.conftest import SetClock
from tests.factories import USER, add_job, add_run, join, start_run

SMALL_SUBQUERIES = ("SCAN j", "SCAN p")
"""At most one batch of jobs; the people of one account."""


@pytest.fixture
async def statements(db: Database, sqlite_connections: list[aiosqlite.Connection]) -> list[str]:
    """What SQLite executes, with its parameters filled in."""
    seen: list[str] = []
    for connection in sqlite_connections:
        await connection.set_trace_callback(seen.append)
    return seen


async def _scans(stores: Stores, statements: list[str]) -> list[str]:
    """Every step that walks through a whole table or index, with its statement."""
    judged = [sql for sql in statements if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))]
    assert judged
    return [
        f"{row['detail']}: {sql}"
        for sql in judged
        for row in await stores.db.fetch_all(f"EXPLAIN QUERY PLAN {sql}")
        if row["detail"].startswith("SCAN") and row["detail"] not in SMALL_SUBQUERIES
    ]


async def _sorts(stores: Stores, statements: list[str]) -> list[str]:
    """Every step that sorts executions, or what it deletes, with its statement."""
    return [
        f"{row['detail']}: {sql}"
        for sql in statements
        if "executions" in sql or "DELETE" in sql
        for row in await stores.db.fetch_all(f"EXPLAIN QUERY PLAN {sql}")
        if "TEMP B-TREE" in row["detail"]
    ]


async def test_the_way_of_an_execution_walks_through_nothing_but_what_is_live(
    stores: Stores, clock: SetClock, statements: list[str]
) -> None:
    job = await add_job(stores, clock.now(), overlap="buffer_one")
    clock.advance(120)
    await stores.db.transaction(lambda tx: stores.due_jobs.lock_due(tx, clock.now(), 10))
    await stores.due_jobs.next_due_at()
    await start_run(stores, job, clock.now())
    (claim,) = await stores.queue.claim(clock.now(), 10)
    await stores.queue.next_ready_at()
    await stores.queue.orphans(10)
    failed = settle(claim.execution, Outcome(error_code=ErrorCode.TIMEOUT), clock.now(), policy=claim.policy)
    await stores.queue.settle([failed], clock.now())
    live = (
        "jobs_due",
        "executions_ready",
        "executions_buffered",
        "executions_active",
        "executions_in_lanes",
        "executions_running",
    )
    assert [scan for scan in await _scans(stores, statements) if not any(index in scan for index in live)] == []


async def test_claiming_beside_deferred_executions_walks_through_nothing(
    stores: Stores, clock: SetClock, statements: list[str]
) -> None:
    noisy, other = [await add_job(stores, clock.now(), user=user) for user in ("noisy", "other")]
    for _ in range(3):
        await start_run(stores, noisy, clock.now())
    await start_run(stores, other, clock.now())
    slots = Slots(SlotLimits(size=8, account_concurrency=1, host_concurrency=8))
    await stores.queue.claim(clock.now(), 8, slots)
    statements.clear()
    assert len(await stores.queue.claim(clock.now(), 8, slots)) == 1  # these slots are as if the first had ended
    assert any("e.held = 3" in sql for sql in statements)
    live = ("executions_buffered", "executions_active")
    assert [scan for scan in await _scans(stores, statements) if not any(index in scan for index in live)] == []


async def test_giving_up_looks_at_nothing_but_what_failed(
    stores: Stores, clock: SetClock, statements: list[str], events: Events
) -> None:
    job = await add_job(stores, clock.now())
    await start_run(stores, job, clock.now())
    await stores.db.transaction(
        lambda tx: tx.execute("UPDATE jobs SET dead_count = 19, dead_since_at = 0 WHERE id = :id", {"id": job.id})
    )
    (claim,) = await stores.queue.claim(clock.now(), 10)
    gone = settle(
        claim.execution, Outcome(error_code=ErrorCode.HTTP, response_code=410), clock.now(), policy=claim.policy
    )
    disabled: list[Disabled] = []
    events.listen(Disabled, disabled.append)
    await stores.queue.settle([gone], clock.now())
    assert [len(one.items) for one in disabled] == [2]
    assert [scan for scan in await _scans(stores, statements) if "executions_" not in scan] == []


async def test_lists_walk_along_an_index(stores: Stores, clock: SetClock, statements: list[str]) -> None:
    job = await add_job(stores, clock.now())
    (execution,) = await start_run(stores, job, clock.now())
    for narrowed in (
        ExecutionFilter(),
        ExecutionFilter(job_id=job.id),
        ExecutionFilter(account_id=job.account_id),
        ExecutionFilter(run_id=execution.run_id),
        ExecutionFilter(job_id=job.id, statuses=(Status.QUEUED,)),
    ):
        await stores.executions.page(USER, narrowed, skip=0, limit=10)
        await stores.dead_letters.page(USER, narrowed, skip=0, limit=10)
    await stores.jobs.page(USER, JobFilter(), skip=0, limit=10)
    await stores.webhooks.page(USER, skip=0, limit=10)
    await stores.webhooks.page(USER, job_id=job.id, skip=0, limit=10)
    await stores.keys.page(USER, skip=0, limit=10)
    await stores.keys.page(USER, account_id=job.account_id, skip=0, limit=10)
    await stores.keys.find("digest")
    await stores.keys.revoke("key", clock.now())
    await stores.members.page(job.account_id, skip=0, limit=10)
    await stores.invitations.page(USER, skip=0, limit=10)
    await stores.invitations.invite(job.account_id, "bob", Role.VIEWER, clock.now(), invited_by=USER)
    await stores.members.remove(job.account_id, "bob", clock.now())
    await join(stores, job.account_id, "bob", Role.OWNER, clock.now())
    await stores.members.remove(job.account_id, USER, clock.now())
    await join(stores, job.account_id, USER, Role.OWNER, clock.now())
    await stores.audit.page(USER, AuditFilter(), skip=0, limit=10)
    await stores.audit.page(USER, AuditFilter(account_id=job.account_id, actor=USER), skip=0, limit=10)
    await stores.executions.counts()
    await stores.executions.standing_for(job.id, clock.now())
    await stores.db.transaction(lambda tx: stores.queue.last_attempts(tx, [execution.run_id]))
    await stores.jobs.history(job.id)
    await stores.jobs.soonest(USER, clock.now(), limit=10)
    await stores.jobs.plans(USER, clock.now(), clock.now() + 1, limit=10)
    await stores.jobs.plans(USER, clock.now(), clock.now() + 1, account_id=job.account_id, limit=10)

    assert [scan for scan in await _scans(stores, statements) if " INDEX " not in scan.partition(":")[0]] == []


async def test_removing_one_offs_walks_along_an_index(stores: Stores, clock: SetClock, statements: list[str]) -> None:
    over: dict[str, Any] = {"enabled": False, "one_off_ended_at": clock.now()}
    jobs = [await add_job(stores, clock.now(), name=f"{number}", **over) for number in range(3)]
    await add_run(stores, jobs[0], clock.now(), Status.FAILURE, Status.SUCCESS)
    statements.clear()
    ended = await stores.one_offs.ended(clock.now(), after=None, limit=10)
    assert len(ended) == 3
    assert await stores.one_offs.ended(clock.now(), after=ended[-1], limit=10) == []
    removed = await stores.one_offs.remove([job.id for job in ended], clock.now())
    assert (removed.executions, removed.jobs) == (2, 3)
    assert await _scans(stores, statements) == []


async def test_deleting_walks_along_an_index(stores: Stores, clock: SetClock, statements: list[str]) -> None:
    jobs = [await add_job(stores, clock.now(), user=user) for user in (USER, USER, "other")]
    deletions = DeletionStore(stores.db, Events(), slice_size=1)
    for job in jobs[:2]:
        await add_run(stores, job, clock.now(), Status.FAILURE, Status.DEAD_LETTER, Status.QUEUED)
    statements.clear()
    assert await deletions.delete_job(jobs[0].id, clock.now())
    await deletions.delete_account(jobs[2].account_id, clock.now(), by=Actor(name="other", at=clock.now()))
    await stores.executions.page(USER, ExecutionFilter(), skip=0, limit=10)
    await stores.jobs.page(USER, JobFilter(), skip=0, limit=10)
    await stores.executions.counts()
    assert await deletions.sweep() == 1
    await deletions.mark_jobs(clock.now())
    while await deletions.sweep() is not None:
        """There is more."""
    assert await _sorts(stores, [sql for sql in statements if "DELETE" in sql]) == []
    live = ("jobs_deleted", "accounts_deleted", "executions_dead", "executions_active")
    assert [scan for scan in await _scans(stores, statements) if not any(index in scan for index in live)] == []


async def test_pruning_walks_along_an_index(stores: Stores, clock: SetClock, statements: list[str]) -> None:
    job = await add_job(stores, clock.now(), enabled=False)
    await add_run(stores, job, clock.now(), Status.FAILURE, Status.SUCCESS)
    edge = Edge(until_id="~", dead_until_id="")  # behind every id
    statements.clear()
    found = await stores.pruning.oldest_of(job.id, edge, after_id="", limit=10)
    assert found == await stores.pruning.oldest(edge, after_id="", limit=10)
    assert found is not None
    assert await stores.pruning.crowded(after_job_id="", kept=0, limit=10) == [(job.id, found.last_id)]
    assert await stores.pruning.prune(found.going, edge) == 2
    assert await _scans(stores, statements) == []
    assert await _sorts(stores, statements) == []


async def test_replanning_goes_through_the_jobs_by_their_ids_and_finds_those_that_wait(
    stores: Stores, clock: SetClock, statements: list[str]
) -> None:
    await add_job(stores, clock.now(), timezone="Europe/Paris")
    (known,) = await stores.zones.all()
    await stores.zones.change(known, b"other rules", since_at=clock.now(), version=None)
    _, changed = await stores.zones.all()
    statements.clear()
    rest, _ = await stores.zones.replan(changed, lambda job: None)
    assert rest is not None
    await stores.zones.resume("", lambda job, since_at: None, clock.now())
    assert await _scans(stores, statements) == []
    assert [sql for sql in statements if "SELECT id FROM jobs" in sql and "timezone" in sql]


async def test_what_an_account_keeps_is_found_by_an_index(
    stores: Stores, clock: SetClock, statements: list[str]
) -> None:
    job = await add_job(stores, clock.now(), enabled=False)
    await add_run(stores, job, clock.now(), Status.FAILURE, Status.DEAD_LETTER)
    edge = Edge(until_id="", dead_until_id="~")
    statements.clear()
    found = await stores.pruning.with_many_dead(after_account_id="", kept=0, limit=10)
    assert [account_id for account_id, _ in found] == [job.account_id]
    assert await stores.pruning.oldest_dead_of(job.account_id, edge, after_id="", limit=10) is not None
    assert await stores.audit.prune("~", limit=10) == 0
    (dead_id,) = [until_id for _, until_id in found if until_id is not None]
    assert await stores.executions.get(dead_id) is not None
    counted = [kept async for kept in stores.kept_bytes.slices(job.account_id, clock.now())]
    assert sum(kept.total for kept in counted) > 0
    assert await stores.kept_bytes.next_to_count(before_at=0, near=1, near_before_at=0) is not None
    assert await _sorts(stores, statements) == []
    assert [scan for scan in await _scans(stores, statements) if "SCAN s" not in scan and " INDEX " not in scan] == []
