"""A clock that was set back is reported in the log and in health, until it has caught up."""

from __future__ import annotations

import logging

import pytest

from scheduler.service import Service
from scheduler.store import ids
from tests.conftest import OpenService, SetClock, both_databases
from tests.factories import add_job

pytestmark = both_databases


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "last_tick", 0)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    lines = [(record.levelno, record.getMessage()) for record in caplog.records if "clock_watch" in record.name]
    caplog.clear()
    return lines


async def behind_s(service: Service) -> object:
    return (await service.health.now()).details["clock_behind_s"]


async def test_a_clock_that_is_set_back_is_told_once_and_when_it_has_caught_up(
    service: Service, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch = service.engine.clock_watch
    await watch.start()
    await service.engine.firer.fire_due(clock.now())
    clock.advance(-4)
    watch.look()
    assert (told(caplog), await behind_s(service)) == ([], 0.0)
    clock.advance(-3600)
    for _ in range(2):
        await service.engine.firer.fire_due(clock.now())
        watch.look()
    assert await behind_s(service) == 3604.0
    ((level, line),) = told(caplog)
    assert level == logging.WARNING
    assert "3604.0 s behind" in line and "2026-06-01T00:00:00Z" in line
    clock.advance(3604)
    watch.look()
    assert (told(caplog), await behind_s(service)) == ([(logging.INFO, "the clock has caught up")], 0.0)


async def test_a_clock_that_was_set_back_while_nothing_ran_is_told_at_the_start(
    open_test_service: OpenService, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_service() as service:
        await service.engine.clock_watch.start()
        assert (told(caplog), await behind_s(service)) == ([], 0.0)
        clock.advance(7200)
        await add_job(service.stores, clock.now())
    clock.advance(-7100)
    async with open_test_service() as service:
        await service.engine.clock_watch.start()
        ((level, line),) = told(caplog)
        assert level == logging.WARNING and "7100.0 s behind" in line
        assert await behind_s(service) == 7100.0
