"""Pruning in the store: whole runs, judged by their newest attempt, as things stand when they are deleted."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Execution, Status
from scheduler.store import ids
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.pruning import Edge, Slice, check_not_pruned
from scheduler.store.ids import first_id
from scheduler.store.stores import Stores
from tests.conftest import SetClock, both_databases
from tests.factories import USER, add_job, add_run, rows_of, start_run

pytestmark = both_databases

MINUTE = seconds(60)


@pytest.fixture(autouse=True)
def ids_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one process only grow; here time begins anew with each test."""
    monkeypatch.setattr(ids, "last_tick", 0)


@pytest.fixture
async def job(stores: Stores, clock: SetClock) -> Job:
    return await add_job(stores, clock.now(), enabled=False)


def before(at: Instant, dead_at: Instant | None = None) -> Edge:
    """The edge that permits deleting what was made before ``at``, dead letters before ``dead_at``."""
    return Edge(until_id=first_id(at), dead_until_id=first_id(at if dead_at is None else dead_at))


async def look(stores: Stores, edge: Edge) -> Slice:
    found = await stores.pruning.oldest(edge, after_id="", limit=100)
    assert found is not None
    return found


async def runs_of(stores: Stores, job: Job) -> list[str]:
    return list(dict.fromkeys(row.run_id for row in await rows_of(stores, job)))


async def last_of(stores: Stores, run_id: str, job: Job) -> Execution:
    return [row for row in await rows_of(stores, job) if row.run_id == run_id][-1]


