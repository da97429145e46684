"""The interface between the stores and a database driver: a few calls, and one SQL text for every database.

SQL is written with named ``:params`` and with the row locks that it needs where several processes write; the driver of
a database with one writer removes those. Every call raises ``SchedulerError``: ``SERVICE_UNAVAILABLE`` when trying
again may help, ``DATABASE_ERROR`` otherwise.

Locks are taken in one order, so that there are no deadlocks: an account before its jobs, jobs before their executions,
and several of a kind in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scheduler.domain.clock import Instant

T = TypeVar("T")
Params = Mapping[str, Any]


class DatabaseUnusableError(Exception):
    """The database cannot be opened; the message says why and what to do."""


class DatabaseInUseError(DatabaseUnusableError):
    """Another scheduler has the database open, which permits only one process."""


class Row(Protocol):
    """One row of a result, read by column name or by position, which takes less time."""

    def __getitem__(self, column: str | int) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Reader(Protocol):
    """Runs statements that read."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        ...


class Transaction(Protocol):
    """Runs the statements of one transaction: all of them take effect or none."""

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]: ...

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None: ...

    async def execute(self, sql: str, params: Params | None = None) -> None: ...

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> int:
        """Run the statement once for each of ``rows``; returns how many rows of the table were changed in all."""
        ...

    async def execute_batch(self, steps: Sequence[tuple[str, Sequence[Params]]]) -> list[int]:
        """``execute_many`` for each statement, in order, in one round trip; returns how many rows each changed."""
        ...

    async def advisory_lock(self, name: str) -> None:
        """Lock a name until this transaction ends; waits while another transaction has it locked."""
        ...


class Database(Protocol):
    """A database. Reads see what is committed; only a transaction writes.

    Tells ``Committed``, and ``DatabaseBroken`` when it is unknown whether a commit is on disk; then it writes no more.
    """

    is_shared: bool
    """Whether other nodes may have it open at the same time."""
    version: str
    """The name and version of the database, for operators."""

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        """The first row, for short reads by an index; it does not wait for lists that are being read."""
        ...

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        """All rows, for lists and aggregates."""
        ...

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], *, without_time_limit: bool = False) -> T:
        """Run ``work`` as one transaction and return its result once it is committed.

        It is not interrupted when the caller is cancelled: a transaction that has begun is committed or rolled back.
        ``work`` may be run again after a rollback, so its only effects are its statements and its result. It is rolled
        back when the server does not answer in time, unless it is ``without_time_limit``.
        """
        ...

    async def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """Reads that all see the state of one moment, for as long as the context is open."""
        ...

    async def now(self) -> Instant:
        """The time by the clock that all nodes share; never later than the moment at which this returns."""
        ...

    def notify(self, notice: str) -> None:
        """Send a notice to the other nodes, soon and at most once. It may be lost, so nothing may depend on it."""
        ...

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each notice that other nodes send from now on."""
        ...

    async def ping(self) -> None:
        """Raise unless the database accepts writes now; ``SERVICE_UNAVAILABLE`` as long as the last write failed."""
        ...

    async def maintain(self) -> None:
        """Do the housekeeping, such as checkpoints; called about once a minute, and delays writers only briefly."""
        ...

    async def refresh_statistics(self) -> None:
        """Refresh the planner's statistics, after many rows were copied here."""
        ...

    async def compact(self) -> None:
        """Rewrite the files without what was deleted or replaced, as far as the database can. Needs exclusive use."""
        ...

    async def close(self) -> None:
        """Finish the transactions that have begun and close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the length of the whole list."""

    items: list[T]
    total: int
    keys: Sequence[str] = ()
    """The value by which the list is ordered, of each item: a page that begins ``after`` it goes on from there."""
    has_more: bool = False
    """Does the list go on after these items?"""
