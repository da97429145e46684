"""The Postgres driver: parameters, counts, conflicts, cancellation, connections that break, and notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import asyncpg
import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.store.database import DatabaseUnusableError, Transaction
from scheduler.store.postgres.database import PostgresDatabase
from scheduler.store.postgres.transaction import translated

POOL_SIZE = 4


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    db = await PostgresDatabase.open(postgres_url, pool_size=POOL_SIZE)

    async def create(tx: Transaction) -> None:
        await tx.execute("CREATE TABLE things (id BIGINT PRIMARY KEY, text TEXT)")
        await tx.execute_many("INSERT INTO things (id, text) VALUES (:id, 'old')", [{"id": 1}, {"id": 2}])

    await db.transaction(create)
    yield db
    await db.transaction(lambda tx: tx.execute("DROP TABLE things"))
    await db.close()


@pytest.fixture
async def intruder(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def texts(db: PostgresDatabase) -> list[str]:
    return [row["text"] for row in await db.fetch_all("SELECT text FROM things ORDER BY id")]


async def update(tx: Transaction, number: int) -> None:
    await tx.execute("UPDATE things SET text = 'new' WHERE id = :id", {"id": number})


@pytest.mark.parametrize(
    ("sql", "numbered"),
    [
        ("SELECT :b, :a, :b", ("SELECT $1, $2, $1", ("b", "a"))),
        ("SELECT ':a' || :a, 'it''s :b'", ("SELECT ':a' || $1, 'it''s :b'", ("a",))),
        ("SELECT 1", ("SELECT 1", ())),
    ],
)
def test_named_parameters_become_numbered_ones(sql: str, numbered: tuple[str, tuple[str, ...]]) -> None:
    assert translated(sql) == numbered


async def test_many_rows_are_counted_as_they_change(db: PostgresDatabase) -> None:
    async def work(tx: Transaction) -> list[int]:
        ids = [{"id": number} for number in (2, 3, 4)]
        insert = "INSERT INTO things (id) VALUES (:id) ON CONFLICT (id) DO NOTHING"
        change = "UPDATE things SET text = 'x' WHERE id = :id"
        return await tx.execute_batch([(insert, ids), (change, [*ids, {"id": 9}]), (change, [])])

    assert await db.transaction(work) == [2, 3, 0]


async def test_of_two_transactions_in_a_deadlock_both_happen(db: PostgresDatabase) -> None:
    await db.transaction(lambda tx: tx.execute("SET deadlock_timeout = 10"))
    has_lock = {1: asyncio.Event(), 2: asyncio.Event()}

    def update_both(first: int, second: int) -> Callable[[Transaction], Awaitable[None]]:
        async def work(tx: Transaction) -> None:
            await update(tx, first)
            has_lock[first].set()
            await has_lock[second].wait()
            await update(tx, second)

        return work

    async with asyncio.timeout(20):
        await asyncio.gather(db.transaction(update_both(1, 2)), db.transaction(update_both(2, 1)))
    assert await texts(db) == ["new", "new"]


async def test_turns_are_taken_one_after_the_other(db: PostgresDatabase) -> None:
    order: list[str] = []

    def work(name: str) -> Callable[[Transaction], Awaitable[None]]:
        async def run(tx: Transaction) -> None:
            await tx.advisory_lock("one and the same")
            order.append(name)
            await tx.execute("SELECT pg_sleep(0.05)")
            order.append(name)

        return run

    await asyncio.gather(db.transaction(work("a")), db.transaction(work("b")))
    assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


async def test_a_caller_that_is_cancelled_leaves_no_transaction_open(db: PostgresDatabase) -> None:
    begun = asyncio.Event()

    async def slow(tx: Transaction) -> None:
        await tx.execute("UPDATE things SET text = 'new' WHERE id = 1")
        begun.set()
        await tx.execute("SELECT pg_sleep(0.1)")

    caller = asyncio.create_task(db.transaction(slow))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await db.transaction(lambda tx: update(tx, 1))  # waits for the lock, so the other has ended by then
    assert await texts(db) == ["new", "old"]


async def test_what_fails_is_rolled_back(db: PostgresDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("UPDATE things SET text = 'new'")
        raise SchedulerError("CONFLICT", "on purpose")

    with pytest.raises(SchedulerError, match="on purpose"):
        await db.transaction(work)
    with pytest.raises(SchedulerError) as refusal:
        await db.transaction(lambda tx: tx.execute("INSERT INTO things (id) VALUES (1)"))
    assert refusal.value.code == "DATABASE_ERROR"
    assert await texts(db) == ["old", "old"]


async def test_connections_that_were_cut_are_made_anew(db: PostgresDatabase, intruder: asyncpg.Connection) -> None:
    cut = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    begun = asyncio.Event()

    async def sleep(tx: Transaction) -> None:
        await tx.execute("SELECT 1")
        begun.set()
        await tx.execute("SELECT pg_sleep(30)")

    sleeping = asyncio.create_task(db.transaction(sleep))
    await begun.wait()
    await intruder.execute(cut)
    with pytest.raises(SchedulerError) as refusal:
        await sleeping
    assert refusal.value.code == "SERVICE_UNAVAILABLE"
    for _ in range(POOL_SIZE):  # each of the others may turn out to be dead
        with suppress(SchedulerError):
            await db.ping()
    await db.transaction(lambda tx: update(tx, 1))
    assert await texts(db) == ["new", "old"]


async def test_a_lock_that_is_not_released_is_not_waited_for_for_ever(
    db: PostgresDatabase, intruder: asyncpg.Connection
) -> None:
    holding = intruder.transaction()
    await holding.start()
    await intruder.execute("UPDATE things SET text = 'theirs' WHERE id = 1")

    async def impatient(tx: Transaction) -> None:
        await tx.execute("SET LOCAL lock_timeout = 50")
        await tx.execute("UPDATE things SET text = 'new' WHERE id = 1")

    with pytest.raises(SchedulerError) as refusal:
        await db.transaction(impatient)
    assert refusal.value.code == "SERVICE_UNAVAILABLE"
    await holding.rollback()


async def test_a_database_that_only_reads_is_not_healthy(db: PostgresDatabase, postgres_url: str) -> None:
    name = postgres_url.rpartition("?")[0].rpartition("/")[2]
    await db.transaction(lambda tx: tx.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    copy = await PostgresDatabase.open(postgres_url, pool_size=2)
    with pytest.raises(SchedulerError, match="read-only"):
        await copy.ping()
    await copy.close()
    await db.transaction(lambda tx: tx.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))


async def test_notices_reach_the_others_and_not_oneself(db: PostgresDatabase, postgres_url: str) -> None:
    other = await PostgresDatabase.open(postgres_url, pool_size=2)
    heard: asyncio.Queue[str] = asyncio.Queue()
    own: asyncio.Queue[str] = asyncio.Queue()
    db.subscribe(own.put_nowait)
    other.subscribe(heard.put_nowait)
    async with asyncio.timeout(10):
        assert (await own.get(), await heard.get()) == ("", "")
        db.notify("due 1")
        db.notify("due 1")
        db.notify("ready")
        assert [await heard.get(), await heard.get()] == ["due 1", "ready"]
    assert own.empty() and heard.empty()
    await other.close()


async def test_notices_go_on_after_a_cut(db: PostgresDatabase, postgres_url: str, intruder: asyncpg.Connection) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    db.subscribe(heard.put_nowait)
    async with asyncio.timeout(20):
        assert await heard.get() == ""
        await intruder.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        assert await heard.get() == ""  # some may have been missed
        await intruder.execute("SELECT pg_notify('scheduler', 'ready')")
        assert await heard.get() == "ready"


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://ann:secret@127.0.0.1:1/x", "start it, or correct the address"),
        ("postgresql://x?target_session_attrs=nonsense", "no address of a database"),
    ],
)
async def test_a_server_that_is_not_there_is_one_sentence(dsn: str, told: str) -> None:
    with pytest.raises(DatabaseUnusableError, match=told) as refusal:
        await PostgresDatabase.open(dsn)
    assert "secret" not in str(refusal.value)
