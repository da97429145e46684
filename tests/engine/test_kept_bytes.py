"""The budget of bytes of an account: bodies of answers go first, then creation is refused; deliveries go on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp import web

from scheduler.config import Config
from scheduler.config.limits import LimitsConfig
from scheduler.domain.accounts.kept_bytes import BODY_DROPPED, Kept, octets
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Status
from scheduler.service import Service
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.factories import add_job, deliver_ready, metric, rows_of, start_run

pytestmark = both_databases

LIMIT = 100_000
BODY = "äöü " * 5_000


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, limits=LimitsConfig(bytes_per_account=LIMIT))


async def kept_of(service: Service, account_id: str) -> Kept:
    kept = await service.stores.kept_bytes.get(account_id)
    assert kept is not None
    return kept


async def test_beyond_the_budget_bodies_are_dropped_and_it_shows(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(text=BODY)
    job = await add_job(service.stores, clock.now(), enabled=False, urls=[receiver.url])
    for _ in range(5):
        await start_run(service.stores, job, clock.now())
        await deliver_ready(service)
    rows = await rows_of(service.stores, job)
    assert [row.status for row in rows] == [Status.SUCCESS] * 5
    assert [row.response_body for row in rows] == [BODY] * 3 + [None] * 2
    assert [row.warnings for row in rows] == [None] * 3 + [[BODY_DROPPED]] * 2
    assert [row.body_truncated for row in rows] == [False] * 3 + [True] * 2
    assert await metric(service, "scheduler_bodies_dropped_total") == 2
    assert (await service.health.now()).details["accounts_over_budget"] == 0
    await service.engine.kept_bytes.write()
    assert (await kept_of(service, job.account_id)).bodies == 3 * octets(BODY)
    assert (await service.health.now()).details["accounts_over_budget"] == 1


async def test_the_count_from_the_rows_ends_every_error(service: Service, receiver: Receiver, clock: SetClock) -> None:
    stores, kept_bytes = service.stores, service.engine.kept_bytes
    receiver.answer = lambda _: web.Response(text=BODY)
    job = await add_job(stores, clock.now(), enabled=False, urls=[receiver.url], webhook={"body_template": "x" * 9_000})
    await start_run(stores, job, clock.now())
    await deliver_ready(service)
    kept_bytes.add(job.account_id, Kept(total=10**9, bodies=10**8))
    assert not kept_bytes.keeps_body(job.account_id)
    clock.advance(1)
    await kept_bytes.count()
    counted = await kept_of(service, job.account_id)
    assert counted.bodies == octets(BODY)
    assert 9_000 < counted.without_bodies < 20_000
    await kept_bytes.write()
    assert kept_bytes.keeps_body(job.account_id)


async def test_what_is_added_during_a_count_stays_added(service: Service, clock: SetClock) -> None:
    stores = service.stores
    job = await add_job(stores, clock.now(), enabled=False)
    account = await stores.kept_bytes.next_to_count(before_at=0, near=0, near_before_at=clock.now())
    assert account is not None and account.id == job.account_id
    await stores.kept_bytes.add({job.account_id: Kept(total=70, bodies=7)})
    for _ in range(2):  # another node has counted as well
        await stores.kept_bytes.correct(account, Kept(total=1_000, bodies=100), clock.now())
    assert await kept_of(service, job.account_id) == Kept(total=1_070, bodies=107)


async def test_creation_is_refused_beyond_the_budget_without_bodies(service: Service, clock: SetClock) -> None:
    kept_bytes = service.engine.kept_bytes
    job = await add_job(service.stores, clock.now(), enabled=False)
    kept_bytes.add(job.account_id, Kept(total=50 * LIMIT, bodies=50 * LIMIT))
    await kept_bytes.check_room({job.account_id: LIMIT})
    kept_bytes.add(job.account_id, Kept(total=1))
    with pytest.raises(SchedulerError, match=r"keeps 1 bytes .* keep 100000 \(limits.bytes_per_account\)") as told:
        await kept_bytes.check_room({job.account_id: LIMIT})
    assert told.value.code == "RATE_LIMITED" and told.value.retry_after_s


async def test_another_node_learns_of_a_used_budget(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    async with open_test_service(config) as service:
        job = await add_job(service.stores, clock.now(), enabled=False)
        service.engine.kept_bytes.add(job.account_id, Kept(total=LIMIT, bodies=LIMIT))
        await service.engine.kept_bytes.write()
    clock.advance(1)
    async with open_test_service(config) as service:
        await service.engine.kept_bytes.write()
        assert not service.engine.kept_bytes.keeps_body(job.account_id)
        clock.advance(1)
        await service.engine.kept_bytes.count()
        await service.engine.kept_bytes.write()
        assert service.engine.kept_bytes.keeps_body(job.account_id)


async def test_what_could_not_be_written_is_written_the_next_time(service: Service, clock: SetClock) -> None:
    stores, kept_bytes = service.stores, service.engine.kept_bytes
    job = await add_job(stores, clock.now(), enabled=False)
    kept_bytes.add(job.account_id, Kept(total=LIMIT, bodies=1))
    await stores.db.transaction(lambda tx: tx.execute("ALTER TABLE accounts RENAME COLUMN kept_body_bytes TO away"))
    with pytest.raises(SchedulerError):
        await kept_bytes.write()
    kept_bytes.add(job.account_id, Kept(total=1))
    assert not kept_bytes.keeps_body(job.account_id)
    await stores.db.transaction(lambda tx: tx.execute("ALTER TABLE accounts RENAME COLUMN away TO kept_body_bytes"))
    await kept_bytes.write()
    assert await kept_of(service, job.account_id) == Kept(total=LIMIT + 1, bodies=1)


async def test_deliveries_go_on_and_have_their_rows_beyond_the_budget(
    service: Service, receiver: Receiver, clock: SetClock
) -> None:
    receiver.answer = lambda _: web.Response(text="no", status=500)
    job = await add_job(service.stores, clock.now(), enabled=False, urls=[receiver.url])
    service.engine.kept_bytes.add(job.account_id, Kept(total=100 * LIMIT))
    await start_run(service.stores, job, clock.now())
    await deliver_ready(service)
    failed, queued = await rows_of(service.stores, job)
    assert (failed.status, failed.error, failed.response_code) == (
        Status.FAILURE,
        "http_500 Internal Server Error",
        500,
    )
    assert (failed.response_body, failed.warnings) == (None, [BODY_DROPPED])
    assert queued.status is Status.QUEUED
