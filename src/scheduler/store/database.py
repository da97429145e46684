"""What a database driver offers to the stores: a handful of calls, one SQL text for every database.

SQL is written with named ``:params``. A row answers to column names. Whatever goes wrong below leaves a driver as a
``SchedulerError``: ``SERVICE_UNAVAILABLE`` when trying again may help, ``DATABASE_ERROR`` otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
Params = Mapping[str, Any]


class Row(Protocol):
    """One row of an answer, read by column name."""

    def __getitem__(self, column: str) -> Any: ...


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


class Database(Protocol):
    """A database. Reads see what is committed; only a transaction writes."""

    skip_locked: str
    """The clause that leaves out rows another node holds; empty where there is one writer."""
    version: str
    """The name and version of the database, for operators."""

    async def fetch_one(self, sql: str, params: Params | None = None) -> Row | None:
        """One row by a short, indexed read that never waits behind a list."""
        ...

    async def fetch_all(self, sql: str, params: Params | None = None) -> Sequence[Row]:
        """A list or an aggregate."""
        ...

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` as one transaction and return its result once it is committed.

        It is not interrupted when the caller is cancelled: a transaction that has begun commits or rolls back whole.
        ``work`` may be run again after a rollback, so its only effects are its statements and its result.
        """
        ...

    async def ping(self) -> None:
        """Raise unless the database takes writes right now; ``SERVICE_UNAVAILABLE`` as long as the last one failed."""
        ...

    async def maintain(self) -> None:
        """Housekeeping that is due about once a minute and must not delay writers for long."""
        ...

    async def close(self) -> None:
        """Finish what was handed in and let go of the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and how long the whole list is."""

    items: list[T]
    total: int
