"""Deleting: a job or account is not shown any more at once, and its rows are deleted in slices."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import AttemptsSettled, CancelRequested
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Status
from scheduler.engine.upkeep.sweeper import BETWEEN_SWEEPS_S
from scheduler.service import Service
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter
from scheduler.store.jobs.deletion import DeletionStore
from scheduler.store.jobs.job_filter import JobFilter
from scheduler.store.stores import Stores
from tests.api.conftest import Serve
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.engine.receivers import receiving, silence
from tests.engine.test_fairness import delivering
from tests.engine.test_retention import NAMES
from tests.event_log import EventLog
from tests.factories import (
    USER,
    add_job,
    add_run,
    change_stored,
    deliver_ready,
    fire_all,
    join,
    make_job,
    make_webhook,
    read_job,
    rows_of,
    start_run,
)

pytestmark = both_databases

MANY = 3000
TABLES = ("accounts", "members", "jobs", "webhooks", "executions", "job_history", "audit", "api_keys", "invitations")
COPY = f"""
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :more)
INSERT INTO executions (id, run_id, {NAMES})
SELECT SUBSTR(id, 1, 24) || SUBSTR(CAST(1000000000000 + n AS TEXT), 2),
  SUBSTR(run_id, 1, 24) || SUBSTR(CAST(1000000000000 + n AS TEXT), 2), {NAMES}
