"""The way of one execution, step by step: fire, claim, deliver, settle, retry, dead letter; and what a crash leaves."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.config import Config
from scheduler.domain.clock import SECOND
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Outcome, Status, Trigger
from scheduler.domain.webhooks.redaction import redact
from scheduler.engine import delivery
from scheduler.service import Service
from tests.checks import present
from tests.conftest import OpenService, Received, Receiver, SetClock, both_databases
from tests.factories import add_job, claim_and_die, deliver_ready, fire_and_deliver, read_job, rows_of

pytestmark = both_databases

QUICK = RetryPolicy(max_attempts=3, delays=(10, 20), jitter=0)


async def test_a_due_job_reaches_its_receiver(service: Service, receiver: Receiver, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/hook"], schedule="*/5 * * * * *")
    await fire_and_deliver(service)
    assert receiver.requests == []
    clock.advance(5)
    await fire_and_deliver(service)
    (row,) = await rows_of(service.stores, job)
    (request,) = receiver.requests
    assert (row.status, row.response_code, row.response_body, row.trigger) == (
        Status.SUCCESS,
        200,
        "ok",
        Trigger.SCHEDULE,
    )
    assert request.headers["webhook-id"] == row.run_id
    assert request.headers["x-scheduler-execution-id"] == row.id
    assert request.headers["x-scheduler-attempt"] == "1"
    fired = await read_job(service.stores, job.id)
    assert fired.next_run_at == clock.now() + 5 * SECOND and fired.last_run_at == clock.now()


async def test_every_webhook_of_a_job_is_an_execution_of_its_own(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda request: web.Response(status=500 if request.path == "/b" else 200)
    job = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/a", f"{receiver.url}/b"])
    clock.advance(60)
    await fire_and_deliver(service)
    rows = await rows_of(service.stores, job)
    assert sorted((row.status.value, row.attempt) for row in rows) == [("failure", 1), ("queued", 2), ("success", 1)]
    assert len({row.run_id for row in rows}) == 2


async def test_retries_come_when_planned_with_the_same_identity_and_end_in_the_dead_letter(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(status=503, text="later")
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="0 0 1 1 *", retry=QUICK)
    await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    clock.advance(9.999)
    await deliver_ready(service)
    assert len(receiver.requests) == 1
    clock.advance(0.001)
    await deliver_ready(service)
    clock.advance(20)
    await deliver_ready(service)
    clock.advance(100_000)
    await deliver_ready(service)
    rows = await rows_of(service.stores, job)
    assert [row.status for row in rows] == [Status.FAILURE, Status.FAILURE, Status.DEAD_LETTER]
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert {request.headers["webhook-id"] for request in receiver.requests} == {rows[0].run_id}
    assert [request.headers["x-scheduler-attempt"] for request in receiver.requests] == ["1", "2", "3"]
    error = present(rows[2].error)
    assert error.startswith("http_503") and "attempt 1: http_503" in error
    assert "attempt 2: http_503" in error and "\n" not in error


async def test_retry_after_lengthens_the_wait(service: Service, receiver: Receiver, clock: SetClock) -> None:
    receiver.answer = lambda _: web.Response(status=429, headers={"Retry-After": "120"})
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="0 0 1 1 *", retry=QUICK)
    await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    rows = await rows_of(service.stores, job)
    assert rows[1].available_at == clock.now() + 120 * SECOND


async def test_the_pool_is_bounded_and_refilled(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    gate = asyncio.Event()

    async def wait(_: Received) -> web.Response:
        await gate.wait()
        return web.Response()

    receiver.answer = wait
    small = replace(config, engine=replace(config.engine, concurrency=2))
    async with open_test_service(config=small) as service:
        job = await add_job(service.stores, clock.now(), urls=[receiver.url])
        for _ in range(5):
            await service.engine.firer.start_run(job.id, clock.now())
        await service.engine.pool.fill_slots()
        await service.engine.pool.fill_slots()
        await receiver.wait_for(2)
        statuses = [row.status.value for row in await rows_of(service.stores, job)]
        assert statuses.count("running") == 2 and statuses.count("queued") == 3
        gate.set()
        for _ in range(3):
            await service.engine.pool.idle()
            await deliver_ready(service)
        assert {row.status for row in await rows_of(service.stores, job)} == {Status.SUCCESS}


async def test_running_is_on_disk_before_the_first_byte(service: Service, receiver: Receiver, clock: SetClock) -> None:
    seen: list[Status] = []

    async def look(_: Received) -> web.Response:
        seen.extend(row.status for row in await rows_of(service.stores, job))
        return web.Response()

    receiver.answer = look
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    assert seen == [Status.RUNNING]


async def test_what_a_crash_left_running_is_repeated_at_once_with_the_same_identity(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    (started,) = await service.engine.firer.start_run(job.id, clock.now())
    await claim_and_die(service.stores, clock.now())
    assert await service.engine.rescuer.rescue() == 1
    await deliver_ready(service)
    first, second = await rows_of(service.stores, job)
    assert (first.status, first.attempt) == (Status.FAILURE, 1) and present(first.error).startswith("interrupted")
    assert (second.status, second.attempt, second.run_id) == (Status.SUCCESS, 2, started.run_id)
    assert receiver.requests[0].headers["webhook-id"] == started.run_id


async def test_a_run_that_always_crashes_the_service_is_a_suspect(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), retry=RetryPolicy(max_attempts=2))
    await service.engine.firer.start_run(job.id, clock.now())
    for life in range(10):
        await claim_and_die(service.stores, clock.now(), node=f"dead:1:{life}")
        await service.engine.rescuer.rescue()
    rows = await rows_of(service.stores, job)
    assert [row.attempt for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1].status is Status.DEAD_LETTER and present(rows[-1].error).startswith("crash_suspect")


async def test_at_most_once_is_not_repeated(service: Service, clock: SetClock) -> None:
    job = await add_job(service.stores, clock.now(), delivery="at_most_once")
    await service.engine.firer.start_run(job.id, clock.now())
    await claim_and_die(service.stores, clock.now())
    await service.engine.rescuer.rescue()
    (row,) = await rows_of(service.stores, job)
    assert row.status is Status.FAILURE and present(row.error).startswith("interrupted")


async def test_a_stop_waits_for_what_is_in_flight_and_requeues_the_rest(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    gate = asyncio.Event()

    async def wait(request: Received) -> web.Response:
        if request.path == "/never":
            await asyncio.Event().wait()
        await gate.wait()
        return web.Response()

    receiver.answer = wait
    async with open_test_service(config=replace(config, engine=replace(config.engine, drain_s=0.5))) as service:
        slow = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/slow"], schedule="0 0 1 1 *")
        never = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/never"], schedule="0 0 1 1 *")
        await service.engine.start()
        for job in (slow, never):
            await service.engine.firer.start_run(job.id, clock.now())
        await receiver.wait_for(2)
        gate.set()
        await service.engine.stop()
        assert not (await service.health.now()).ready
        assert [row.status for row in await rows_of(service.stores, slow)] == [Status.SUCCESS]
        first, again = await rows_of(service.stores, never)
        assert (first.status, again.status) == (Status.FAILURE, Status.QUEUED)
        assert present(first.error).startswith("interrupted") and again.available_at <= clock.now()


async def test_cancelling_aborts_what_is_in_flight(service: Service, receiver: Receiver, clock: SetClock) -> None:
    async def never(_: Received) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = never
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    (execution,) = await service.engine.firer.start_run(job.id, clock.now())
    await service.engine.pool.fill_slots()
    await receiver.wait_for(1)
    assert await service.stores.executions.cancel(execution.id, clock.now(), reason="by hand") is not None
    service.engine.pool.cancel(execution.id)
    await service.engine.pool.idle()
    await service.engine.recorder.flush()
    (row,) = await rows_of(service.stores, job)
    assert (row.status, row.reason) == (Status.CANCELLED, "by hand")


async def test_a_stop_while_an_answer_is_masked_records_the_answer(
    service: Service, receiver: Receiver, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def redact_slowly(*given: Any) -> Outcome:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(20)
        return redact(*given)

    monkeypatch.setattr(delivery, "redact", redact_slowly)
    receiver.answer = lambda received: web.Response(text=received.headers["authorization"] * 300)
    secret = {"headers": {"Authorization": "Bearer correct-horse-battery-staple"}}
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], webhook=secret)
    (execution,) = await service.engine.firer.start_run(job.id, clock.now())
    await service.engine.pool.fill_slots()
    async with asyncio.timeout(20):
        await begun.wait()
    service.engine.pool.cancel(execution.id)
    may_end.set()
    await service.engine.pool.idle()
    await service.engine.recorder.flush()
    (row,) = await rows_of(service.stores, job)
    assert (row.status, row.response_body) == (Status.SUCCESS, "***" * 300)


async def test_cancel_previous_makes_room_for_the_newer_run(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    async def first_hangs(_: Received) -> web.Response:
        if len(receiver.requests) == 1:
            await asyncio.Event().wait()
        return web.Response()

    receiver.answer = first_hangs
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], overlap="cancel_previous")
    await service.engine.firer.fire_due(clock.now())
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    await service.engine.pool.fill_slots()
    await receiver.wait_for(1)
    clock.advance(60)
    await service.engine.firer.fire_due(clock.now())
    await service.engine.pool.idle()
    await deliver_ready(service)
    first, second = await rows_of(service.stores, job)
    assert (first.status, second.status) == (Status.CANCELLED, Status.SUCCESS)
    assert "newer run" in present(first.reason)


async def test_buffer_one_waits_for_its_turn(service: Service, receiver: Receiver, clock: SetClock) -> None:
    job = await add_job(
        service.stores,
        clock.now(),
        urls=[receiver.url],
        overlap="buffer_one",
        retry=RetryPolicy(delays=(1000,), jitter=0),
    )
    receiver.answer = lambda _: web.Response(status=500 if len(receiver.requests) == 1 else 200)
    for _ in range(3):
        clock.advance(60)
        await fire_and_deliver(service)
    rows = await rows_of(service.stores, job)
    by_status = sorted((row.status.value, row.attempt) for row in rows)
    assert by_status == [("failure", 1), ("queued", 1), ("queued", 2), ("skipped", 1)]
    assert len(receiver.requests) == 1
    clock.advance(1000)
    await deliver_ready(service)
    await deliver_ready(service)
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("gap_s", [60, 3600, 26 * 3600, 400 * 86_400])
async def test_after_downtime_latest_fires_once_and_accounts_for_all(
    open_test_service: OpenService, receiver: Receiver, clock: SetClock, gap_s: int
) -> None:
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    clock.advance(gap_s + 30)
    async with open_test_service() as service:
        await fire_and_deliver(service)
        (row,) = await rows_of(service.stores, job)
        assert (row.trigger, row.covers, row.status) == (Trigger.CATCHUP, gap_s // 60, Status.SUCCESS)
        assert len(receiver.requests) == 1


async def test_a_backfill_runs_each_time_once_however_often_it_is_asked(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    times = [clock.now() - minute * 60 * SECOND for minute in (3, 2, 1)]
    assert len(await service.engine.firer.backfill(job, times, clock.now())) == 3
    await service.engine.firer.backfill(job, times, clock.now())
    await deliver_ready(service)
    rows = await rows_of(service.stores, job)
    assert sorted(row.scheduled_at for row in rows) == times
    assert len(receiver.requests) == 3


async def test_one_job_that_cannot_be_fired_does_not_stop_the_others(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    broken = await add_job(service.stores, clock.now(), urls=[receiver.url])
    await service.stores.jobs.change(broken.id, lambda job: replace(job, spread_s=float("inf")))
    good = await add_job(service.stores, clock.now(), urls=[receiver.url])
    clock.advance(60)
    await fire_and_deliver(service)
    assert len(await rows_of(service.stores, good)) == 1
    ended = await read_job(service.stores, broken.id)
    assert (ended.enabled, ended.next_run_at) == (False, None)
    assert present(ended.disabled_reason).startswith("broken")
