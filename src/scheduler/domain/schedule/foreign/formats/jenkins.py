"""Jenkins' ``H``, and ``R`` and ``~`` of others: a value that the scheduler chooses. Here ``spread_s`` does that."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.hint import Hint

_ITEM = re.compile(r"[HR](?:\(([0-9]{1,2})-([0-9]{1,2})\))?(?:/([0-9]{1,2}))?|([0-9]{0,2})~([0-9]{0,2})", re.IGNORECASE)
_UNITS_S = (60, 3600, 86_400, 28 * 86_400, 86_400)
"""What one step of minute, hour, day-of-month, month and day-of-week is, in seconds."""
_CYCLES = (60, 24, 28, 12, 7)
_LOWS = (0, 0, 1, 1, 0)
_MOST_S = 30 * 86_400


def recognise(line: str) -> Hint | None:
    """Five fields, or six with seconds first, in one of which an item is to be chosen by the scheduler."""
    words = line.split(" ")
    if len(words) not in (5, 6):
        return None
    fields, spread_s = [], 0
    for position, word in enumerate(words[-5:]):
        items = [_ITEM.fullmatch(item) for item in word.split(",")]
        if not any(items):
            fields.append(word)
            continue
        if len(items) > 1 or items[0] is None:
            return Hint(what=_NOT_SUPPORTED)
        first, width_s = _chosen(items[0], position)
        fields.append(first)
        spread_s = max(spread_s, width_s)
    if not spread_s:
        return None
    seconds = words[:-5]
    return Hint(
        what=_NOT_SUPPORTED,
        write=(" ".join([*seconds, *fields]),),
        more=f"with spread_s: {min(spread_s, _MOST_S)} each job starts at a time of its own, always the same",
    )


_NOT_SUPPORTED = "has a value for the scheduler to choose: H and R (a hashed or random value) are not supported"


def _chosen(item: re.Match[str], position: int) -> tuple[str, int]:
    """The first value of the range to choose from, and how wide the range is, in seconds."""
    low, high, step = (item[1] or item[4] or None, item[2] or item[5] or None, item[3])
    first = int(low) if low else _LOWS[position]
    last = int(high) if high else _LOWS[position] + _CYCLES[position] - 1
    if step:
        span = "*" if low is None else f"{first}-{last}"
        return f"{span}/{step}", int(step) * _UNITS_S[position]
    return str(first), (last - first + 1) * _UNITS_S[position]