FROM numbers, executions e WHERE e.job_id = :job_id
"""
"""So many more runs like the only one of a job."""


async def add_many(stores: Stores, job: Job, clock: SetClock, *, status: Status = Status.DEAD_LETTER) -> str:
    """``MANY`` runs of a job that ended like this; returns the id of the first."""
    run_id = await add_run(stores, job, clock.now(), status)
    more = {"more": MANY - 1, "job_id": job.id}
    await stores.db.transaction(lambda tx: tx.execute(COPY, more))
    return run_id


async def left(stores: Stores) -> dict[str, int]:
    """How many rows each table has."""
    return {table: (await stores.db.fetch_all(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"] for table in TABLES}


async def sweep(service: Service) -> int:
    """Sweep until nothing is left; returns how many slices that took."""
    slices = 0
    while await service.engine.sweeper.step() < BETWEEN_SWEEPS_S:
        slices += 1
    return slices


async def test_a_job_with_few_executions_is_gone_with_the_request(service: Service, clock: SetClock) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now())
    before = await left(stores)
    other = await add_job(stores, clock.now())
    await add_run(stores, other, clock.now(), Status.FAILURE, Status.SUCCESS)
    await start_run(stores, other, clock.now())
    assert await stores.deletions.delete_job(other.id, clock.now())
    assert await left(stores) == before
    assert await stores.jobs.get(job.id) == job


async def test_a_job_with_many_executions_is_out_of_sight_before_its_rows_are_gone(
    service: Service, clock: SetClock
) -> None:
    stores, now = service.stores, clock.now()
    job, other = [await add_job(stores, now, name=name) for name in ("gone", "stays")]
    kept = await add_run(stores, other, now, Status.DEAD_LETTER)
    run_id = await add_many(stores, job, clock)
    letter = (await rows_of(stores, job))[0].id
    assert await stores.deletions.delete_job(job.id, now, by=Actor(name=USER, at=now))
    assert (await left(stores))["executions"] > MANY // 2

    assert await stores.jobs.get(job.id) is None
    page = await stores.jobs.page(USER, JobFilter(), skip=0, limit=10)
    assert ([one.name for one in page.items], page.total) == (["stays"], 1)
    assert await stores.webhooks.page(USER, job_id=job.id, skip=0, limit=10) == await stores.webhooks.page(
        USER, job_id="none", skip=0, limit=10
    )
    assert await stores.executions.get(letter) is None
    assert await stores.executions.account_of_run(run_id) is None
    for listed in (stores.executions.page, stores.dead_letters.page):
        executions = await listed(USER, ExecutionFilter(), skip=0, limit=10)
        assert ([one.run_id for one in executions.items], executions.total) == ([kept], 1)
        assert (await listed(USER, ExecutionFilter(job_id=job.id), skip=0, limit=10)).total == 0
    summary = await stores.executions.summary(USER)
    assert (summary.jobs_total, summary.jobs_enabled, summary.executions[Status.DEAD_LETTER]) == (1, 1, 1)
    assert (await stores.executions.counts())[Status.DEAD_LETTER] == 1
    assert await stores.jobs.soonest(USER, now + 10**9, limit=10) == [other]

    await sweep(service)
    assert [row.run_id for row in await rows_of(stores, other)] == [kept]
    rows = await left(stores)
    assert (rows["jobs"], rows["executions"], rows["webhooks"], rows["job_history"]) == (1, 1, 1, 1)


async def test_nothing_can_be_done_to_a_deleted_job_whose_rows_are_still_there(
    service: Service, clock: SetClock
) -> None:
    stores, now = service.stores, clock.now()
    job = await add_job(stores, now)
    await add_many(stores, job, clock)
    letters = [row.id for row in await rows_of(stores, job)][-2:]
    assert await stores.deletions.delete_job(job.id, now)
    assert not await stores.deletions.delete_job(job.id, now)
    assert await stores.dead_letters.retry(letters[0], now) is None
    for selection in (Selection(ids=tuple(letters)), Selection(filter=ExecutionFilter())):
        assert await stores.dead_letters.redrive(USER, selection, now, dry_run=False) == 0
        assert await stores.dead_letters.purge(USER, selection, dry_run=False) == 0
    assert await service.engine.firer.start_run(job.id, now) == []
    assert await service.engine.firer.change_job(job, lambda job: job, now) is None
    assert await service.engine.firer.backfill(job, [now], now) == []
    with pytest.raises(SchedulerError) as refusal:
        await stores.webhooks.insert(make_webhook(job.id, now))
    assert refusal.value.code == "CONFLICT"
    clock.advance(86_400)
    await fire_all(service, clock)
    assert await stores.queue.claim(clock.now(), 10) == []
    await stores.jobs.insert([(make_job(job.account_id, now), [])], per_account=1)


async def test_what_is_queued_for_a_deleted_job_is_never_sent(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now(), urls=[receiver.url])
    await add_many(stores, job, clock, status=Status.QUEUED)
    assert await stores.deletions.delete_job(job.id, clock.now())
    assert (await left(stores))["executions"] == 0
    await deliver_ready(service)
    assert receiver.requests == []


async def test_a_delivery_of_a_deleted_job_is_aborted_and_not_tried_again(service: Service, clock: SetClock) -> None:
    stores = service.stores
    async with receiving(silence) as hanging:
        job = await add_job(stores, clock.now(), urls=[f"http://127.0.0.1:{hanging.port}/"])
        await add_many(stores, job, clock, status=Status.SUCCESS)
        (run,) = await start_run(stores, job, clock.now())
        aborted, settled = EventLog(service.events, CancelRequested), EventLog(service.events, AttemptsSettled)
        async with delivering(service):
            await hanging.wait_for(1)
            assert await stores.deletions.delete_job(job.id, clock.now())
            assert [event.execution_id for event in aborted.told] == [run.id]
            await settled.wait_for()
        assert [event.settlements for event in settled.told] == [[]]
        assert service.engine.pool.in_use == 0
    await sweep(service)
    assert (await left(stores))["executions"] == 0


async def test_an_account_goes_for_everybody_at_once_and_its_rows_in_slices(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    stores, now = service.stores, clock.now()
    other = await add_job(stores, now, user="other")
    before = await left(stores)
    jobs = [await add_job(stores, now, urls=[receiver.url], name=f"job {number}") for number in range(450)]
    job, account_id = jobs[0], jobs[0].account_id
    await join(stores, account_id, "bob", Role.VIEWER, now)
    await stores.invitations.invite(account_id, "cem", Role.VIEWER, now, invited_by=USER)
    await add_many(stores, job, clock)
    await change_stored(stores, job, now, name="another")
    letter = (await rows_of(stores, job))[0].id
    await stores.deletions.delete_account(account_id, now, by=Actor(name=USER, at=now))

    assert not await stores.accounts.exists(account_id)
    for user in (USER, "bob"):
        assert await stores.accounts.get(account_id, user) is None
        assert (await stores.accounts.page(user, skip=0, limit=10)).total == 0
        assert await stores.accounts.role_of(account_id, user) is None
        assert (await stores.jobs.page(user, JobFilter(), skip=0, limit=10)).total == 0
        assert (await stores.executions.page(user, ExecutionFilter(), skip=0, limit=10)).total == 0
    assert await stores.jobs.get(job.id) is None and await stores.executions.get(letter) is None
    clock.advance(60)
    await fire_all(service, clock)
    await deliver_ready(service)
    assert receiver.requests == []
    assert await stores.executions.summary(USER) == await stores.executions.summary("nobody")

    assert await sweep(service) >= MANY // 250
    assert await left(stores) == {**before, "executions": len(await rows_of(stores, other, user="other"))}


async def test_what_a_kill_left_of_a_deleted_account_is_swept_by_the_next_process(
    open_test_service: OpenService, receiver: Receiver, clock: SetClock
) -> None:
    async with open_test_service() as service:
        jobs = [await add_job(service.stores, clock.now(), urls=[receiver.url]) for _ in range(3)]
        await add_many(service.stores, jobs[1], clock)
        await service.stores.deletions.delete_job(jobs[1].id, clock.now())
        await service.engine.sweeper.step()
        mark = "UPDATE accounts SET deleted_at = 1"  # the process ended before it had marked the jobs
        await service.stores.db.transaction(lambda tx: tx.execute(mark))
    clock.advance(60)
    async with open_test_service() as service:
        await service.engine.sweeper.step()
        await fire_all(service, clock)
        await sweep(service)
        assert set((await left(service.stores)).values()) == {0}
    assert receiver.requests == []


async def test_a_job_that_was_created_while_its_account_was_deleted_goes_too(service: Service, clock: SetClock) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now())
    await stores.deletions.delete_account(job.account_id, clock.now(), by=Actor(name=USER, at=clock.now()))
    await service.engine.sweeper.step()
    await stores.jobs.insert([(make_job(job.account_id, clock.now()), [])])
    await sweep(service)
    await sweep(service)
    assert set((await left(stores)).values()) == {0}


async def test_nodes_that_sweep_at_the_same_time_leave_nothing(service: Service, clock: SetClock) -> None:
    stores = service.stores
    jobs = [await add_job(stores, clock.now()) for _ in range(4)]
    for job in jobs[:3]:
        await add_many(stores, job, clock)
        await stores.deletions.delete_job(job.id, clock.now())
    nodes = [DeletionStore(stores.db, service.events, slice_size=size) for size in (100, 170)]

    async def sweep_all(node: DeletionStore) -> None:
        while (await left(stores))["jobs"] > 1:
            await node.sweep()

    await asyncio.gather(*map(sweep_all, nodes))
    assert (await left(stores))["executions"] == 0
    assert await read_job(stores, jobs[3].id) == jobs[3]


async def test_what_was_deleted_does_not_exist_over_http(service: Service, serve: Serve, clock: SetClock) -> None:
    async with serve(service) as api:
        job = await api.new_job(webhook={"url": "https://example.com/"})
        other = await api.new_job()
        stored = await read_job(service.stores, job["id"])
        run_id = await add_many(service.stores, stored, clock)
        (letter, *_) = (await api.get("/api/dead-letter?limit=1")).items
        assert (await api.delete(f"/api/jobs/{job['id']}")).status == 204
        for path in (
            f"/api/jobs/{job['id']}",
            f"/api/jobs/{job['id']}/executions",
            f"/api/jobs/{job['id']}/explain?at=2026-06-01T00:00:00Z",
            f"/api/executions?job_id={job['id']}",
            f"/api/executions?run_id={run_id}",
            f"/api/executions/{letter['id']}",
            f"/webhooks/{job['webhook']['id']}",
        ):
            assert (await api.get(path)).status == 404, path
        for path in (f"/api/jobs/{job['id']}/trigger", f"/api/executions/{letter['id']}/retry"):
            assert (await api.post(path)).status == 404, path
        assert [one["id"] for one in (await api.get("/api/jobs")).items] == [other["id"]]
        assert (await api.get("/api/executions")).json["total"] == 0
        audited = (await api.get("/api/audit?action=job.deleted")).items
        assert [entry["subject_id"] for entry in audited] == [job["id"]]

        account = f"/api/accounts/{other['account_id']}"
        assert (await api.delete(account)).status == 204
        for path in (account, f"/api/jobs?account_id={other['account_id']}", f"/api/jobs/{other['id']}"):
            assert (await api.get(path)).status == 404, path
            assert (await api.get(path, user="bob")).status == 404, path
