"""Why the service itself disabled a job or a webhook, as a value."""

from __future__ import annotations

from enum import StrEnum


class DisabledBy(StrEnum):
    """What made the service disable something; there is none when a person paused it.

    Decisions rest on this value; ``disabled_reason`` beside it is the sentence for people.
    """

    THROUGH = "through"
    """A job has no further time. What is queued for it goes on."""
    FAILING = "failing"
    """All runs of a job failed for days. What is queued for it is held, as when a person pauses it."""
    BROKEN = "broken"
    """The schedule of a job cannot be evaluated any more. What is queued for it goes on."""
    GONE = "gone"
    """The receiver of a webhook answered 410."""
