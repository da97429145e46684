"""Postgres that fails: the process stays up, reports it, sends nothing without a row, and goes on with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from scheduler.config import Config, DatabaseConfig, EngineConfig
from scheduler.domain.clock import SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Status
from scheduler.service import Service
from scheduler.store.postgres import database as postgres
from tests.api.conftest import Api, Serve
from tests.conftest import OpenService, Receiver
from tests.factories import add_job, deliver_ready, rows_of, start_run
from tests.postgres import Server, running_server, tcp_url
from tests.postgres_proxy import PostgresProxy


@pytest.fixture
async def proxy(postgres_server: Server) -> AsyncIterator[PostgresProxy]:
    async with PostgresProxy(postgres_server.socket) as proxy:
        yield proxy


@pytest.fixture
def config(config: Config, postgres_url: str, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(postgres, "STATEMENT_S", 1.0)
    monkeypatch.setattr(postgres, "CONNECT_S", 1.0)
    url = tcp_url(postgres_url, "127.0.0.1", proxy.port)
    engine = EngineConfig(drain_s=1, lease_s=3600)
    return replace(config, database=DatabaseConfig(url=url, pool_size=4), engine=engine)


@pytest.fixture
async def service(open_test_service: OpenService) -> AsyncIterator[Any]:
    async with open_test_service(clock=SystemClock()) as service:
        yield service


async def until_ready(api: Api, status: int) -> Any:
    """Ask as a load balancer does, until readiness has this status: no event tells of it."""
    async with asyncio.timeout(30):
        while (reply := await api.get("/health/ready", user=None)).status != status:
            pass
    return reply


def refuse(proxy: PostgresProxy) -> None:
    proxy.refuses = True
    proxy.cut()


def admit(proxy: PostgresProxy) -> None:
    proxy.refuses = False


@pytest.mark.parametrize(
    ("begin", "end"), [(refuse, admit), (PostgresProxy.stall, PostgresProxy.flow)], ids=["unreachable", "silent"]
)
async def test_a_server_that_goes_away_and_comes_back(
    service: Service,
    serve: Serve,
    proxy: PostgresProxy,
    receiver: Receiver,
    begin: Callable[[PostgresProxy], None],
    end: Callable[[PostgresProxy], None],
) -> None:
    async with serve(service) as api:
        await service.engine.start()
        job = await add_job(service.stores, service.clock.now(), urls=[receiver.url], schedule="* * * * * *")
        await receiver.wait_for(1)
        await until_ready(api, 200)
        begin(proxy)
        assert (await until_ready(api, 503)).json["database"] == "disconnected"
        reply = await api.post("/api/jobs", {"name": "refused", "schedule": "@yearly"})
        assert (reply.status, reply.json["error_code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(reply.headers["Retry-After"]) >= 1
        assert (await api.get("/health/live", user=None)).status == 200
        end(proxy)
        await until_ready(api, 200)
        await receiver.wait_for(len(receiver.requests) + 1)
        await service.engine.stop()
    rows = {row.id: row for row in await rows_of(service.stores, job)}
    sent = [request.headers["x-scheduler-execution-id"] for request in receiver.requests]
    assert set(sent) <= rows.keys() and len(sent) == len(set(sent))
    assert not [row for row in rows.values() if row.status is Status.RUNNING]


async def test_a_slow_server_is_only_slow(service: Service, proxy: PostgresProxy, receiver: Receiver) -> None:
    proxy.delay_s = 0.01
    job = await add_job(service.stores, service.clock.now(), urls=[receiver.url], schedule="@yearly")
    await start_run(service.stores, job, service.clock.now())
    await deliver_ready(service)
    assert [row.status for row in await rows_of(service.stores, job)] == [Status.SUCCESS]


@pytest.mark.parametrize(("side", "running"), [("before", 0), ("after", 3)])
async def test_a_claim_whose_commit_is_broken_off(
    service: Service, proxy: PostgresProxy, receiver: Receiver, side: str, running: int
) -> None:
    """Whether it was written or not: each run is delivered once, by its first attempt."""
    job = await add_job(service.stores, service.clock.now(), urls=[receiver.url], schedule="@yearly")
    for number in range(3):
        await start_run(service.stores, job, service.clock.now() + number)
    setattr(proxy, f"cut_{side}_commit", True)
    with pytest.raises(SchedulerError) as refusal:
        await service.engine.pool.fill_slots()
    assert (refusal.value.code, proxy.cuts) == ("SERVICE_UNAVAILABLE", 1)
    assert receiver.requests == []
    assert [row.status for row in await rows_of(service.stores, job)].count(Status.RUNNING) == running
    while len(receiver.requests) < 3:
        await deliver_ready(service)
    rows = await rows_of(service.stores, job)
    assert [(row.status, row.attempt) for row in rows] == [(Status.SUCCESS, 1)] * 3
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_settlement_whose_commit_is_broken_off(
    service: Service, proxy: PostgresProxy, receiver: Receiver, side: str
) -> None:
    job = await add_job(service.stores, service.clock.now(), urls=[receiver.url], schedule="@yearly")
    await start_run(service.stores, job, service.clock.now())
    await service.engine.pool.fill_slots()
    await service.engine.pool.idle()
    setattr(proxy, f"cut_{side}_commit", True)
    await service.engine.recorder.flush()
    assert proxy.cuts == 1
    assert service.engine.recorder.unwritten() == set()
    await deliver_ready(service)
    assert [(row.status, row.attempt) for row in await rows_of(service.stores, job)] == [(Status.SUCCESS, 1)]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_firing_whose_commit_is_broken_off(service: Service, proxy: PostgresProxy, side: str) -> None:
    now = service.clock.now()
    job = await add_job(service.stores, now, next_run_at=now - 1, schedule="@yearly")
    setattr(proxy, f"cut_{side}_commit", True)
    with pytest.raises(SchedulerError):
        await service.engine.firer.fire_due(now)
    await service.engine.firer.fire_due(now)
    assert [row.scheduled_at for row in await rows_of(service.stores, job)] == [now - 1]


async def test_a_server_that_is_killed_and_started_again(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    with running_server(durable=True) as server:
        url = await server.create()
        other = replace(config, database=DatabaseConfig(url=url, pool_size=4))
        async with open_test_service(other, clock=SystemClock()) as service:
            await service.engine.start()
            job = await add_job(service.stores, service.clock.now(), urls=[receiver.url], schedule="* * * * * *")
            await receiver.wait_for(1)
            await asyncio.to_thread(server.crash)
            async with asyncio.timeout(30):
                while (await service.health.now()).database == "connected":
                    pass
            assert service.stores.db.is_shared and not service.engine.broken.is_set()
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(30):
                while not (await service.health.now()).ready:
                    pass
            await receiver.wait_for(len(receiver.requests) + 2)
            await service.engine.stop()
            rows = await rows_of(service.stores, job)
    times = [row.scheduled_at for row in rows]
    assert sum(row.covers for row in rows if row.attempt == 1) == (times[-1] - times[0]) // 1_000_000 + 1
    sent = [(one.headers["webhook-id"], one.headers["x-scheduler-attempt"]) for one in receiver.requests]
    assert len(sent) == len(set(sent))
