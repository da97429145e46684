"""Accounts share the pool: hanging receivers of one delay no other, and what is deferred is not lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import cycle, islice

import pytest

from scheduler.config import Config
from scheduler.config.limits import LimitsConfig
from scheduler.domain.clock import SECOND
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import AttemptsSettled, Fired, LookedForDueJobs
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.service import Service
from scheduler.store.database import Transaction
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.engine.receivers import SHORT_S, RawReceiver, keeping, open_descriptors, receiving, silence, until
from tests.engine.test_hostile_receivers import CASES
from tests.engine.test_retention import COPY
from tests.event_log import EventLog
from tests.factories import add_job, add_run, change_stored, deliver_ready, rows_of

ONCE = RetryPolicy(max_attempts=1)


def sized(config: Config, concurrency: int, **limits: int) -> Config:
    return replace(
        config, engine=replace(config.engine, concurrency=concurrency), limits=replace(LimitsConfig(), **limits)
    )


def url(receiver: RawReceiver, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{receiver.port}/hook"


async def add(
    service: Service, user: str, receiver: str, *, runs: int, timeout_s: float = 30, account_id: str | None = None
) -> Job:
    """A job of this user with so many runs that may start now."""
    now = service.clock.now()
    job = await add_job(
        service.stores,
        now,
        user=user,
        account_id=account_id,
        urls=[receiver],
        retry=ONCE,
        webhook={"timeout_s": timeout_s},
        schedule="0 0 1 1 *",
    )
    for _ in range(runs):
        await service.engine.firer.start_run(job.id, now)
    return job


async def add_dead(service: Service, user: str, receiver: str, *, runs: int) -> Job:
    """A job of this user with so many dead letters."""
    job = await add(service, user, receiver, runs=0)
    await add_run(service.stores, job, service.clock.now(), Status.DEAD_LETTER)
    await service.stores.db.transaction(lambda tx: tx.execute(COPY, {"more": runs - 1}))
    return job


async def statuses(service: Service, job: Job, user: str) -> Counter[Status]:
    return Counter(row.status for row in await rows_of(service.stores, job, user=user))


def count(told: list[AttemptsSettled]) -> int:
    return sum(len(event.settlements) for event in told)


@asynccontextmanager
async def delivering(service: Service) -> AsyncIterator[None]:
    """The pool and the recorder run; deliveries in flight at the end are aborted."""
    tasks = [asyncio.create_task(service.engine.recorder.run()), asyncio.create_task(service.engine.pool.run())]
    try:
        yield
    finally:
        await service.engine.pool.drain(0)
        await service.engine.recorder.flushed()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_account_with_hanging_receivers_leaves_slots_to_others(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 8)) as service:
        other = await add(service, "other", receiver.url, runs=0)
        noisy = await add(service, "noisy", url(hanging), runs=500)
        for _ in range(20):
            await service.engine.firer.start_run(other.id, service.clock.now())
        async with delivering(service):
            await receiver.wait_for(20)
            assert await statuses(service, noisy, "noisy") == {Status.RUNNING: 6, Status.QUEUED: 494}
        assert await statuses(service, other, "other") == {Status.SUCCESS: 20}
        assert len({row.run_id for row in await rows_of(service.stores, noisy, user="noisy")}) == 500
        assert hanging.connections == 6


async def test_fifty_hostile_receivers_at_once_leave_healthy_traffic_alone(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    before = open_descriptors()
    async with AsyncExitStack() as stack:
        hostile = [await stack.enter_async_context(receiving(case.script)) for case in islice(cycle(CASES), 50)]
        service = await stack.enter_async_context(open_test_service(config=sized(config, 64)))
        other = await add(service, "other", receiver.url, runs=0)
        jobs = [await add(service, "noisy", url(one), runs=1, timeout_s=SHORT_S) for one in hostile]
        for _ in range(30):
            await service.engine.firer.start_run(other.id, service.clock.now())
        settled = EventLog(service.events, AttemptsSettled)
        async with delivering(service):
            await settled.wait_for(lambda told: count(told) == 80)
        assert await statuses(service, other, "other") == {Status.SUCCESS: 30}
        ended = [await statuses(service, job, "noisy") for job in jobs]
        assert all(one.keys() <= {Status.SUCCESS, Status.DEAD_LETTER} for one in ended)
        assert service.engine.pool.in_use == 0
    await until(lambda: open_descriptors() <= before + 2)  # but for the healthy receiver's own


@both_databases
async def test_the_health_report_says_how_long_the_oldest_has_waited_for_its_share(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    async with open_test_service(config=sized(config, 8, account_concurrency=1)) as service:
        assert (await service.health.now()).details["queue"]["in_lanes_lag_s"] == 0.0
        for user, wait_s in (("ann", 20), ("bob", 10)):
            await add(service, user, "http://127.0.0.1:9/", runs=3)
            clock.advance(wait_s)
        await service.engine.pool.fill_slots()
        queue = (await service.health.now()).details["queue"]
        assert (queue["in_lanes"], queue["in_lanes_lag_s"]) == (4, 30.0)


@both_databases
async def test_four_accounts_of_one_user_leave_slots_to_other_users(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 16)) as service:
        other = await add(service, "other", receiver.url, runs=0)
        noisy = []
        for number in range(4):
            account = await service.stores.accounts.create(name=f"{number}", user="noisy", now=service.clock.now())
            noisy.append(await add(service, "noisy", url(hanging), runs=20, account_id=account.id))
        for _ in range(10):
            await service.engine.firer.start_run(other.id, service.clock.now())
        async with delivering(service):
            await receiver.wait_for(10)
            running = [(await statuses(service, job, "noisy"))[Status.RUNNING] for job in noisy]
        assert sum(running) == 12
        assert await statuses(service, other, "other") == {Status.SUCCESS: 10}


async def test_what_is_deferred_is_not_read_again_before_there_is_room(
    open_test_service: OpenService, config: Config
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 8)) as service:
        await add(service, "other", "http://127.0.0.1:9/", runs=0)
        await add(service, "noisy", url(hanging), runs=600)
        while await service.engine.pool.fill_slots() == 0:
            """More may start at once."""
        assert await service.stores.queue.next_ready_at() is None
        assert service.engine.pool.in_use == 6
        await service.engine.pool.drain(0)
        await service.engine.recorder.flush()


async def test_what_is_deferred_starts_in_order_as_slots_are_given_back(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    async with receiving(keeping()) as quick, open_test_service(config=sized(config, 4)) as service:
        await add(service, "other", "http://127.0.0.1:9/", runs=0)
        job = await add(service, "busy", url(quick), runs=0)
        started = []
        for _ in range(40):
            started += await service.engine.firer.start_run(job.id, service.clock.now())
            clock.advance(0.001)
        settled = EventLog(service.events, AttemptsSettled)
        async with delivering(service):
            await settled.wait_for(lambda told: count(told) == 40)
        assert await statuses(service, job, "busy") == {Status.SUCCESS: 40}
        order = [
            request.lower().partition(b"x-scheduler-execution-id: ")[2][:36].decode() for request in quick.requests
        ]
        positions = {execution.id: number for number, execution in enumerate(started)}
        assert all(abs(positions[execution_id] - number) < 4 for number, execution_id in enumerate(order))


async def test_several_noisy_accounts_leave_slots_free_too(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 16)) as service:
        other = await add(service, "other", receiver.url, runs=0)
        noisy = [(user, await add(service, user, url(hanging), runs=0)) for user in ("n1", "n2", "n3")]
        for _ in range(40):
            for _, job in noisy:
                await service.engine.firer.start_run(job.id, service.clock.now())
            clock.advance(0.001)
        for _ in range(10):
            await service.engine.firer.start_run(other.id, service.clock.now())
        async with delivering(service):
            await receiver.wait_for(10)
            running = [(await statuses(service, job, user))[Status.RUNNING] for user, job in noisy]
        assert min(running) >= 1 and sum(running) < 16


async def test_the_only_account_has_all_slots_but_the_reserve_until_another_comes(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 32)) as service:
        noisy = await add(service, "noisy", url(hanging), runs=100)
        async with delivering(service):
            await hanging.wait_for(28)
            assert service.engine.pool.in_use == 28
            clock.advance(1)
            await add(service, "other", receiver.url, runs=10)
            await receiver.wait_for(10)
            assert (await statuses(service, noisy, "noisy")) == {Status.RUNNING: 28, Status.QUEUED: 72}


async def test_an_account_may_have_a_limit_of_its_own(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    limited = sized(config, 8, account_concurrency=2)
    async with receiving(silence) as hanging, open_test_service(config=limited) as service:
        noisy = await add(service, "noisy", url(hanging), runs=20)
        await add(service, "other", receiver.url, runs=10)
        async with delivering(service):
            await receiver.wait_for(10)
            assert (await statuses(service, noisy, "noisy")) == {Status.RUNNING: 2, Status.QUEUED: 18}


@both_databases
@pytest.mark.parametrize("neighbours", [[], ["bob"]])
async def test_a_redrive_of_thousands_does_not_delay_the_other_jobs_of_the_account(
    open_test_service: OpenService,
    config: Config,
    receiver: Receiver,
    clock: SetClock,
    neighbours: list[str],
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 16)) as service:
        dead = await add_dead(service, "ann", url(hanging), runs=5000)
        punctual = await add(service, "ann", receiver.url, runs=0)
        for neighbour in neighbours:
            await add(service, neighbour, receiver.url, runs=0)
        clock.advance(1)
        everything = Selection(filter=ExecutionFilter(job_id=dead.id))
        assert await service.stores.dead_letters.redrive("ann", everything, clock.now(), dry_run=False) == 5000
        async with delivering(service):
            for count in range(1, 21):
                clock.advance(1)
                await service.engine.firer.start_run(punctual.id, clock.now())
                await receiver.wait_for(count)
            assert (await statuses(service, dead, "ann"))[Status.RUNNING] == 9


async def test_a_slow_host_does_not_hold_up_the_account_elsewhere(
    open_test_service: OpenService, config: Config
) -> None:
    limited = sized(config, 8, host_concurrency=1)
    async with (
        receiving(silence) as hanging,
        receiving(keeping(), host="127.0.0.2") as quick,
        open_test_service(config=limited) as service,
    ):
        stuck = [await add(service, user, url(hanging), runs=10) for user in ("ann", "bob")]
        free = await add(service, "ann", url(quick, "127.0.0.2"), runs=10)
        settled = EventLog(service.events, AttemptsSettled)
        async with delivering(service):
            await settled.wait_for(lambda told: count(told) == 10)
            assert await statuses(service, free, "ann") == {Status.SUCCESS: 10}
            left = await statuses(service, stuck[0], "ann") + await statuses(service, stuck[1], "bob")
            assert left == {Status.RUNNING: 1, Status.QUEUED: 19}
        assert hanging.connections == 1


async def test_beyond_its_rate_an_account_waits_and_loses_nothing(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with open_test_service(config=sized(config, 8, account_deliveries_per_minute=6)) as service:
        job = await add(service, "ann", receiver.url, runs=3)
        await add(service, "bob", f"{receiver.url}/bob", runs=1)
        await deliver_ready(service)
        assert sorted(request.path for request in receiver.requests) == ["/", "/bob"]
        clock.advance(9.9)
        await deliver_ready(service)
        assert len(receiver.requests) == 2
        for delivered in (3, 4):
            clock.advance(10)
            await deliver_ready(service)
            assert len(receiver.requests) == delivered
        assert await statuses(service, job, "ann") == {Status.SUCCESS: 3}


async def test_the_pool_wakes_when_the_rate_permits(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with open_test_service(config=sized(config, 8, host_deliveries_per_minute=240)) as service:
        await add(service, "ann", receiver.url, runs=41)
        assert await service.engine.pool.fill_slots() > 0
        for _ in range(10):
            await service.engine.pool.idle()
            await service.engine.pool.fill_slots()
        assert len(receiver.requests) == 40
        assert 0 < await service.engine.pool.fill_slots() <= 0.25
        clock.advance(0.25)
        await deliver_ready(service)
        assert len(receiver.requests) == 41


async def test_pausing_holds_what_is_deferred_and_resuming_releases_it(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with open_test_service(config=sized(config, 8, account_concurrency=1)) as service:
        job = await add(service, "ann", receiver.url, runs=3)
        await deliver_ready(service)
        await change_stored(service.stores, job, clock.now(), enabled=False)
        await deliver_ready(service)
        assert len(receiver.requests) == 1
        await change_stored(service.stores, job, clock.now(), enabled=True)
        await deliver_ready(service)
        assert len(receiver.requests) == 2
        await deliver_ready(service)
        assert await statuses(service, job, "ann") == {Status.SUCCESS: 3}


async def test_what_is_deferred_is_found_after_a_restart(
    open_test_service: OpenService, config: Config, receiver: Receiver
) -> None:
    limited = sized(config, 8, account_concurrency=1)
    async with open_test_service(config=limited) as service:
        job = await add(service, "ann", receiver.url, runs=3)
        await deliver_ready(service)
    async with open_test_service(config=sized(config, 8)) as service:
        await deliver_ready(service)
        assert await statuses(service, job, "ann") == {Status.SUCCESS: 3}


async def test_a_failing_claim_forgets_nothing(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with open_test_service(config=sized(config, 8, account_concurrency=1)) as service:
        job = await add(service, "ann", receiver.url, runs=2)
        await deliver_ready(service)

        async def break_it(tx: Transaction) -> None:
            await tx.execute("ALTER TABLE webhooks RENAME TO webhooks_away")

        async def mend_it(tx: Transaction) -> None:
            await tx.execute("ALTER TABLE webhooks_away RENAME TO webhooks")

        await service.stores.db.transaction(break_it)
        with pytest.raises(SchedulerError, match="webhooks"):
            await service.engine.pool.fill_slots()
        await service.stores.db.transaction(mend_it)
        clock.advance(1 / SECOND)
        await deliver_ready(service)
        assert await statuses(service, job, "ann") == {Status.SUCCESS: 2}


async def test_what_waits_behind_a_crowd_is_found_by_the_claim_that_defers_the_crowd(
    open_test_service: OpenService, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    async with receiving(silence) as hanging, open_test_service(config=sized(config, 8)) as service:
        await add(service, "noisy", url(hanging), runs=100)
        clock.advance(1)
        other = await add(service, "other", receiver.url, runs=1)
        await service.engine.pool.fill_slots()
        await service.engine.pool.fill_slots()
        assert (await statuses(service, other, "other")).keys() & {Status.RUNNING, Status.SUCCESS}
        await service.engine.pool.drain(0)
        await service.engine.recorder.flush()


async def test_thousands_due_at_once_do_not_hold_up_jobs_that_come_after_them(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    small = replace(config, engine=replace(config.engine, batch_size=10))
    async with open_test_service(config=small) as service:
        crowd = [await add_job(service.stores, clock.now(), user="noisy", schedule="* * * * *") for _ in range(40)]
        clock.advance(1)
        late = await add_job(service.stores, clock.now(), user="other", schedule="@every 60s")
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
        assert len(await rows_of(service.stores, late, user="other")) == 1
        for _ in range(4):
            await service.engine.firer.fire_due(clock.now())
        assert [len(await rows_of(service.stores, job, user="noisy")) for job in crowd] == [1] * 40


async def test_a_look_that_is_asked_for_during_a_look_follows_it_at_once(
    open_test_service: OpenService, config: Config, clock: SetClock
) -> None:
    slow = replace(config, engine=replace(config.engine, tick_s=600))
    async with open_test_service(config=slow) as service:
        loop = service.engine.trigger_loop
        looked = EventLog(service.events, LookedForDueJobs)
        loop.start()
        await looked.wait_for()
        job = await add_job(service.stores, clock.now(), schedule="* * * * *")
        clock.advance(60)
        service.events.listen(Fired, lambda _: loop.look_by(0))
        loop.look_by(1)
        await looked.wait_for(lambda told: len(told) == 3)
        loop.stop()
        assert [look.due for look in looked.told] == [0, 1, 0]
        assert len(await rows_of(service.stores, job)) == 1
