"""Pieces of SQL that several stores need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from scheduler.store.database import Database, Page, Params, Row

T = TypeVar("T")


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
) -> Page[T]:
    """One page of the rows of ``scope``, a FROM with its WHERE, and the number of all of them."""
    rows = await db.fetch_all(
        f"SELECT {columns} {scope} ORDER BY {order} LIMIT :limit OFFSET :skip", {**params, "limit": limit, "skip": skip}
    )
    counted = await db.fetch_all(f"SELECT COUNT(*) AS n {scope}", params)
    return Page([decode(row) for row in rows], counted[0]["n"])
