"""The interface of a database to the stores, with one SQL text for every database.

SQL is written with named ``:params`` and with row locks; the driver of a database with one writer leaves the locks out.
Columns of a row are read by name. A driver raises ``SchedulerError``: ``SERVICE_UNAVAILABLE`` when trying again may
help, ``DATABASE_ERROR`` otherwise.

Locks are taken in one order, so that transactions do not deadlock: an account before its jobs, jobs before their
executions, and several of a kind in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scheduler.domain.clock import Instant

T = TypeVar("T")
Params = Mapping[str, Any]


class DatabaseUnusableError(Exception):
    """Why the database cannot be opened, in one sentence that says what to do."""


class DatabaseInUseError(DatabaseUnusableError):
    """Another process has the database, and only one may."""


class Row(Protocol):
    """One row of an answer, read by column name."""

    def __getitem__(self, column: str) -> Any: ...


class Reader(Protocol):
    """Something that rows can be read from."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def has_table(self, name: str) -> bool:
        """Is there a table of this name?"""
        ...


class Transaction(Protocol):
    """The statements of one transaction: all of them take effect or none."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None: ...

    async def execute(self, sql: str, params: Params | None = None) -> None: ...

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> int:
        """Run the statement with each of ``rows``; returns how many rows of the table were changed in all."""
        ...

    async def execute_batch(self, steps: Sequence[tuple[str, Sequence[Params]]]) -> list[int]:
        """``execute_many`` for each statement, in order, in one round trip if possible; returns what each changed."""
        ...

    async def lock(self, name: str) -> None:
        """Take the lock of this name, which no other transaction can have until this one ends."""
        ...


class Database(Protocol):
    """A database. Reads see what is committed; only a transaction writes.

    Tells ``Committed``, and ``DatabaseBroken`` when it is unknown whether a commit is on disk; then it writes no more.
    """

    is_shared: bool
    """May other nodes use it at the same time?"""
    version: str
    """The name and version of the database, for operators."""

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        """One row by a short, indexed read, which does not wait for lists."""
        ...

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        """All rows of a list or an aggregate."""
        ...

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], *, unlimited: bool = False) -> T:
        """Run ``work`` as one transaction and return its result once it is committed.

        It is not interrupted when the caller is cancelled: a transaction that has begun commits or rolls back whole.
        ``work`` may be run again after a rollback, so its only effects are its statements and its result. An
        ``unlimited`` transaction has no timeouts.
        """
        ...

    async def has_table(self, name: str) -> bool:
        """Is there a table of this name?"""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """A consistent, read-only view of one moment, for as long as the context is open."""
        ...

    async def now(self) -> Instant:
        """The time by the clock that all nodes share; never later than the true time of the return."""
        ...

    def notify(self, notice: str) -> None:
        """Send a notice to the other nodes, at most once; nothing may depend on it, because it can be lost."""
        ...

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the notices of other nodes from now on."""
        ...

    async def ping(self) -> None:
        """Raises ``SchedulerError`` unless the database accepts writes now."""
        ...

    async def maintain(self) -> None:
        """Housekeeping, called about once a minute; must not delay writers for long."""
        ...

    async def refresh_statistics(self) -> None:
        """Refresh the statistics of the planner, after rows were copied in bulk."""
        ...

    async def compact(self) -> None:
        """Remove deleted and replaced values from the files of the database, while no other process uses it."""
        ...

    async def close(self) -> None:
        """Finish the transactions that have begun and close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the length of the whole list."""

    items: list[T]
    total: int
