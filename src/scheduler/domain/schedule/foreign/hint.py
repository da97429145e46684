"""The result of a recogniser: what a text is, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """What the text is, and what means the same here."""

    what: str
    """Such as "is an EventBridge expression"; empty where what was wrong with the text says enough."""
    write: tuple[str, ...] = ()
    """Schedules of this language; those that cannot be parsed are not shown, and where none can, nothing is."""
    more: str = ""
    """What belongs to it but is no schedule: other fields of a job, or what cannot be said here."""


Recogniser = Callable[[str], Hint | None]
"""Takes one line, blanks as one space. Called only for lines that are no schedule."""
