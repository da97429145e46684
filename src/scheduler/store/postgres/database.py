"""PostgreSQL as the database: a pool of connections, and notices between nodes.

Every transaction is a task of its own, which the cancellation of its caller does not interrupt. One that the server has
rolled back because of a deadlock or a serialization failure is run again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Committed, Events
from scheduler.store.database import DatabaseUnusableError, Params, Row
from scheduler.store.postgres.errors import (
    CONNECTION_LOST,
    DRIVER_ERRORS,
    RETRYABLE,
    problem_with_server,
    scheduler_error,
)
from scheduler.store.postgres.notifications import Notices
from scheduler.store.postgres.transaction import HAS_TABLE, PostgresTransaction

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")

CONNECT_S = 5.0
STATEMENT_S = 15.0
"""The limit of one statement: longer than any of ours takes, so that a server that does not answer is noticed."""
_TRIES = 8
_NOW = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now"

log = logging.getLogger(__name__)


class PostgresDatabase:
    """A PostgreSQL database that any number of nodes share."""

    is_shared = True

    def __init__(
        self,
        *,
        pool: asyncpg.Pool[asyncpg.Record],
        pool_size: int,
        version: str,
        notices: Notices,
        events: Events,
    ) -> None:
        self.version = version
        self._pool = pool
        self._events = events
        self._notices = notices
        # lists never take all connections, however many are requested
        self._lists = asyncio.Semaphore(max(1, pool_size // 2))
        self._running: set[asyncio.Task[Any]] = set()
        self._failing = False
        self._closing = False

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        pool_size: int = 10,
        idle_limit_s: float = 5.0,
        events: Events | None = None,
    ) -> PostgresDatabase:
        """Connect to the server that ``dsn`` names.

        The server ends a transaction that sends no statement for ``idle_limit_s``, so that a frozen node keeps no
        locks. Raises ``DatabaseUnusableError``.
        """
        settings = _settings(idle_limit_s)
        try:
            async with AsyncExitStack() as opened:
                pool = await asyncpg.create_pool(
                    dsn,
                    min_size=2,
                    max_size=pool_size,
                    timeout=CONNECT_S,
                    command_timeout=STATEMENT_S,
                    statement_cache_size=256,
                    server_settings=settings,
                )
                opened.callback(pool.terminate)
                version = await pool.fetchval("SHOW server_version")
                opened.pop_all()
        except (*DRIVER_ERRORS, ValueError) as error:
            raise DatabaseUnusableError(problem_with_server(dsn, error)) from error
        return cls(
            pool=pool,
            pool_size=pool_size,
            version=f"PostgreSQL {version}",
            notices=Notices(dsn, timeout_s=CONNECT_S),
            events=events or Events(),
        )

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        rows = await self._read(sql, params)
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        async with self._lists:
            return await self._read(sql, params)

    async def transaction(
        self, work: Callable[[PostgresTransaction], Awaitable[T]], *, without_time_limit: bool = False
    ) -> T:
        if self._closing:
            raise SchedulerError("SERVICE_UNAVAILABLE", "the database is closed: the service is stopping")
        task = asyncio.create_task(
            self._transact(work, without_time_limit=without_time_limit), name="postgres-transaction"
        )
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresTransaction]:
        """A read-only transaction of level repeatable read, without timeouts."""
        try:
            async with (
                self._connection() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await connection.execute("SET LOCAL statement_timeout = 0")
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                yield PostgresTransaction(connection)
        except DRIVER_ERRORS as error:
            raise scheduler_error(error) from error

    async def has_table(self, name: str) -> bool:
        return await self._read(HAS_TABLE, {"name": name}) != []

    async def now(self) -> Instant:
        rows = await self._read(_NOW)
        at: Instant = rows[0]["now"]
        return at

    def notify(self, notice: str) -> None:
        self._notices.notify(notice)

    def subscribe(self, listener: Callable[[str], None]) -> None:
        self._notices.subscribe(listener)

    async def ping(self) -> None:
        # a standby, and a server with a full disk, still answer reads
        read_only = await self._read("SHOW transaction_read_only")
        if read_only[0]["transaction_read_only"] != "off":
            raise SchedulerError("SERVICE_UNAVAILABLE", "the database is read-only")
        if self._failing:
            await self.transaction(_touch)

    async def maintain(self) -> None:
        """Nothing to do: the server vacuums by itself."""

    async def refresh_statistics(self) -> None:
        async with self._connection() as connection:
            await connection.execute("ANALYZE", timeout=None)

    async def compact(self) -> None:
        async with self._connection() as connection:
            await connection.execute("VACUUM FULL webhooks", timeout=None)

    async def close(self) -> None:
        self._closing = True
        await self._notices.close()
        if self._running:
            await asyncio.wait(self._running)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._pool.close()
        except (TimeoutError, *DRIVER_ERRORS):
            self._pool.terminate()

    async def _read(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        for may_repeat in (True, False):
            try:
                async with self._connection() as connection:
                    return await PostgresTransaction(connection).fetch_all(sql, params)
            except DRIVER_ERRORS as error:
                if not (may_repeat and isinstance(error, CONNECTION_LOST)):
                    raise scheduler_error(error) from error
        raise AssertionError

    async def _transact(self, work: Callable[[PostgresTransaction], Awaitable[T]], *, without_time_limit: bool) -> T:
        for attempt in itertools.count(1):
            started = time.perf_counter()
            try:
                async with self._connection() as connection, connection.transaction():
                    if without_time_limit:
                        await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
                    result = await work(PostgresTransaction(connection))
            except RETRYABLE as error:
                if attempt == _TRIES:
                    raise scheduler_error(error) from error
            except DRIVER_ERRORS as error:
                failure = scheduler_error(error)
                self._failing = self._failing or failure.code == "SERVICE_UNAVAILABLE"
                raise failure from error
            else:
                self._failing = False
                self._events.tell(Committed(seconds=time.perf_counter() - started))
                return result
            await asyncio.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - two that collided should not again
        raise AssertionError

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # mark the exception as retrieved, also when the caller was cancelled

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        connection = await self._acquire()
        try:
            yield connection
        except (TimeoutError, asyncio.CancelledError):
            # an answer is outstanding, and releasing the connection would wait for it
            connection.terminate()
            raise
        except CONNECTION_LOST:
            connection.terminate()
            await self._pool.expire_connections()  # the other connections are probably lost as well
            raise
        finally:
            with suppress(*DRIVER_ERRORS):
                await self._pool.release(connection, timeout=CONNECT_S)

    async def _acquire(self) -> PoolConnectionProxy[asyncpg.Record]:
        """A connection of the pool. When the server was away all idle ones may be broken: each is tried once."""
        for left in range(self._pool.get_max_size(), -1, -1):
            try:
                return await self._pool.acquire(timeout=CONNECT_S)
            except asyncpg.ConnectionDoesNotExistError:
                if not left:
                    raise
        raise AssertionError


async def _touch(tx: PostgresTransaction) -> None:
    await tx.execute("UPDATE schema_migrations SET name = name WHERE version = 1")


def _settings(idle_limit_s: float) -> Mapping[str, str]:
    return {
        "application_name": "scheduler",
        "timezone": "UTC",
        "statement_timeout": f"{STATEMENT_S * 1000:.0f}",
        "lock_timeout": f"{CONNECT_S * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{idle_limit_s * 1000:.0f}",
        # the server notices soon that a machine is gone, and frees its locks
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
    }
