"""Work on the thread of an aiosqlite connection: the only module that uses private parts of aiosqlite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar, cast

import aiosqlite

T = TypeVar("T")


async def on_thread_of(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``work`` with the connection of ``sqlite3``, by one call to the thread that owns it.

    The public methods of aiosqlite make one call for each statement. This one hands over a function by the method
    ``_execute`` and takes the connection from the property ``_conn``.
    """
    return cast("T", await connection._execute(work, connection._conn))  # type: ignore[no-untyped-call]
