"""What to write instead of a text that is no schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from scheduler.domain.schedule.fields import quoted
from scheduler.domain.schedule.foreign import slips, typography
from scheduler.domain.schedule.foreign.formats import (
    crontab,
    eventbridge,
    iso8601,
    jenkins,
    keywords,
    plain_words,
    quartz,
    rrule,
    systemd,
)
from scheduler.domain.schedule.foreign.hint import Hint, Recogniser
from scheduler.domain.schedule.foreign.zones import in_lines

_LONGEST = 512
"""Characters; longer texts get no advice."""
_RECOGNISERS: tuple[Recogniser, ...] = (
    slips.macro,
    rrule.recognise,
    keywords.recognise,
    eventbridge.recognise,
    quartz.recognise,
    iso8601.recognise,
    in_lines.recognise,
    systemd.recognise,
    plain_words.recognise,
    slips.blanks,
    slips.fields,
    jenkins.recognise,
    crontab.recognise,
)
"""Tried in this order; the first one that proposes a schedule, or nothing to write, decides."""


def advise(text: str, error: str, is_schedule: Callable[[str], bool]) -> str:
    """The message for a refused text: ``error``, or what the text is and what to write instead; in ASCII.

    ``error`` is why ``text`` is refused; ``is_schedule`` tells whether a text is not.
    """
    if len(text) > _LONGEST:
        return error
    line = " ".join(text.split())
    plain = " ".join(slips.unwrapped(" ".join(typography.typed(text).split())).split())
    if plain and (plain != line or not text.isascii()) and is_schedule(plain):
        return _ascii(
            f"{error}; write {plain}"
            if not text.isascii()
            else f"{quoted(line)}: without the quotes and whatever else stands around it, write {plain}"
        )
    for hint, write in _hints(plain, is_schedule):
        return _ascii(_sentence(line, error, hint, write))
    return error


def _hints(
    line: str, is_schedule: Callable[[str], bool], recognisers: Sequence[Recogniser] = _RECOGNISERS
) -> Iterator[tuple[Hint, tuple[str, ...]]]:
    for recognise in recognisers:
        hint = recognise(line)
        if hint is None:
            continue
        write = tuple(found for proposed in hint.write if (found := _schedule_of(proposed, is_schedule)))
        if line[:4].lower() in ("@at ", "@in "):
            # a single time is not advised as a daily one
            write = tuple(found for found in write if found.startswith(("@at ", "@in ")))
        if write or not hint.write:
            yield hint, tuple(dict.fromkeys(write))


def _schedule_of(proposed: str, is_schedule: Callable[[str], bool]) -> str | None:
    """What was proposed, if it is a schedule; behind ``CRON_TZ=`` also what is advised for the rest."""
    if is_schedule(proposed):
        return proposed
    zone, _, rest = proposed.partition(" ")
    if not zone.startswith("CRON_TZ="):
        return None
    others = [recognise for recognise in _RECOGNISERS if recognise is not in_lines.recognise]
    better = next((write[0] for _, write in _hints(rest, is_schedule, others) if write), None)
    return f"{zone} {better}" if better and is_schedule(f"{zone} {better}") else None


def _sentence(line: str, error: str, hint: Hint, write: tuple[str, ...]) -> str:
    parts = [f"{quoted(line)} {hint.what}" if hint.what else error]
    parts += [f"write {' or '.join(write)}"] if write else []
    parts += [hint.more] if hint.more else []
    return "; ".join(parts if len(parts) > 1 else [*parts, "nothing here means the same"])


def _ascii(message: str) -> str:
    return message.encode("ascii", "backslashreplace").decode()