async def test_a_look_tells_what_goes_and_where_to_go_on(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    going = await add_run(stores, job, at, Status.FAILURE, Status.SUCCESS)
    await add_run(stores, job, at + MINUTE, Status.FAILURE, Status.QUEUED)
    edge = before(at + 2 * MINUTE)
    first = await stores.pruning.oldest(edge, after_id="", limit=3)
    assert first is not None and first.going == {going: job.id}
    second = await stores.pruning.oldest_of(job.id, edge, after_id=first.last_id, limit=3)
    assert second is not None and second.going == {} and second.last_id == (await rows_of(stores, job))[-1].id
    assert await stores.pruning.oldest(edge, after_id=second.last_id, limit=3) is None
    assert await stores.pruning.oldest_of("another", edge, after_id="", limit=3) is None


async def test_a_run_goes_with_all_of_its_attempts_or_not_at_all(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    await add_run(stores, job, at, Status.FAILURE, Status.TIMED_OUT, Status.SUCCESS)
    straddling = await add_run(stores, job, at + 1, Status.FAILURE, Status.SUCCESS, last_at=at + 2 * MINUTE)
    running = await add_run(stores, job, at + 2, Status.FAILURE, Status.RUNNING)
    edge = before(at + MINUTE)
    found = await look(stores, edge)
    assert await stores.pruning.prune(found.going, edge) == 3
    assert await stores.pruning.prune(found.going, edge) == 0
    assert {(row.run_id, row.attempt) for row in await rows_of(stores, job)} == {
        (run_id, attempt) for run_id in (straddling, running) for attempt in (1, 2)
    }


async def test_dead_letters_have_an_edge_of_their_own(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    await add_run(stores, job, at, Status.FAILURE, Status.DEAD_LETTER)
    dead = await add_run(stores, job, at + MINUTE, Status.FAILURE, Status.DEAD_LETTER)
    await add_run(stores, job, at + MINUTE, Status.DEAD_LETTER, Status.SUCCESS, scheduled_at=at + 1)  # redriven
    edge = before(at + 2 * MINUTE, dead_at=at + MINUTE)
    assert await stores.pruning.prune((await look(stores, edge)).going, edge) == 4
    assert await runs_of(stores, job) == [dead]


async def test_dead_letters_may_go_before_others(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    kept = await add_run(stores, job, at, Status.SUCCESS)
    await add_run(stores, job, at, Status.DEAD_LETTER, scheduled_at=at + 1)
    edge = Edge(until_id="", dead_until_id=first_id(at + MINUTE))
    assert await stores.pruning.prune((await look(stores, edge)).going, edge) == 1
    assert await runs_of(stores, job) == [kept]


async def test_the_mark_is_the_newest_time_that_was_pruned(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    await add_run(stores, job, at, Status.SUCCESS, scheduled_at=at - 3 * MINUTE)
    await add_run(stores, job, at + 1, Status.SUCCESS, scheduled_at=at - 5 * MINUTE)
    await add_run(stores, job, at + 2, Status.DEAD_LETTER, scheduled_at=at - MINUTE)
    await add_run(stores, job, at + 3, Status.QUEUED, scheduled_at=at)
    edge = before(at + MINUTE, dead_at=at)
    assert await stores.jobs.pruned_until_at(job.id) is None
    assert await stores.pruning.prune((await look(stores, edge)).going, edge) == 2
    assert await stores.jobs.pruned_until_at(job.id) == at - 3 * MINUTE
    await add_run(stores, job, at + 4, Status.SUCCESS, scheduled_at=at - 4 * MINUTE)
    assert await stores.pruning.prune((await look(stores, edge)).going, edge) == 1
    assert await stores.jobs.pruned_until_at(job.id) == at - 3 * MINUTE


async def test_a_run_by_hand_leaves_no_mark(stores: Stores, job: Job, clock: SetClock) -> None:
    (run,) = await start_run(stores, job, clock.now())
    await stores.executions.cancel(run.id, clock.now(), reason="over")
    edge = before(clock.now() + MINUTE)
    assert await stores.pruning.prune((await look(stores, edge)).going, edge) == 1
    assert await stores.jobs.pruned_until_at(job.id) is None


async def test_times_up_to_the_mark_are_refused(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    edge = before(at + MINUTE)

    async def refuse(*times: Instant) -> None:
        await stores.db.transaction(lambda tx: check_not_pruned(tx, job.id, times))

    await refuse(at)
    await add_run(stores, job, at, Status.SUCCESS)
    await stores.pruning.prune((await look(stores, edge)).going, edge)
    await refuse()
    await refuse(at + 1)
    with pytest.raises(SchedulerError, match=rf"from: .*{clock}"):
        await refuse(at, at + 1)


async def test_what_is_queued_again_after_the_look_stays(stores: Stores, job: Job, clock: SetClock) -> None:
    at = clock.now()
    dead = await add_run(stores, job, at, Status.FAILURE, Status.DEAD_LETTER)
    skipped = await add_run(stores, job, at + 1, Status.SKIPPED)
    edge = before(at + MINUTE)
    found = await look(stores, edge)
    assert set(found.going) == {dead, skipped}
    clock.advance(10 * 60)
    letter = (await last_of(stores, dead, job)).id
    assert await stores.dead_letters.redrive(USER, Selection(ids=(letter,)), clock.now(), dry_run=False) == 1
    assert await stores.dead_letters.retry((await last_of(stores, skipped, job)).id, clock.now())
    assert await stores.pruning.prune(found.going, edge) == 0
    assert sorted(row.attempt for row in await rows_of(stores, job)) == [1, 1, 2, 2, 3]
    assert await stores.jobs.pruned_until_at(job.id) is None


async def test_what_is_queued_again_at_that_very_moment_stays_or_is_gone(
    stores: Stores, job: Job, clock: SetClock
) -> None:
    at = clock.now()
    runs = [await add_run(stores, job, at + number, Status.FAILURE, Status.DEAD_LETTER) for number in range(20)]
    letters = [await last_of(stores, run_id, job) for run_id in runs]
    edge = before(at + MINUTE)
    clock.advance(10 * 60)
    for run_id, letter in zip(runs, letters, strict=True):
        redriven, pruned = await asyncio.gather(
            stores.dead_letters.redrive(USER, Selection(ids=(letter.id,)), clock.now(), dry_run=False),
            stores.pruning.prune({run_id: job.id}, edge),
        )
        attempts = [row.attempt for row in await rows_of(stores, job) if row.run_id == run_id]
        assert (redriven, attempts, pruned) in ((1, [1, 2, 3], 0), (0, [], 2))


async def test_many_that_prune_and_purge_at_once_do_not_hinder_each_other(stores: Stores, clock: SetClock) -> None:
    at = clock.now()
    jobs = [await add_job(stores, at, enabled=False, name=f"job {number}") for number in range(4)]
    for number in range(40):
        await add_run(stores, jobs[number % 4], at + number, Status.FAILURE, Status.DEAD_LETTER)
    edge = before(at + MINUTE)
    found = await look(stores, edge)
    rows = [row for job in jobs for row in await rows_of(stores, job)]
    letters = tuple(row.id for row in reversed(rows) if row.status is Status.DEAD_LETTER)
    *pruned, purged = await asyncio.gather(
        *[stores.pruning.prune(found.going, edge) for _ in range(3)],
        stores.dead_letters.purge(USER, Selection(ids=letters), dry_run=False),
    )
    assert sum(pruned) + purged >= 40
    assert await stores.pruning.oldest(edge, after_id="", limit=1) is None
