"""Status codes of HTTP, and their classes such as ``"5xx"`` (RFC 9110, section 15)."""

from __future__ import annotations

from collections.abc import Collection

STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
MOST_STATUSES = 100
"""Entries in one list of codes and classes."""


def is_among(status: int, listed: Collection[int | str]) -> bool:
    """Is the status in the list, or its class?"""
    return status in listed or f"{status // 100}xx" in listed
