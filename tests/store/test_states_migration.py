"""A database of 1.0.0 is migrated with all its rows, and the service goes on with it.

What is no state is refused by the database itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduler.config import Config
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import CATCHUPS, DELIVERIES, OVERLAPS, Job
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Execution, Hold, Status, Trigger
from scheduler.domain.runs.explanation import Explanation, Verdict, explain
from scheduler.store.accounts.audit import AuditFilter
from scheduler.store.database import Database, Transaction
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.migrate import migrate, packaged_migrations
from scheduler.store.postgres.database import PostgresDatabase
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.factories import USER, add_job, deliver_ready, rows_of, start_run
from tests.postgres import Server

ROWS = Path(__file__).with_name("rows_of_1_0_0.sql")
"""What 1.0.0 wrote: jobs, webhooks and executions in every state that it had."""
WRITTEN_AT = "2026-06-01T02:10:00Z"
MIGRATIONS_OF_1_0_0 = 9
NEWER_CODES = {
    ErrorCode.STALE_CONNECTION,
    ErrorCode.TOO_MANY_REDIRECTS,
    ErrorCode.UNEXPECTED_ANSWER,
    ErrorCode.DNS_BUSY,
}
EXPLAINED_BY_1_0_0 = {
    "through": (
        Verdict.NOT_DUE,
        "the job ended after 2026-06-01T00:04:00Z: no time was left within ends_at and max_runs",
    ),
    "ended by a person": (Verdict.NOT_DUE, "the job ended at 2026-06-01T00:03:30Z (ends_at)"),
    "paused": (Verdict.PAUSED, "the job was paused by ann at 2026-06-01T00:05:00Z: for the holidays"),
    "failing": (
        Verdict.PAUSED,
        (
            "the job was paused by scheduler at 2026-06-01T00:08:00Z: failing: all 21 runs since 2026-05-27T00:07:00Z "
            "went to the dead letter"
        ),
    ),
    "buffered": (Verdict.PENDING, "it is under way: queued with attempt 1"),
}
"""What 1.0.0 said, at ``WRITTEN_AT``, of that time."""


@pytest.fixture(params=["sqlite", "postgres"])
async def old(request: pytest.FixtureRequest, config: Config) -> AsyncIterator[Config]:
    """The configuration of a service whose database 1.0.0 has left behind."""
    if request.param == "sqlite":
        await _fill(await SqliteDatabase.open(config.data_dir / "scheduler.db"))
        yield config
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = await server.create(migrated=False)
    await _fill(await PostgresDatabase.open(url, pool_size=2))
    yield replace(config, database=replace(config.database, url=url))
    await server.drop(url)


async def _fill(db: Database) -> None:
    async def write(tx: Transaction) -> None:
        for statement in ROWS.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                await tx.execute(statement)

    try:
        await migrate(db, 0, packaged_migrations()[:MIGRATIONS_OF_1_0_0])
        await db.transaction(write)
    finally:
        await db.close()


async def test_dead_letters_of_1_0_0_tell_every_reason_as_before(old: Config, open_test_service: OpenService) -> None:
    before = ROWS.read_text(encoding="utf-8")
    async with open_test_service(old) as service:
        stored = await service.stores.db.fetch_all(
            "SELECT id, attempt, error FROM executions WHERE status = 'dead_letter'"
        )
        shown = [await service.stores.executions.get(row["id"]) for row in stored]
    assert [row["error"] for row in stored if "before:" in row["error"]] == []
    assert sum(row["attempt"] > 1 for row in stored) > 1
    assert [one for one in shown if one is None or f"'{one.error}'" not in before] == []


async def test_every_row_of_1_0_0_gets_its_states(old: Config, open_test_service: OpenService) -> None:
    async with open_test_service(old) as service:
        db = service.stores.db
        jobs = await db.fetch_all("SELECT name, disabled_by FROM jobs")
        versions = await db.fetch_all(
            "SELECT j.name, h.disabled_by FROM job_history h JOIN jobs j ON j.id = h.job_id WHERE h.enabled = 0"
        )
        webhooks = await db.fetch_all("SELECT j.name, w.disabled_by FROM webhooks w JOIN jobs j ON j.id = w.job_id")
        executions = await db.fetch_all("SELECT j.name, e.* FROM executions e JOIN jobs j ON j.id = e.job_id")
    disabled_by = {row["name"]: row["disabled_by"] for row in jobs if row["disabled_by"]}
    assert disabled_by == {
        "through": "through",
        "ended by a person": "through",
        "buffered": "through",
        "failing": "failing",
        "broken": "broken",
    }
    paused = {"paused": None, "backfilled": None, "missed": None, "without a webhook": None}
    assert {row["name"]: row["disabled_by"] for row in versions} == disabled_by | paused
    assert {row["name"]: row["disabled_by"] for row in webhooks if row["disabled_by"]} == {"gone": "gone"}
    started = {"every code", "crashing", "timed out", "by hand", "noisy", "queued"}
    assert {row["name"] for row in executions if not row["is_scheduled"]} == started
    assert {row["name"] for row in executions if row["is_scheduled"]}.isdisjoint(started)
    for row in executions:
        word = (row["error"] or "").partition(" ")[0]
        assert (row["error_code"] or "") == re.sub(r"^http_\d+$", "http", word), row["error"]
    assert {row["error_code"] for row in executions} == {None, *ErrorCode} - NEWER_CODES
    assert {row["status"] for row in executions} == set(Status)
    assert {row["trigger_kind"] for row in executions} == set(Trigger)
    held = Counter((row["name"], row["held"]) for row in executions if row["status"] == "queued")
    assert held == {
        ("broken", Hold.NONE): 1,
        ("through", Hold.NONE): 1,
        ("queued", Hold.NONE): 1,
        ("paused", Hold.PAUSED): 1,
        ("failing", Hold.PAUSED): 1,
        ("buffered", Hold.BUFFERED): 1,
        ("noisy", Hold.BACKLOG): 3,
    }


async def test_the_service_goes_on_with_a_database_of_1_0_0(
    old: Config, open_test_service: OpenService, receiver: Receiver, clock: SetClock
) -> None:
    clock.set(WRITTEN_AT)
    async with open_test_service(old) as service:
        stores = service.stores
        await _point_webhooks_at(stores, receiver)
        assert await service.engine.rescuer.rescue() == 4
        for _ in range(3):
            await deliver_ready(service)
        assert {name: await _waiting(stores, name) for name in await _names(stores)} == (
            dict.fromkeys(await _names(stores), 0) | {"paused": 1, "failing": 1, "through": 1, "broken": 1}
        )
        clock.advance(3 * 3600)
        await deliver_ready(service)
        assert (await _waiting(stores, "through"), await _waiting(stores, "broken")) == (0, 0)
        assert (await _waiting(stores, "paused"), await _waiting(stores, "failing")) == (1, 1)

        for name in ("paused", "failing"):
            job = await _job(stores, name)
            resumed = await stores.jobs.change(job.id, lambda job: change_job(job, {"enabled": True}, clock.now()))
            assert resumed is not None
            assert (resumed.disabled_by, resumed.disabled_reason) == (None, None)
            assert resumed.note == {"paused": "for the holidays", "failing": "ask carol"}[name]
        await deliver_ready(service)
        assert (await _waiting(stores, "paused"), await _waiting(stores, "failing")) == (0, 0)

        by_hand = (await _rows(stores, "by hand"))[-1]
        scheduled = (await _rows(stores, "gone"))[0]
        await stores.dead_letters.redrive(USER, Selection(ids=(by_hand.id, scheduled.id)), clock.now(), dry_run=False)
        redriven = [(await _rows(stores, name))[-1] for name in ("by hand", "gone")]
        assert [(row.trigger, row.is_scheduled) for row in redriven] == [
            (Trigger.REDRIVE, False),
            (Trigger.REDRIVE, True),
        ]


async def test_times_of_a_database_of_1_0_0_are_explained_as_before(
    old: Config, open_test_service: OpenService, clock: SetClock
) -> None:
    clock.set(WRITTEN_AT)
    async with open_test_service(old) as service:
        stores = service.stores
        for name, (verdict, detail) in EXPLAINED_BY_1_0_0.items():
            found = await _explained(stores, await _job(stores, name), clock.now())
            assert (found.verdict, found.detail) == (verdict, detail)
        (run,) = await _rows(stores, "backfilled")
        assert await stores.executions.standing_for(run.job_id, run.scheduled_at) == [run]
        started = (await _rows(stores, "by hand"))[0]
        assert await stores.executions.standing_for(started.job_id, started.scheduled_at) == []


async def test_what_else_1_0_0_wrote_is_there(old: Config, open_test_service: OpenService) -> None:
    async with open_test_service(old) as service:
        stores = service.stores
        account = (await stores.accounts.page(USER, skip=0, limit=10)).items[0]
        people = await stores.members.page(account.id, skip=0, limit=10)
        assert [member.user for member in people.items] == ["ann", "bob"]
        assert [key.name for key in (await stores.keys.page(USER, skip=0, limit=10)).items] == ["ci"]
        assert (await stores.audit.page(USER, AuditFilter(), skip=0, limit=1)).total == 14
        (webhook,) = (
            await stores.webhooks.page(USER, job_id=(await _job(stores, "enabled")).id, skip=0, limit=9)
        ).items
        assert webhook.headers == {"Authorization": "Bearer fixture"}


@both_databases
@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("executions", "held", list(Hold)),
        ("executions", "status", list(Status)),
        ("executions", "trigger_kind", list(Trigger)),
        ("executions", "error_code", [None, *ErrorCode]),
        ("executions", "is_scheduled", [0, 1]),
        ("jobs", "disabled_by", [None, DisabledBy.THROUGH, DisabledBy.FAILING, DisabledBy.BROKEN]),
        ("jobs", "dst_policy", ["debian", "skip", "literal"]),
        ("jobs", "day_match", ["or", "and"]),
        ("jobs", "catchup", CATCHUPS),
        ("jobs", "overlap", OVERLAPS),
        ("jobs", "delivery", DELIVERIES),
        ("job_history", "disabled_by", [None, DisabledBy.THROUGH, DisabledBy.FAILING, DisabledBy.BROKEN]),
        ("webhooks", "disabled_by", [None, DisabledBy.GONE]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_database_takes_every_state_there_is_and_no_other(
    stores: Stores, clock: SetClock, table: str, column: str, values: list[Any]
) -> None:
    await start_run(stores, await add_job(stores, clock.now()), clock.now())

    async def write(value: Any) -> None:
        await stores.db.transaction(lambda tx: tx.execute(f"UPDATE {table} SET {column} = :value", {"value": value}))

    for value in values:
        await write(value)
    with pytest.raises(SchedulerError):
        await write(7 if isinstance(values[-1], int) else "unheard_of")


async def _point_webhooks_at(stores: Stores, receiver: Receiver) -> None:
    sql = "UPDATE webhooks SET url = REPLACE(url, 'http://receiver.test', :url)"
    await stores.db.transaction(lambda tx: tx.execute(sql, {"url": receiver.url}))


async def _names(stores: Stores) -> list[str]:
    return [row["name"] for row in await stores.db.fetch_all("SELECT name FROM jobs")]


async def _job(stores: Stores, name: str) -> Job:
    row = await stores.db.fetch_one("SELECT id FROM jobs WHERE name = :name", {"name": name})
    assert row is not None
    job = await stores.jobs.get(row["id"])
    assert job is not None
    return job


async def _rows(stores: Stores, name: str) -> list[Execution]:
    job = await _job(stores, name)
    owner = {"noisy": "noisy", "queued": "carol"}.get(name, USER)
    return await rows_of(stores, job, user=owner)


async def _waiting(stores: Stores, name: str) -> int:
    return sum(row.status is Status.QUEUED for row in await _rows(stores, name))


async def _explained(stores: Stores, job: Job, at: Instant) -> Explanation:
    """What became of ``at``, which is now."""
    versions = await stores.jobs.history(job.id)
    return explain(job, versions, await stores.executions.standing_for(job.id, at), at, at)
