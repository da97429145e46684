"""Pieces of SQL that several stores need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from scheduler.store.database import Database, Page, Params, Row

T = TypeVar("T")

PAGE_BYTES = 4 * 1024 * 1024
"""So much a page of a list has at most, but for its first item."""
_ROWS_AT_ONCE = 100


def in_list(ids: Iterable[str], *, name: str = "id") -> tuple[str, dict[str, str]]:
    """The placeholders for ``IN (…)`` and their parameters, ``name`` with a number each, for one id at least.

    The last id is repeated up to a power of two, so that a server prepares only a few different statements.
    """
    found = list(ids)
    found += found[-1:] * (2 ** (len(found) - 1).bit_length() - len(found))
    params = {f"{name}{number}": one for number, one in enumerate(found)}
    return ", ".join(f":{one}" for one in params), params


def containing(text: str) -> str:
    """The pattern for ``LIKE … ESCAPE '!'`` that finds ``text`` anywhere."""
    return f"%{escaped(text)}%"


def escaped(text: str) -> str:
    """``text`` as a part of a pattern for ``LIKE … ESCAPE '!'`` that stands for itself."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


async def select_page(
    db: Database,
    columns: str,
    scope: str,
    params: Params,
    *,
    order: str,
    skip: int,
    limit: int,
    decode: Callable[[Row], T],
    after: str | None = None,
) -> Page[T]:
    """One page of the rows of ``scope``, a FROM with its WHERE, and the number of all of them.

    ``order`` is a text column that no two rows share, perhaps with ``DESC``. The page begins behind the row whose value
    is ``after``, at a cost that does not depend on the position, or behind the first ``skip`` rows, of which only the
    index is walked. It ends before ``limit`` once its texts have ``PAGE_BYTES``.
    """
    column = order.removesuffix(" DESC")
    beyond, has_more = (">" if column == order else "<"), True
    if skip:
        beyond, after = f"{beyond}=", await _key_at(db, column, f"{scope} ORDER BY {order}", params, skip)
        has_more = after is not None
    rows: list[Row] = []
    read_bytes = 0
    while has_more and len(rows) <= limit and read_bytes < PAGE_BYTES:
        wanted = min(limit + 1 - len(rows), _ROWS_AT_ONCE)
        begins = "" if after is None else f"AND {column} {beyond} :page_after"
        part = await db.fetch_all(
            f"SELECT {columns}, {column} AS page_key {scope} {begins} ORDER BY {order} LIMIT :page_rows",
            {**params, "page_rows": wanted, **({} if after is None else {"page_after": after})},
        )
        rows += part
        read_bytes += sum(len(value) for row in part for value in row if isinstance(value, str))
        has_more = len(part) == wanted
        if part:
            beyond, after = beyond.rstrip("="), part[-1]["page_key"]
    counted = await db.fetch_all(f"SELECT COUNT(*) AS n {scope}", params)
    items = rows[:limit]
    return Page(
        [decode(row) for row in items],
        counted[0]["n"],
        keys=[row["page_key"] for row in items],
        has_more=len(rows) > limit or has_more,
    )


async def _key_at(db: Database, column: str, ordered: str, params: Params, skip: int) -> str | None:
    """The value of ``column`` in the row behind the first ``skip`` ones; ``None`` when there are no more."""
    row = await db.fetch_one(
        f"SELECT {column} AS page_key {ordered} LIMIT 1 OFFSET :page_skip", {**params, "page_skip": skip}
    )
    return None if row is None else row["page_key"]
