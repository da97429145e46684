"""What a database driver offers to the stores: a handful of calls, one SQL text for every database.

SQL is written with named ``:params`` and with the row locks that it needs where several processes write; the driver of
a database with one writer leaves those out. A row answers to column names. Whatever goes wrong below leaves a driver as
a ``SchedulerError``: ``SERVICE_UNAVAILABLE`` when trying again may help, ``DATABASE_ERROR`` otherwise.

Locks are taken in one order, or transactions would wait for each other for ever: an account before its jobs, jobs
before their executions, and several of a kind in the order of their ids.
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
    """The database cannot be opened; the sentence says why and what to do."""


class DatabaseInUseError(DatabaseUnusableError):
    """Another process of ours has it, and it takes but one."""


class Row(Protocol):
    """One row of a result, read by column name or by position, which takes less time."""

    def __getitem__(self, column: str | int) -> Any: ...


class Reader(Protocol):
    """What can be read from."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def has_table(self, name: str) -> bool:
        """Is there a table of this name?"""
        ...


class Transaction(Protocol):
    """The statements of one transaction; all of them happen or none."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None: ...

    async def execute(self, sql: str, params: Params | None = None) -> None: ...

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> int:
        """Run the statement for each of ``rows``; returns how many rows of the table it changed in all."""
        ...

    async def execute_batch(self, steps: Sequence[tuple[str, Sequence[Params]]]) -> list[int]:
        """``execute_many`` for each statement, in order, in one trip; returns what each changed."""
        ...

    async def take_turn(self, name: str) -> None:
        """Wait until no other transaction has the turn of this name; it is given back when this one ends."""
        ...


class Database(Protocol):
    """A database. Reads see what is committed; only a transaction writes.

    Tells ``Committed``, and ``DatabaseBroken`` when it is unknown whether a commit is on disk; then it writes no more.
    """

    is_shared: bool
    """May other nodes have it open at the same time?"""
    version: str
    """The name and version of the database, for operators."""

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        """One row by a short, indexed read that never waits behind a list."""
        ...

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        """A list or an aggregate."""
        ...

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], *, patient: bool = False) -> T:
        """Run ``work`` as one transaction and return its result once it is committed.

        It is not interrupted when the caller is cancelled: a transaction that has begun commits or rolls back whole.
        ``work`` may be run again after a rollback, so its only effects are its statements and its result. A ``patient``
        one may take as long as it takes; others are given up when the server does not answer.
        """
        ...

    async def has_table(self, name: str) -> bool:
        """Is there a table of this name?"""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """A view of one moment, for as long as the context is open."""
        ...

    async def now(self) -> Instant:
        """What the clock says that all nodes go by; never later than the true time of the answer."""
        ...

    def announce(self, notice: str) -> None:
        """Tell the other nodes, soon and at most once; a notice may be lost, so nothing may depend on it."""
        ...

    def hear(self, listener: Callable[[str], None]) -> None:
        """``listener`` hears what other nodes announce from now on."""
        ...

    async def ping(self) -> None:
        """Raise unless the database takes writes right now; ``SERVICE_UNAVAILABLE`` as long as the last one failed."""
        ...

    async def maintain(self) -> None:
        """Housekeeping that is due about once a minute and must not delay writers for long."""
        ...

    async def refresh_statistics(self) -> None:
        """Get used to what was just copied here in bulk."""
        ...

    async def compact(self) -> None:
        """Leave no trace of what was deleted or replaced, as far as the database can; while nobody else uses it."""
        ...

    async def close(self) -> None:
        """Finish what was handed in and let go of the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and how long the whole list is."""

    items: list[T]
    total: int
