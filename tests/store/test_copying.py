"""Copies are whole, go on where they were broken off, and keep every value as it is, whichever database they are in."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from scheduler.config import Config, DatabaseConfig
from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.api_key import ApiKey, Scope
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.clock import SystemClock
from scheduler.domain.runs.execution import Outcome, settle
from scheduler.domain.webhooks.success import JsonValue, Success
from scheduler.domain.webhooks.webhook import FormerSecret, TlsOptions
from scheduler.ops.copy import Copied, copy_database
from scheduler.ops.open_database import open_database
from scheduler.ops.start_error import StartError
from scheduler.ops.status import state_of
from scheduler.store import copy as copying
from scheduler.store.copy import NOT_COPIED, TABLES, count_rows
from scheduler.store.database import Database, Transaction
from scheduler.store.ids import new_id
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.sealing import require_key
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.checks import as_dict
from tests.conftest import SECRET_KEY, SetClock
from tests.factories import add_job, start_run
from tests.postgres import Server

NOW = SetClock().now()


def at(tmp_path: Path, url: str) -> Config:
    return Config(data_dir=tmp_path, database=DatabaseConfig(url=url))


@pytest.fixture
async def urls(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """From one database to another of the kinds that the test names."""
    server: Server | None = None
    found = []
    for number, kind in enumerate(request.param):
        if kind == "postgres":
            server = request.getfixturevalue("postgres_server")
            assert server is not None
            found.append(await server.create(migrated=False))
        else:
            found.append(f"sqlite:///{tmp_path}/{number}.db")
    yield found[0], found[1]
    for url in found:
        if url.startswith("postgresql") and server is not None:
            await server.drop(url)


every_way = pytest.mark.parametrize(
    "urls",
    [("sqlite", "sqlite"), ("sqlite", "postgres"), ("postgres", "sqlite"), ("postgres", "postgres")],
    indirect=True,
    ids=" to ".join,
)
one_way = pytest.mark.parametrize("urls", [("sqlite", "sqlite")], indirect=True, ids=" to ".join)


async def fill(config: Config, *, runs: int = 3) -> None:
    """Something in every table."""
    db = await open_database(config, SystemClock())
    await require_key(db, Vault(SECRET_KEY))
    stores = Stores.over(db, vault=Vault(SECRET_KEY), worker_id="copy:1:1")
    await stores.nodes.join("copy:1:1", lease_s=0)
    secret: dict[str, Any] = {
        "headers": {"X-Key": "ключ"},
        "former_secrets": (FormerSecret(secret="whsec_former", until_at=1),),
        "tls": TlsOptions(certificate="certificate", key="key"),
        "success": Success(statuses=(200, "3xx"), json=JsonValue(pointer="/ü", equals=[1, None])),
        "follow_redirects": 3,
    }
    job = await add_job(stores, NOW, webhook=secret, jitter_s=0.1, tags=("a", "ü"), note=None, spread_s=1 / 3)
    await add_job(stores, NOW, timezone="Europe/Paris")
    for user in ("Zoe", "anna", "Émile", "emil"):
        await stores.accounts.personal(user=user, now=NOW)
    key = ApiKey(
        id=new_id(NOW),
        account_id=job.account_id,
        prefix="abc",
        name="k",
        scopes=(Scope.READ,),
        created_by="ann",
        created_at=NOW,
        expires_at=None,
    )
    await stores.invitations.invite(job.account_id, "Ünal", Role.OWNER, NOW, invited_by="ann")
    await stores.keys.insert(key, "d" * 64, by=Actor(name="ann", at=NOW))
    for number in range(runs):
        await start_run(stores, job, NOW + number)
    for claim in await stores.queue.claim(NOW + runs, 2):
        outcome = Outcome(response_code=200, response_body="naïve \\u0001 text", response_headers={"A": "b"})
        await stores.queue.settle([settle(claim.execution, outcome, NOW + 9, policy=claim.policy)], NOW + 9)
    await db.close()


async def everything(config: Config) -> dict[str, list[dict[str, Any]]]:
    db = await open_database(config, SystemClock())
    rows = {
        table: sorted((as_dict(row) for row in await db.fetch_all(f"SELECT * FROM {table}")), key=repr)
        for table in TABLES
    }
    await db.close()
    return rows


async def copy(config: Config, urls: tuple[str, str]) -> Copied:
    return await copy_database(config, *urls, lambda _: lambda _: None)


async def test_every_table_is_copied_or_says_nothing_outside_its_database(db: Database) -> None:
    rows = await db.fetch_all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row["name"] for row in rows} == TABLES.keys() | NOT_COPIED


@every_way
async def test_a_copy_has_every_value_as_it_was(tmp_path: Path, urls: tuple[str, str]) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source)
    copied = await copy(source, urls)
    assert {table: one.rows for table, one in copied.tables.items()}["executions"] == 3
    assert not copied.resumed
    assert await everything(target) == await everything(source)
    assert [table for table, rows in (await everything(source)).items() if not rows] == []


@every_way
async def test_a_copy_that_was_broken_off_goes_on(
    tmp_path: Path, urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source, runs=7)
    monkeypatch.setattr(copying, "BATCH", 2)
    told = 0

    def break_off(rows: int) -> None:
        nonlocal told
        told += rows
        if told > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy_database(source, *urls, lambda _: break_off)
    with pytest.raises(StartError, match="only a part"):
        await open_database(target, SystemClock())
    copied = await copy(source, urls)
    assert copied.resumed
    assert await everything(target) == await everything(source)


@every_way
async def test_what_is_not_empty_is_not_copied_to(tmp_path: Path, urls: tuple[str, str]) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source)
    await fill(target, runs=1)
    before = await everything(target)
    with pytest.raises(StartError, match="not empty") as refusal:
        await copy(source, urls)
    assert refusal.value.exit_code == 3
    assert await everything(target) == before


@one_way
async def test_a_difference_is_found(tmp_path: Path, urls: tuple[str, str]) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source)

    def change_the_copy(_: int) -> None:
        with closing(sqlite3.connect(tmp_path / "1.db", isolation_level=None)) as intruder:
            intruder.execute("UPDATE webhooks SET url = 'http://elsewhere.example/'")

    with pytest.raises(StartError, match="the copy of webhooks differs"):
        await copy_database(source, *urls, lambda _: change_the_copy)
    with pytest.raises(StartError, match="only a part"):
        await open_database(target, SystemClock())


@pytest.mark.parametrize("urls", [("sqlite", "sqlite"), ("postgres", "sqlite")], indirect=True, ids=" to ".join)
async def test_what_a_service_works_on_is_not_copied(tmp_path: Path, urls: tuple[str, str]) -> None:
    source = at(tmp_path, urls[0])
    await fill(source)
    db = await open_database(source, SystemClock())
    stores = Stores.over(db, vault=Vault(SECRET_KEY), worker_id="busy:1:1")
    await stores.nodes.join("busy:1:1", lease_s=60)
    with pytest.raises(StartError, match="a service is running") as refusal:
        await copy(source, urls)
    assert refusal.value.exit_code == 4
    assert (await state_of(source)).nodes == 1
    await db.close()


@pytest.mark.parametrize("urls", [("postgres", "sqlite")], indirect=True, ids=" to ".join)
async def test_a_copy_during_which_a_service_has_started_is_not_finished(tmp_path: Path, urls: tuple[str, str]) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source)

    async def with_nodes(work: Callable[[NodeStore], Awaitable[None]]) -> None:
        db = await open_database(source, SystemClock())
        await work(NodeStore(db))
        await db.close()

    @cache
    def start_a_service() -> None:
        """As another process would, after the first batch."""
        joining = with_nodes(lambda nodes: nodes.join("late:1:1", lease_s=60))
        thread = Thread(target=asyncio.run, args=(joining,))
        thread.start()
        thread.join()

    with pytest.raises(StartError, match="a service is running"):
        await copy_database(source, *urls, lambda _: lambda _: start_a_service())
    with pytest.raises(StartError, match="only a part"):
        await open_database(target, SystemClock())
    await with_nodes(lambda nodes: nodes.leave("late:1:1"))
    assert (await copy(source, urls)).resumed


@one_way
async def test_a_copy_of_another_source_is_left_alone(tmp_path: Path, urls: tuple[str, str]) -> None:
    source, target = (at(tmp_path, url) for url in urls)
    await fill(source)
    await fill(at(tmp_path, f"sqlite:///{tmp_path}/other.db"))

    def break_off(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy_database(source, *urls, lambda _: break_off)
    with pytest.raises(StartError, match=f"has a part of {tmp_path}/0.db"):
        await copy(target, (f"sqlite:///{tmp_path}/other.db", urls[1]))
    assert (await copy(source, urls)).resumed


@one_way
async def test_a_source_that_does_not_exist_is_not_made(tmp_path: Path, urls: tuple[str, str]) -> None:
    with pytest.raises(StartError, match="there is no database"):
        await copy(at(tmp_path, urls[0]), urls)
    assert list(tmp_path.iterdir()) == []


@one_way
async def test_a_database_is_not_copied_to_itself(tmp_path: Path, urls: tuple[str, str]) -> None:
    await fill(at(tmp_path, urls[0]))
    (tmp_path / "link.db").symlink_to(tmp_path / "0.db")
    for other in (urls[0], f"sqlite:///{tmp_path}/link.db"):
        with pytest.raises(StartError, match="the same database"):
            await copy(at(tmp_path, urls[0]), (urls[0], other))


@one_way
async def test_an_older_schema_is_told_apart(tmp_path: Path, urls: tuple[str, str]) -> None:
    source = at(tmp_path, urls[0])
    await fill(source)
    db = await open_database(source, SystemClock())

    async def forget(tx: Transaction) -> None:
        await tx.execute("DELETE FROM schema_migrations WHERE version = 9")
        await tx.execute("DROP TABLE copies")

    await db.transaction(forget)
    await db.close()
    with pytest.raises(StartError, match="scheduler db migrate"):
        await copy(source, urls)
    assert (await state_of(source)).pending == ("0009_copies.sql",)


@pytest.mark.parametrize("urls", [("postgres", "sqlite")], indirect=True, ids=" to ".join)
async def test_the_state_of_an_empty_database_says_so(tmp_path: Path, urls: tuple[str, str]) -> None:
    state = await state_of(at(tmp_path, urls[0]))
    assert (state.schema, state.rows, state.executions) == (0, {}, {})


@every_way
async def test_a_state_is_read_and_changes_nothing(tmp_path: Path, urls: tuple[str, str]) -> None:
    config = at(tmp_path, urls[0])
    await fill(config)
    state = await state_of(replace(config))
    assert state.rows["executions"] == 3 and sum(state.executions.values()) == 3
    assert (state.pending, state.nodes, state.unfinished_copy, state.last_backup_at) == ((), 0, None, None)
    db = await open_database(config, SystemClock())
    assert await count_rows(db) == dict(state.rows)
    await db.close()
