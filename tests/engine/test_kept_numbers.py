"""What is kept by number in an account, its dead letters, and the audit by age: the oldest are pruned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.config import Config
from scheduler.config.limits import LimitsConfig
from scheduler.config.retention import RetentionConfig
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.clock import seconds
from scheduler.domain.runs.execution import Status
from scheduler.engine.upkeep.pruner import BETWEEN_SWEEPS_S
from scheduler.service import Service
from scheduler.store import ids
from scheduler.store.accounts.audit import AuditFilter
from scheduler.store.executions.dead_letters import Selection
from tests.conftest import OpenService, SetClock, both_databases
from tests.factories import USER, add_job, add_run, make_job, make_webhook, metric, rows_of

pytestmark = both_databases

DAY_S = 86_400
KEPT = 3


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, limits=LimitsConfig(dead_letters_per_account=KEPT))


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "last_tick", 0)


async def sweep(service: Service) -> None:
    while await service.engine.pruner.step() < BETWEEN_SWEEPS_S:
        pass


async def actions_of(service: Service) -> list[str]:
    page = await service.stores.audit.page(USER, AuditFilter(), skip=0, limit=1000)
    return [entry.audited.subject_name or "" for entry in page.items]


async def test_the_oldest_dead_letters_beyond_the_limit_are_pruned(service: Service, clock: SetClock) -> None:
    stores, now = service.stores, clock.now()
    job = await add_job(stores, now, enabled=False)
    account = await stores.accounts.create(name="another", user=USER, now=now)
    other = make_job(account.id, now, enabled=False)
    await stores.jobs.insert([(other, [make_webhook(other.id, now)])])
    dead = [await add_run(stores, job, now + n, Status.FAILURE, Status.DEAD_LETTER) for n in range(1, 6)]
    fine = await add_run(stores, job, now + 10, Status.SUCCESS)
    theirs = [await add_run(stores, other, now + n, Status.DEAD_LETTER) for n in range(1, KEPT + 1)]
    await sweep(service)
    assert {row.run_id for row in await rows_of(stores, job)} == {*dead[-KEPT:], fine}
    assert {row.run_id for row in await rows_of(stores, other)} == set(theirs)
    assert await metric(service, 'scheduler_executions_pruned_total{cause="dead_letters"}') == 4
    assert await metric(service, 'scheduler_executions_pruned_total{cause="age"}') == 0


async def test_redriven_dead_letters_do_not_count_and_stay(service: Service, clock: SetClock) -> None:
    stores, now = service.stores, clock.now()
    job = await add_job(stores, now, enabled=False)
    dead = [await add_run(stores, job, now + n, Status.DEAD_LETTER) for n in range(1, 6)]
    rows = {row.run_id: row.id for row in await rows_of(stores, job)}
    again = tuple(rows[run_id] for run_id in (dead[0], dead[4]))
    assert await stores.dead_letters.redrive(USER, Selection(ids=again), now + 100, dry_run=False) == 2
    await sweep(service)
    assert {row.run_id for row in await rows_of(stores, job)} == set(dead)


async def test_old_entries_of_the_audit_are_pruned_by_a_live_setting(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    kept_for_ever = RetentionConfig(audit_days=0)
    async with open_test_service(replace(config, retention=kept_for_ever)) as service:
        stores, begun = service.stores, clock.now()
        account = await stores.accounts.create(name="0", user=USER, now=begun, by=Actor(name=USER, at=begun))
        for number in range(1, 500):
            at = begun + seconds(number * DAY_S)
            await stores.accounts.rename(account.id, str(number), at, by=Actor(name=USER, at=at))
        clock.advance(500 * DAY_S)
        await sweep(service)
        assert len(await actions_of(service)) == 500
        service.engine.pruner.keep(RetentionConfig(audit_days=100))
        await sweep(service)
        assert await actions_of(service) == [str(number) for number in range(499, 399, -1)]
