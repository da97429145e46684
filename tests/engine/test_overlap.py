"""Overlapping: what happens to a run whose predecessor is still active, retries that wait included."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp import web

from scheduler.domain.events import WorkReady
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Outcome, settle
from scheduler.service import Service
from tests.conftest import Receiver, SetClock, both_databases
from tests.event_log import EventLog
from tests.factories import (
    add_job,
    change_stored,
    deliver_ready,
    fire_and_deliver,
    metric,
    read_job,
    rows_of,
    webhooks_of,
)

pytestmark = both_databases

SLOW_RETRY = RetryPolicy(delays=(150,), jitter=0)
OVERLAPPED = "overlap: the previous run was still active"
NEWER = "overlap: cancelled by a newer run"


async def fire(service: Service, clock: SetClock) -> None:
    """The next due time of a minute's schedule."""
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())


async def fates(service: Service, job: Job) -> list[tuple[int, str, int, str | None]]:
    """Minute of the run, status, attempt and reason of each row, by run."""
    rows = await rows_of(service.stores, job)
    told = [
        ((row.scheduled_at - job.created_at) // 60_000_000, row.status.value, row.attempt, row.reason) for row in rows
    ]
    return sorted(told, key=lambda fate: (fate[0], fate[2]))


async def start_one(service: Service, clock: SetClock) -> None:
    """Claim what may start, and let it run on."""
    await service.stores.queue.claim(clock.now(), 100)


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("allow", [(1, "running", 1, None), (2, "queued", 1, None), (3, "queued", 1, None)]),
        ("skip", [(1, "running", 1, None), (2, "skipped", 1, OVERLAPPED), (3, "skipped", 1, OVERLAPPED)]),
        ("buffer_one", [(1, "running", 1, None), (2, "queued", 1, None), (3, "skipped", 1, OVERLAPPED)]),
        ("cancel_previous", [(1, "cancelled", 1, NEWER), (2, "cancelled", 1, NEWER), (3, "queued", 1, None)]),
    ],
)
async def test_the_four_policies_decide_about_overlapping_runs(
    service: Service, clock: SetClock, overlap: str, expected: list[tuple[int, str, int, str | None]]
) -> None:
    job = await add_job(service.stores, clock.now(), overlap=overlap)
    await fire(service, clock)
    await start_one(service, clock)
    await fire(service, clock)
    await fire(service, clock)
    assert await fates(service, job) == expected
    for status in ("skipped", "cancelled"):
        counted = await metric(service, f'scheduler_executions_total{{status="{status}"}}')
        assert counted == sum(fate[1] == status for fate in expected)
    skipped = sum(fate[1] == "skipped" for fate in expected)
    assert await metric(service, 'scheduler_missed_times_total{cause="skipped"}') == skipped


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("skip", [(1, "failure", 1, None), (1, "queued", 2, None), (2, "skipped", 1, OVERLAPPED)]),
        ("buffer_one", [(1, "failure", 1, None), (1, "queued", 2, None), (2, "queued", 1, None)]),
        ("cancel_previous", [(1, "failure", 1, None), (1, "cancelled", 2, NEWER), (2, "failure", 1, None)]),
    ],
)
async def test_a_retry_that_waits_is_an_active_run(
    service: Service,
    receiver: Receiver,
    clock: SetClock,
    overlap: str,
    expected: list[tuple[int, str, int, str | None]],
) -> None:
    receiver.answer = lambda _: web.Response(status=500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], overlap=overlap, retry=SLOW_RETRY)
    for _ in range(2):
        clock.advance(60)
        await fire_and_deliver(service)
    assert (await fates(service, job))[:3] == expected


