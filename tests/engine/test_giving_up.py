"""Auto-disable: a webhook whose receiver is gone is disabled, a job that only fails is paused, and both are logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.domain.accounts.audit import AuditEntry
from scheduler.domain.clock import format_instant
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.domain.runs.explanation import Verdict, explain
from scheduler.service import Service
from scheduler.store.accounts.audit import AuditFilter
from scheduler.store.executions.dead_letters import Selection
from tests.checks import present
from tests.conftest import OpenService, Received, Receiver, SetClock, both_databases
from tests.factories import (
    USER,
    add_job,
    change_stored,
    deliver_ready,
    fire_and_deliver,
    read_job,
    rendered_metrics,
    rows_of,
    webhooks_of,
)

pytestmark = both_databases

ONCE = RetryPolicy(max_attempts=1)
SIX_HOURS_S = 6 * 3600
EVERY_SIX_HOURS = "0 */6 * * *"


def answering(status: int) -> Callable[[Received], web.Response]:
    return lambda _: web.Response(status=status)


async def fail_until(service: Service, clock: SetClock, count: int, *, gap_s: int = SIX_HOURS_S) -> None:
    """Let ``gap_s`` pass and what is due run, ``count`` times."""
    for _ in range(count):
        clock.advance(gap_s)
        await fire_and_deliver(service)


async def metric(service: Service, kind: str) -> int:
    body, _ = await rendered_metrics(service)
    (line,) = [
        line for line in body.decode().splitlines() if line.startswith(f'scheduler_disabled_total{{kind="{kind}"}}')
    ]
    return int(float(line.rpartition(" ")[2]))


async def on_record(service: Service, action: str) -> list[AuditEntry]:
    page = await service.stores.audit.page(USER, AuditFilter(), skip=0, limit=100)
    return [entry for entry in page.items if entry.audited.action == action]


async def test_gone_disables_the_webhook_and_leaves_its_siblings_alone(
    service: Service, receiver: Receiver, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = lambda request: web.Response(status=410 if request.path == "/gone" else 200)
    job = await add_job(service.stores, clock.now(), urls=[f"{receiver.url}/gone", f"{receiver.url}/good"])
    with caplog.at_level(logging.WARNING):
        await fail_until(service, clock, 1, gap_s=60)
    rows = await rows_of(service.stores, job)
    assert sorted((row.status, row.attempt) for row in rows) == [(Status.DEAD_LETTER, 1), (Status.SUCCESS, 1)]
    gone, good = await webhooks_of(service.stores, job)
    assert (gone.enabled, good.enabled) == (False, True)
    assert present(gone.disabled_reason).startswith("gone: the receiver answered 410") and good.disabled_reason is None
    assert await metric(service, "webhook") == 1 and await metric(service, "job") == 0
    (line,) = [record for record in caplog.records if record.message == "a webhook was disabled"]
    assert tuple(vars(line)[name] for name in ("webhook_id", "job_id", "account_id")) == (
        gone.id,
        job.id,
        job.account_id,
    )
    (entry,) = await on_record(service, "webhook.disabled")
    assert (entry.actor.name, entry.actor.address, entry.audited.subject_id) == ("scheduler", None, gone.id)

    receiver.requests.clear()
    await fail_until(service, clock, 1, gap_s=60)
    assert [request.path for request in receiver.requests] == ["/good"]
    assert (await read_job(service.stores, job.id)).enabled


async def test_gone_after_other_failures_counts_as_gone(service: Service, receiver: Receiver, clock: SetClock) -> None:
    receiver.answer = lambda _: web.Response(status=503 if len(receiver.requests) == 1 else 410)
    policy = RetryPolicy(max_attempts=5, delays=(10,), jitter=0)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], retry=policy)
    await fail_until(service, clock, 1, gap_s=60)
    clock.advance(10)
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, job)] == [Status.FAILURE, Status.DEAD_LETTER]
    assert not (await webhooks_of(service.stores, job))[0].enabled


async def test_gone_is_not_believed_where_auto_disable_is_off(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = answering(410)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], auto_disable=False)
    await fail_until(service, clock, 2, gap_s=60)
    assert (await webhooks_of(service.stores, job))[0].enabled
    assert len(receiver.requests) == 2


async def test_an_old_address_that_is_gone_does_not_disable_the_new_one(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    async def change_meanwhile(_: Received) -> web.Response:
        clock.advance(1)
        moved = f"{receiver.url}/moved"
        (webhook,) = await webhooks_of(service.stores, job)
        await service.stores.webhooks.change(
            webhook.id, lambda webhook: replace(webhook, url=moved, updated_at=clock.now())
        )
        return web.Response(status=410)

    receiver.answer = change_meanwhile
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    await fail_until(service, clock, 1, gap_s=60)
    assert (await webhooks_of(service.stores, job))[0].enabled


async def test_a_job_that_only_fails_for_five_days_and_twenty_runs_is_paused(
    service: Service, receiver: Receiver, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = answering(500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule=EVERY_SIX_HOURS, retry=ONCE)
    await fail_until(service, clock, 20)
    before = await read_job(service.stores, job.id)
    assert before.enabled and before.disabled_reason is None, "20 runs within less than five days"
    with caplog.at_level(logging.WARNING):
        await fail_until(service, clock, 1)
    after = await read_job(service.stores, job.id)
    assert (after.enabled, after.next_run_at) == (False, None)
    assert after.disabled_reason == "failing: all 21 runs since 2026-06-01T06:00:00Z went to the dead letter"
    note = present(after.note)
    assert note.startswith("Disabled by the scheduler: all 21 runs") and "http_500" in note
    assert (await webhooks_of(service.stores, job))[0].enabled
    assert await metric(service, "job") == 1
    assert [vars(record)["job_id"] for record in caplog.records if record.message == "a job was disabled"] == [job.id]
    (entry,) = await on_record(service, "job.disabled")
    assert (entry.actor.name, entry.audited.subject_name, entry.audited.changes) == (
        "scheduler",
        "job",
        ("enabled", "note"),
    )
    receiver.requests.clear()
    await fail_until(service, clock, 3)
    assert receiver.requests == []


async def test_twenty_runs_are_needed_however_long_it_takes(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = answering(500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="@daily", retry=ONCE)
    await fail_until(service, clock, 19, gap_s=86_400)
    assert (await read_job(service.stores, job.id)).enabled
    await fail_until(service, clock, 1, gap_s=86_400)
    assert not (await read_job(service.stores, job.id)).enabled


async def test_one_success_starts_the_count_anew_also_after_a_restart(
    open_test_service: OpenService, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = answering(500)
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule=EVERY_SIX_HOURS, retry=ONCE)
        await fail_until(service, clock, 20)
    async with open_test_service() as service:
        receiver.answer = answering(200)
        await fail_until(service, clock, 1)
        receiver.answer = answering(500)
        await fail_until(service, clock, 20)
        assert (await read_job(service.stores, job.id)).enabled
        await fail_until(service, clock, 1)
        assert "all 21 runs" in present((await read_job(service.stores, job.id)).disabled_reason)


async def test_a_job_goes_on_while_one_of_its_webhooks_works(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda request: web.Response(status=500 if request.path == "/bad" else 200)
    urls = [f"{receiver.url}/bad", f"{receiver.url}/good"]
    job = await add_job(service.stores, clock.now(), urls=urls, schedule=EVERY_SIX_HOURS, retry=ONCE)
    await fail_until(service, clock, 30)
    assert (await read_job(service.stores, job.id)).enabled


async def test_auto_disable_can_be_switched_off(service: Service, receiver: Receiver, clock: SetClock) -> None:
    receiver.answer = answering(500)
    job = await add_job(
        service.stores,
        clock.now(),
        urls=[receiver.url],
        schedule=EVERY_SIX_HOURS,
        retry=ONCE,
        auto_disable=False,
    )
    await fail_until(service, clock, 25)
    assert (await read_job(service.stores, job.id)).enabled


async def test_a_redriven_run_is_no_further_run(service: Service, receiver: Receiver, clock: SetClock) -> None:
    receiver.answer = answering(500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule="0 0 1 1 *", retry=ONCE)
    await service.engine.firer.start_run(job.id, clock.now())
    await deliver_ready(service)
    for _ in range(25):
        clock.advance(86_400 / 2)
        dead = (await rows_of(service.stores, job))[-1]
        chosen = Selection(ids=(dead.id,))
        assert await service.stores.dead_letters.redrive(USER, chosen, clock.now(), dry_run=False) == 1
        await deliver_ready(service)
    assert (await read_job(service.stores, job.id)).enabled


async def given_up(service: Service, receiver: Receiver, clock: SetClock, **fields: Any) -> Job:
    """A job that has just been disabled."""
    receiver.answer = answering(500)
    chosen = {"schedule": EVERY_SIX_HOURS, "retry": ONCE, **fields}
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], **chosen)
    await fail_until(service, clock, 21)
    job = await read_job(service.stores, job.id)
    assert not job.enabled
    return job


async def test_a_person_resumes_it_from_now_with_a_clean_slate(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await given_up(service, receiver, clock)
    clock.advance(3 * 86_400)
    resumed = await change_stored(service.stores, job, clock.now(), enabled=True)
    assert (resumed.enabled, resumed.disabled_reason, resumed.note) == (True, None, None)
    assert format_instant(present(resumed.next_run_at)) == "2026-06-09T12:00:00Z"
    await fail_until(service, clock, 20)
    assert (await read_job(service.stores, job.id)).enabled
    await fail_until(service, clock, 1)
    assert not (await read_job(service.stores, job.id)).enabled


async def test_the_note_of_a_person_survives(service: Service, receiver: Receiver, clock: SetClock) -> None:
    job = await given_up(service, receiver, clock, note="ask the accounting team")
    note = present(job.note)
    assert note.startswith("Disabled by the scheduler") and note.endswith("\nask the accounting team")
    resumed = await change_stored(service.stores, job, clock.now(), enabled=True)
    assert resumed.note == "ask the accounting team"


async def test_what_is_queued_is_held_and_released(service: Service, receiver: Receiver, clock: SetClock) -> None:
    policy = RetryPolicy(max_attempts=2, delays=(4 * 3600,), jitter=0)
    receiver.answer = answering(500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule=EVERY_SIX_HOURS, retry=policy)
    await fail_until(service, clock, 31, gap_s=4 * 3600)
    while (await read_job(service.stores, job.id)).enabled:
        await service.engine.firer.start_run(job.id, clock.now())
        await fail_until(service, clock, 1, gap_s=3600)
    queued = [row for row in await rows_of(service.stores, job) if row.status is Status.QUEUED]
    assert queued
    receiver.requests.clear()
    clock.advance(8 * 3600)
    await fire_and_deliver(service)
    assert receiver.requests == []
    await change_stored(service.stores, job, clock.now(), enabled=True)
    await deliver_ready(service)
    assert len(receiver.requests) == len(queued)


async def test_it_is_explained_as_a_pause_by_the_scheduler(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await given_up(service, receiver, clock)
    clock.advance(86_400)
    versions = await service.stores.jobs.history(job.id)
    at = clock.now() - 3600 * 1_000_000 * 6
    explanation = explain(job, versions, [], at, clock.now())
    assert explanation.verdict is Verdict.PAUSED
    assert explanation.detail.startswith(
        "the job was paused by scheduler at 2026-06-06T06:00:00Z: failing: all 21 runs"
    )


async def test_a_time_that_was_due_but_not_fired_yet_belongs_to_the_pause(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    """The last failure and the next due time meet: the time has no run, so it must have been paused."""
    receiver.answer = answering(500)
    job = await add_job(service.stores, clock.now(), urls=[receiver.url], schedule=EVERY_SIX_HOURS, retry=ONCE)
    await fail_until(service, clock, 20)
    clock.advance(SIX_HOURS_S)
    await service.engine.firer.fire_due(clock.now())
    clock.advance(SIX_HOURS_S)
    await deliver_ready(service)
    job = await read_job(service.stores, job.id)
    assert not job.enabled
    explanation = explain(job, await service.stores.jobs.history(job.id), [], clock.now(), clock.now())
    assert explanation.verdict is Verdict.PAUSED


async def test_what_is_redriven_meanwhile_waits_until_it_is_enabled(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    job = await given_up(service, receiver, clock)
    receiver.requests.clear()
    chosen = Selection(ids=tuple(row.id for row in await rows_of(service.stores, job)))
    assert await service.stores.dead_letters.redrive(USER, chosen, clock.now(), dry_run=False) == 21
    await deliver_ready(service)
    assert receiver.requests == []
    await change_stored(service.stores, job, clock.now(), enabled=True)
    await deliver_ready(service)
    assert len(receiver.requests) == 21
