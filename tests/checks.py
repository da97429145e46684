"""Small checks that many tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from scheduler.domain.errors import SchedulerError
from scheduler.store.database import Row

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value; fails when there is none."""
    assert value is not None
    return value


def accepts(check: Callable[[T], object], value: T) -> bool:
    """Whether the check lets this value pass; anything but a ``SchedulerError`` is a failure of the test."""
    try:
        check(value)
    except SchedulerError:
        return False
    return True


def as_dict(row: Row) -> dict[str, Any]:
    """All columns of a row with their values."""
    return dict(cast("Mapping[str, Any]", row))
