"""Work that must not be done for every execution."""

from __future__ import annotations

import aiosqlite

from scheduler.service import Service
from tests.conftest import Receiver, SetClock
from tests.factories import add_job, fire_and_deliver


async def test_a_success_of_a_job_without_failures_costs_no_statement(
    service: Service, receiver: Receiver, clock: SetClock, sqlite_connections: list[aiosqlite.Connection]
) -> None:
    await add_job(service.stores, clock.now(), urls=[receiver.url])
    seen: list[str] = []
    await sqlite_connections[0].set_trace_callback(seen.append)
    for _ in range(2):
        clock.advance(60)
        await fire_and_deliver(service)
    assert len(receiver.requests) == 2
    assert not [sql for sql in seen if "dead_count =" in sql or "dead_count >" in sql]
