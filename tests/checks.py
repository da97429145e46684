"""Small checks that many tests share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from scheduler.store.database import Row

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value; fails when there is none."""
    assert value is not None
    return value


def as_dict(row: Row) -> dict[str, Any]:
    """All columns of a row with their values."""
    return dict(cast("Mapping[str, Any]", row))
