"""A time zone as pieces of constant offset, each knowing what its wall times mean.

Between two transitions local time is plain arithmetic; everything difficult about daylight saving is which wall times
were lost at the start of a piece (a gap) and which are shown twice (an overlap). Both are worked out here, once, so
that a DST policy is no more than a choice among pieces. Transitions are found by probing ``utcoffset``.

Seconds here are whole epoch seconds; a wall second is an epoch second plus the offset.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

DAY_S = 86_400
MARGIN_S = 2 * DAY_S
"""Wall clocks never differ from UTC, nor from each other across one transition, by more than this."""

_BLOCK_BITS = 22
_PROBE_S = 5 * DAY_S
"""The shortest visit to another offset in the zone data since 1940 lasts a week less an hour."""
_OLD_PROBE_S = 3 * DAY_S
_OLD_S = -(10**9)
_MIN_S = int(datetime(2, 1, 1, tzinfo=UTC).timestamp())
_MAX_S = int(datetime(9999, 12, 28, tzinfo=UTC).timestamp())
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_NOT_IANA = ("right/", "posix/", "posixrules", "localtime", "Factory")


@dataclass(frozen=True, slots=True)
class Piece:
    """Epoch seconds ``start <= s < end`` during which the offset is constant and wall times are alike."""

    start: int
    end: int
    offset: int
    lost: tuple[tuple[int, int], ...] = ()
    """Wall intervals that no clock of the zone ever shows, skipped by the transition at ``start``."""
    is_repeat: bool = False
    """These wall times were shown before: the second hour of an overlap."""
    is_twice: bool = False
    """These wall times are shown more than once, this being any of the showings."""


class Zone:
    """An IANA time zone; get one from `load_zone`."""

    def __init__(self, name: str, info: tzinfo) -> None:
        self.name = name
        self._info = info
        self._always = Piece(-(1 << 60), 1 << 60, 0) if name in ("UTC", "Etc/UTC") else None

    def piece_at(self, second: int) -> Piece:
        """The piece that holds this epoch second."""
        if self._always is not None:
            return self._always
        starts, pieces = _pieces(self, second >> _BLOCK_BITS)
        return pieces[bisect_right(starts, second) - 1]

    def offset_at(self, second: int) -> int:
        """Seconds east of UTC."""
        clipped = min(max(second, _MIN_S), _MAX_S)
        offset = datetime.fromtimestamp(clipped, self._info).utcoffset()
        return 0 if offset is None else offset.days * DAY_S + offset.seconds

    def local(self, moment: datetime) -> str:
        """RFC 3339 in the zone's wall time; an offset with seconds (before 1972) is rounded to the minute."""
        try:
            there = moment.astimezone(self._info)
        except OverflowError:  # the last hours of the calendar have no local time in the east, the first in the west
            there = moment
        offset = there.utcoffset() or timedelta()
        if offset.seconds % 60:
            there = moment.astimezone(timezone(timedelta(minutes=round(offset.total_seconds() / 60))))
        text = there.isoformat()
        return text.replace(f".{there.microsecond:06d}", f".{there.microsecond:06d}".rstrip("0"), 1)


@lru_cache(maxsize=1024)
def load_zone(name: str) -> Zone:
    """The zone of an IANA name, from the system or the tzdata package; ``LookupError`` when there is none."""
    if len(name) > 64 or not _NAME.fullmatch(name) or name.startswith(_NOT_IANA):
        raise LookupError(name)
    try:
        return Zone(name, ZoneInfo(name))
    except (LookupError, ValueError, OSError):
        raise LookupError(name) from None


@lru_cache(maxsize=16_384)
def _pieces(zone: Zone, block: int) -> tuple[list[int], list[Piece]]:
    """The pieces of one block of 48 days, cut to it, with their starts for searching."""
    begins, ends = block << _BLOCK_BITS, (block + 1) << _BLOCK_BITS
    segments = _segments(zone, begins - MARGIN_S, ends + MARGIN_S)
    pieces: list[Piece] = []
    for number in range(len(segments)):
        pieces += [_clip(piece, begins, ends) for piece in _split(segments, number)]
    pieces = [piece for piece in pieces if piece.start < piece.end]
    return [piece.start for piece in pieces], pieces


def _segments(zone: Zone, start: int, end: int) -> list[tuple[int, int, int]]:
    """(start, end, offset) from one change of the offset to the next."""
    step = _OLD_PROBE_S if start < _OLD_S else _PROBE_S
    segments: list[tuple[int, int, int]] = []
    begins, probe, offset = start, start, zone.offset_at(start)
    while probe < end:
        ahead = min(probe + step, end)
        while probe < ahead and zone.offset_at(ahead) != offset:
            change = _first_change(zone, probe, ahead, offset)
            segments.append((begins, change, offset))
            begins, probe, offset = change, change, zone.offset_at(change)
        probe = ahead
    segments.append((begins, end, offset))
    return segments


def _first_change(zone: Zone, same: int, other: int, offset: int) -> int:
    while other - same > 1:
        middle = (same + other) // 2
        if zone.offset_at(middle) == offset:
            same = middle
        else:
            other = middle
    return other


def _split(segments: list[tuple[int, int, int]], number: int) -> list[Piece]:
    """A segment cut where its wall times begin or cease to be shown by other segments too."""
    start, end, offset = segments[number]
    shown = [(begins + shift, ends + shift) for begins, ends, shift in segments]
    near = [wall for index, wall in enumerate(shown) if index != number]
    cuts = {start, end}
    cuts.update(edge - offset for wall in near for edge in wall if start < edge - offset < end)
    edges = sorted(cuts)
    lost = _lost(shown, start + segments[number - 1][2], start + offset) if number else ()
    return [
        Piece(
            start=begins,
            end=ends,
            offset=offset,
            lost=lost if begins == start else (),
            is_repeat=any(low <= begins + offset < high for low, high in shown[:number]),
            is_twice=any(low <= begins + offset < high for low, high in near),
        )
        for begins, ends in pairwise(edges)
    ]


def _lost(shown: list[tuple[int, int]], low: int, high: int) -> tuple[tuple[int, int], ...]:
    """The parts of the wall interval that no segment shows."""
    missing = [(low, high)] if low < high else []
    for begins, ends in shown:
        missing = [
            part
            for first, last in missing
            for part in ((first, min(last, begins)), (max(first, ends), last))
            if part[0] < part[1]
        ]
    return tuple(missing)


def _clip(piece: Piece, begins: int, ends: int) -> Piece:
    if begins <= piece.start and piece.end <= ends:
        return piece
    start, end = max(piece.start, begins), min(piece.end, ends)
    lost = piece.lost if start == piece.start else ()
    return Piece(start, end, piece.offset, lost, piece.is_repeat, piece.is_twice)