async def test_one_webhook_that_is_active_makes_the_run_active(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda request: web.Response(status=500 if request.path == "/b" else 200)
    urls = [f"{receiver.url}/a", f"{receiver.url}/b"]
    job = await add_job(service.stores, clock.now(), urls=urls, overlap="skip", retry=SLOW_RETRY)
    for _ in range(2):
        clock.advance(60)
        await fire_and_deliver(service)
    assert [fate[:3] for fate in await fates(service, job)] == [
        (1, "success", 1),
        (1, "failure", 1),
        (1, "queued", 2),
        (2, "skipped", 1),
        (2, "skipped", 1),
    ]
    receiver.answer = lambda _: web.Response()
    clock.advance(100)
    await deliver_ready(service)
    clock.advance(20)
    await fire_and_deliver(service)
    assert [fate[1] for fate in await fates(service, job)][-2:] == ["success", "success"]


async def test_a_buffered_run_of_several_webhooks_starts_as_one(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    urls = [f"{receiver.url}/a", f"{receiver.url}/b"]
    job = await add_job(service.stores, clock.now(), urls=urls, overlap="buffer_one")
    await fire(service, clock)
    await fire(service, clock)
    await fire(service, clock)
    assert [fate[1] for fate in await fates(service, job)] == ["queued"] * 4 + ["skipped"] * 2
    queue, now = service.stores.queue, clock.now()
    first, second = await queue.claim(now, 2)
    await queue.settle([settle(first.execution, Outcome(response_code=200), now, policy=job.retry)], now)
    assert await queue.claim(now, 9) == []
    await queue.settle([settle(second.execution, Outcome(response_code=200), now, policy=job.retry)], now)
    assert len(await queue.claim(now, 9)) == 2


async def _cancel_first(service: Service, job: Job, clock: SetClock) -> None:
    first = (await rows_of(service.stores, job))[0]
    await service.stores.executions.cancel(first.id, clock.now(), reason="by hand")


async def test_a_buffered_run_does_not_wait_for_one_that_was_called_off(service: Service, clock: SetClock) -> None:
    """Its predecessor never started, so no settlement will ever let it go."""
    job = await add_job(service.stores, clock.now(), overlap="buffer_one")
    await fire(service, clock)
    await fire(service, clock)
    await _cancel_first(service, job, clock)
    claims = await service.stores.queue.claim(clock.now(), 9)
    assert [claim.execution.scheduled_at for claim in claims] == [clock.now()]


async def test_a_webhook_that_goes_takes_what_waits_for_it(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), overlap="buffer_one")
    await fire(service, clock)
    await fire(service, clock)
    (webhook,) = await webhooks_of(service.stores, job)
    await service.stores.webhooks.delete(webhook.id, clock.now())
    assert [fate[1] for fate in await fates(service, job)] == ["cancelled", "cancelled"]
    assert await metric(service, 'scheduler_executions_total{status="cancelled"}') == 2
    await fire(service, clock)
    assert [fate[1] for fate in await fates(service, job)][-1] == "failure"  # without a webhook, but not skipped


async def test_a_buffered_run_survives_a_pause(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), overlap="buffer_one")
    await fire(service, clock)
    await start_one(service, clock)
    await fire(service, clock)
    now = clock.now()
    await change_stored(service.stores, job, now, enabled=False)
    running = (await rows_of(service.stores, job))[0]
    await service.stores.queue.settle([settle(running, Outcome(response_code=200), now, policy=job.retry)], now)
    assert await service.stores.queue.claim(now, 9) == []
    await change_stored(service.stores, job, now, enabled=True)
    assert [claim.execution.scheduled_at for claim in await service.stores.queue.claim(now, 9)] == [now]


async def test_the_end_of_a_run_announces_that_a_buffered_one_may_start(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], overlap="buffer_one")
    await fire(service, clock)
    await fire(service, clock)
    released = EventLog(service.events, WorkReady)
    await deliver_ready(service)
    assert released.told == [WorkReady()]
    await deliver_ready(service)
    assert released.told == [WorkReady()] and len(receiver.requests) == 2
    assert [fate[1] for fate in await fates(service, job)] == ["success", "success"]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("skip", [(1, "queued"), (2, "skipped"), (3, "skipped"), (4, "skipped")]),
        ("buffer_one", [(1, "queued"), (2, "queued"), (3, "skipped"), (4, "skipped")]),
        ("cancel_previous", [(1, "skipped"), (2, "skipped"), (3, "skipped"), (4, "queued")]),
    ],
)
async def test_runs_that_are_caught_up_overlap_each_other(
    service: Service, clock: SetClock, overlap: str, expected: list[tuple[int, str]]
) -> None:
    job = await add_job(service.stores, clock.now(), overlap=overlap, catchup="all")
    clock.advance(240)
    await service.engine.firer.fire_due(clock.now())
    assert [fate[:2] for fate in await fates(service, job)] == expected


async def test_max_runs_counts_what_ran_not_what_was_skipped(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), overlap="skip", max_runs=2)
    await fire(service, clock)
    await fire(service, clock)
    assert (await read_job(service.stores, job.id)).run_count == 1
    await _cancel_first(service, job, clock)
    await fire(service, clock)
    through = await read_job(service.stores, job.id)
    assert (through.run_count, through.enabled) == (2, False)


async def test_a_change_of_the_policy_counts_from_the_next_run(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), overlap="skip")
    await fire(service, clock)
    await service.stores.jobs.change(job.id, lambda job: replace(job, overlap="allow"))
    await fire(service, clock)
    assert [fate[1] for fate in await fates(service, job)] == ["queued", "queued"]
