"""Why the service itself disabled a job or a webhook, as a value."""

from __future__ import annotations

from enum import StrEnum


class DisabledBy(StrEnum):
    """Why the service disabled a job or a webhook; ``None`` in its place: a person paused it.

    Code decides by this value; ``disabled_reason`` beside it is a sentence for people.
    """

    THROUGH = "through"
    """A job has no further time. What is queued for it goes on."""
    FAILING = "failing"
    """All runs of a job failed for days. What is queued for it is held, as when a person pauses it."""
    BROKEN = "broken"
    """The schedule of a job cannot be evaluated any more. What is queued for it goes on."""
    GONE = "gone"
    """The receiver of a webhook answered 410."""
