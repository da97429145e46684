"""Executions for the API: lists, retry, cancel, and dead letters, which are redriven or purged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome, Status, settle
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter
from scheduler.store.stores import Stores
from tests.conftest import SetClock, both_databases
from tests.factories import USER, add_job, rows_of, start_run

pytestmark = both_databases

BROKEN = Outcome(error_code=ErrorCode.HTTP, error_text="Internal_Server% Error", response_code=500)
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def job(stores: Stores, clock: SetClock) -> Job:
    return await add_job(stores, clock.now(), retry=ONCE)


async def _kill(stores: Stores, job: Job, clock: SetClock, count: int = 1) -> None:
    """Leave ``count`` dead letters."""
    for _ in range(count):
        await start_run(stores, job, clock.now())
        clock.advance(1)
    await _fail_all(stores, clock)


async def _fail_all(stores: Stores, clock: SetClock) -> None:
    claims = await stores.queue.claim(clock.now(), 100)
    await stores.queue.settle(
        [settle(claim.execution, BROKEN, clock.now(), policy=claim.policy) for claim in claims], clock.now()
    )


async def _dead(stores: Stores, **fields: Any) -> int:
    return (await stores.dead_letters.page(USER, ExecutionFilter(**fields), skip=0, limit=100)).total


async def test_lists_are_newest_first_and_paged(stores: Stores, job: Job, clock: SetClock) -> None:
    await _kill(stores, job, clock, 5)
    ids = [row.id for row in await rows_of(stores, job)]
    page = await stores.executions.page(USER, ExecutionFilter(), skip=1, limit=2)
    assert [row.id for row in page.items] == ids[::-1][1:3]
    assert page.total == 5
    assert (await stores.executions.page("stranger", ExecutionFilter(), skip=0, limit=9)).total == 0


async def test_filters_narrow_the_dead_letters(stores: Stores, job: Job, clock: SetClock) -> None:
    start = clock.now()
    await _kill(stores, job, clock, 3)
    assert await _dead(stores, error="Internal_Server%") == 3
    assert await _dead(stores, error="InternalXServer") == 0
    assert await _dead(stores, since_at=start, until_at=clock.now()) == 0
    assert await _dead(stores, since_at=clock.now()) == 3
    assert await _dead(stores, job_id="00000000-0000-0000-0000-000000000000") == 0
    other = await stores.executions.page(USER, ExecutionFilter(statuses=(Status.QUEUED,)), skip=0, limit=9)
    assert other.total == 0


async def test_redrive_counts_attempts_on_with_a_fresh_budget(stores: Stores, job: Job, clock: SetClock) -> None:
    await stores.jobs.change(job.id, lambda job: replace(job, retry=RetryPolicy(max_attempts=2, delays=(0,))))
    await start_run(stores, job, clock.now())
    for _ in range(2):
        await _fail_all(stores, clock)
    (dead,) = (await stores.dead_letters.page(USER, ExecutionFilter(), skip=0, limit=9)).items
    assert dead.attempt == 2 and dead.error is not None and "attempt 1: http_500" in dead.error
    assert await stores.dead_letters.redrive(USER, Selection(ids=(dead.id,)), clock.now(), dry_run=True) == 1
    assert await stores.dead_letters.redrive(USER, Selection(ids=(dead.id,)), clock.now(), dry_run=False) == 1
    assert await _dead(stores) == 0
    assert await stores.dead_letters.redrive(USER, Selection(ids=(dead.id,)), clock.now(), dry_run=False) == 0
    for _ in range(2):
        await _fail_all(stores, clock)
    rows = await rows_of(stores, job)
    assert [row.attempt for row in rows] == [1, 2, 3, 4]
    assert [row.status for row in rows] == [Status.FAILURE, Status.DEAD_LETTER, Status.FAILURE, Status.DEAD_LETTER]
    assert len({row.run_id for row in rows}) == 1
    assert rows[2].trigger == "redrive" and rows[3].trigger == "retry"
    assert await _dead(stores) == 1


async def test_redrive_by_filter_is_the_callers_own_and_what_matched(stores: Stores, job: Job, clock: SetClock) -> None:
    await _kill(stores, job, clock, 3)
    everything = Selection(filter=ExecutionFilter())
    assert await stores.dead_letters.redrive("stranger", everything, clock.now(), dry_run=False) == 0
    assert await stores.dead_letters.redrive(USER, everything, clock.now(), dry_run=False) == 3
    assert await _dead(stores) == 0


async def test_purge_removes_the_runs(stores: Stores, job: Job, clock: SetClock) -> None:
    await _kill(stores, job, clock, 3)
    everything = Selection(filter=ExecutionFilter())
    assert await stores.dead_letters.purge("stranger", everything, dry_run=False) == 0
    assert await stores.dead_letters.purge(USER, everything, dry_run=True) == 3
    assert await stores.dead_letters.purge(USER, everything, dry_run=False) == 3
    assert await rows_of(stores, job) == []


async def test_retry_is_for_what_ended_without_success(stores: Stores, job: Job, clock: SetClock) -> None:
    (queued,) = await start_run(stores, job, clock.now())
    assert await stores.dead_letters.retry(queued.id, clock.now()) is None
    assert await stores.executions.cancel(queued.id, clock.now(), reason="by hand") is not None
    assert await stores.executions.cancel(queued.id, clock.now(), reason="by hand") is None
    again = await stores.dead_letters.retry(queued.id, clock.now())
    assert again is not None and (again.run_id, again.attempt, again.status) == (queued.run_id, 2, Status.QUEUED)
    assert await stores.dead_letters.retry(queued.id, clock.now()) is None


async def test_a_job_without_webhooks_fails_at_once(stores: Stores, clock: SetClock) -> None:
    job = await add_job(stores, clock.now(), urls=())
    (row,) = await start_run(stores, job, clock.now())
    assert row.status is Status.FAILURE and row.error is not None and row.error.startswith("no_webhook")
    assert [(one.status, one.error) for one in await rows_of(stores, job)] == [(row.status, row.error)]


async def test_summary_counts_the_callers_own(stores: Stores, job: Job, clock: SetClock) -> None:
    await _kill(stores, job, clock, 2)
    await start_run(stores, job, clock.now())
    summary = await stores.executions.summary(USER)
    assert (summary.jobs_total, summary.jobs_enabled) == (1, 1)
    assert summary.executions[Status.DEAD_LETTER] == 2 and summary.executions[Status.QUEUED] == 1
    assert (await stores.executions.summary("stranger")).jobs_total == 0
    assert (await stores.executions.counts())[Status.DEAD_LETTER] == 2
