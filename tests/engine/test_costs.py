"""What must cost nothing on the way of an execution."""

from __future__ import annotations

from typing import Any

from tests.conftest import Receiver, SetClock
from tests.factories import add_job, fire_and_deliver


async def test_a_success_of_a_job_without_failures_costs_no_statement(
    service: Any, receiver: Receiver, clock: SetClock
) -> None:
    await add_job(service.stores, clock.now(), urls=[receiver.url])
    seen: list[str] = []
    await service.stores.db._writer.set_trace_callback(seen.append)
    for _ in range(2):
        clock.advance(60)
        await fire_and_deliver(service)
    await service.stores.db._writer.set_trace_callback(None)
    assert len(receiver.requests) == 2
    assert not [sql for sql in seen if "dead_count =" in sql or "dead_count >" in sql]
