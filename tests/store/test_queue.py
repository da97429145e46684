"""The queue: claims are exclusive and bounded, settlements are guarded, retries are rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.clock import SECOND, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Committed, Events, ExecutionsEnded
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import INTERRUPTED, Execution, Outcome, Status, settle
from scheduler.store.database import Transaction
from scheduler.store.stores import Stores
from tests.conftest import SetClock, both_databases
from tests.engine.test_retention import COPY
from tests.event_log import EventLog
from tests.factories import add_job, add_run, claim_and_die, make_webhook, rows_of, start_run, webhooks_of

pytestmark = both_databases

OK = Outcome(response_code=200, response_body="ok")
BROKEN = Outcome(error_code=ErrorCode.HTTP, error_text="Internal Server Error", response_code=500)
NO_JITTER = RetryPolicy(jitter=0)


@pytest.fixture
async def job(stores: Stores, clock: SetClock) -> Job:
    return await add_job(stores, clock.now(), retry=NO_JITTER)


async def _start(stores: Stores, job: Job, clock: SetClock, count: int = 1) -> list[Execution]:
    return [execution for _ in range(count) for execution in await start_run(stores, job, clock.now())]


async def test_a_claim_takes_the_oldest_and_no_more_than_asked(stores: Stores, job: Job, clock: SetClock) -> None:
    queued = []
    for _ in range(5):
        queued += await _start(stores, job, clock)
        clock.advance(1)
    claims = await stores.queue.claim(clock.now(), 3)
    assert [claim.execution.id for claim in claims] == [execution.id for execution in queued[:3]]
    rows = await rows_of(stores, job)
    assert [row.status for row in rows] == [Status.RUNNING] * 3 + [Status.QUEUED] * 2
    assert {row.worker_id for row in rows[:3]} == {"test:1:1"}
    assert {row.started_at for row in rows[:3]} == {clock.now()}
    assert len(await stores.queue.claim(clock.now(), 10)) == 2
    assert await stores.queue.claim(clock.now(), 10) == []


async def test_what_is_not_yet_available_is_not_claimed(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    assert await stores.queue.claim(clock.now() - 1, 10) == []
    assert await stores.queue.next_ready_at() == clock.now()


async def test_a_claim_carries_what_the_delivery_needs(stores: Stores, clock: SetClock) -> None:
    job = await add_job(
        stores, clock.now(), webhook={"headers": {"Authorization": "Bearer x"}, "signing_secret": "whsec_c2VjcmV0"}
    )
    await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    assert claim.webhook is not None
    assert claim.webhook.headers == {"Authorization": "Bearer x"}
    assert claim.webhook.signing_secret == "whsec_c2VjcmV0"
    assert claim.job_name == job.name and claim.policy == job.retry and not claim.at_most_once


async def test_secrets_are_not_readable_in_the_file(stores: Stores, clock: SetClock, tmp_path: Path) -> None:
    await add_job(
        stores, clock.now(), webhook={"headers": {"X-Api": "canary-header"}, "signing_secret": "canary-signing"}
    )
    await stores.db.maintain()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary" not in raw


async def test_success_is_written_with_the_answer(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    clock.advance(1.5)
    settled = await stores.queue.settle([settle(claim.execution, OK, clock.now(), policy=job.retry)], clock.now())
    assert len(settled) == 1
    (row,) = await rows_of(stores, job)
    assert (row.status, row.response_code, row.response_body, row.duration_ms) == (Status.SUCCESS, 200, "ok", 1500)
    assert row.finished_at == clock.now() and row.error is None


async def test_failure_queues_its_retry_in_the_same_transaction(stores: Stores, job: Job, clock: SetClock) -> None:
    (first,) = await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    await stores.queue.settle([settle(claim.execution, BROKEN, clock.now(), policy=job.retry)], clock.now())
    failed, retry = await rows_of(stores, job)
    assert (failed.status, failed.response_code) == (Status.FAILURE, 500)
    assert (retry.status, retry.attempt, retry.run_id, retry.trigger) == (Status.QUEUED, 2, first.run_id, "retry")
    assert retry.available_at == clock.now() + 60 * SECOND
    assert await stores.queue.claim(clock.now() + 60 * SECOND - 1, 1) == []
    assert len(await stores.queue.claim(clock.now() + 60 * SECOND, 1)) == 1


async def test_a_settlement_that_comes_too_late_changes_nothing(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    assert await stores.executions.cancel(claim.execution.id, clock.now(), reason="by hand") is not None
    settled = await stores.queue.settle([settle(claim.execution, BROKEN, clock.now(), policy=job.retry)], clock.now())
    assert settled == []
    (row,) = await rows_of(stores, job)
    assert (row.status, row.reason, row.error) == (Status.CANCELLED, "by hand", None)


async def test_another_worker_cannot_settle_what_it_does_not_hold(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    stranger = replace(claim.execution, worker_id="other:2:2")
    assert await stores.queue.settle([settle(stranger, OK, clock.now(), policy=job.retry)], clock.now()) == []
    (row,) = await rows_of(stores, job)
    assert row.status is Status.RUNNING


async def test_orphans_are_what_another_life_left_running(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock, count=2)
    await claim_and_die(stores, clock.now())
    await _start(stores, job, clock)
    await stores.queue.claim(clock.now(), 1)
    orphans = await stores.queue.orphans(100)
    assert len(orphans) == 2
    await stores.queue.settle(
        [settle(orphan.execution, INTERRUPTED, clock.now(), policy=orphan.policy) for orphan in orphans], clock.now()
    )
    assert await stores.queue.orphans(100) == []
    retries = [row for row in await rows_of(stores, job) if row.attempt == 2]
    assert {row.available_at for row in retries} == {clock.now()}
    assert {row.run_id for row in retries} == {orphan.execution.run_id for orphan in orphans}


async def test_enqueueing_the_same_run_twice_leaves_one(stores: Stores, job: Job, clock: SetClock) -> None:
    (execution,) = await _start(stores, job, clock)

    async def again(tx: Transaction) -> None:
        await stores.queue.enqueue(tx, [replace(execution, id="another")])

    await stores.db.transaction(again)
    assert [row.id for row in await rows_of(stores, job)] == [execution.id]


async def test_pausing_holds_what_is_queued_and_enabling_releases_it(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    await stores.jobs.change(job.id, lambda job: replace(job, enabled=False, next_run_at=None))
    assert await stores.queue.claim(clock.now(), 1) == []
    assert await stores.queue.next_ready_at() is None
    await stores.jobs.change(job.id, lambda job: replace(job, enabled=True))
    assert len(await stores.queue.claim(clock.now(), 1)) == 1


async def test_the_retry_of_a_paused_job_is_held(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    (claim,) = await stores.queue.claim(clock.now(), 1)
    await stores.jobs.change(job.id, lambda job: replace(job, enabled=False, next_run_at=None))
    await stores.queue.settle([settle(claim.execution, BROKEN, clock.now(), policy=job.retry)], clock.now())
    assert await stores.queue.claim(clock.now() + seconds(3600), 1) == []


async def test_a_deleted_webhook_takes_its_queue_but_not_its_history(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    (webhook,) = await webhooks_of(stores, job)
    assert await stores.webhooks.delete(webhook.id, clock.now())
    (row,) = await rows_of(stores, job)
    assert (row.status, row.reason) == (Status.CANCELLED, "the webhook was deleted")


async def test_a_long_queue_of_a_deleted_webhook_is_cancelled_in_slices(
    stores: Stores, job: Job, clock: SetClock, events: Events
) -> None:
    await add_run(stores, job, clock.now(), Status.QUEUED)
    await stores.db.transaction(lambda tx: tx.execute(COPY, {"more": 1299}))
    (webhook,) = await webhooks_of(stores, job)
    ended, committed = EventLog(events, ExecutionsEnded), EventLog(events, Committed)
    assert await stores.webhooks.delete(webhook.id, clock.now())
    assert {row.status for row in await rows_of(stores, job)} == {Status.CANCELLED}
    assert [event.count for event in ended.told] == [1300]
    assert len(committed.told) == 4


async def test_deleting_a_job_takes_everything_with_it(stores: Stores, job: Job, clock: SetClock) -> None:
    await _start(stores, job, clock)
    assert await stores.deletions.delete_job(job.id, clock.now())
    assert await rows_of(stores, job) == []
    assert await webhooks_of(stores, job) == []


async def test_a_webhook_for_a_job_that_is_gone_is_a_conflict(stores: Stores, job: Job, clock: SetClock) -> None:
    await stores.deletions.delete_job(job.id, clock.now())
    with pytest.raises(SchedulerError) as refusal:
        await stores.webhooks.insert(make_webhook(job.id, clock.now()))
    assert refusal.value.code == "CONFLICT"
