"""A time zone as pieces of constant offset, each with the gap before it and the overlap that it is in.

Within a piece a wall time is an epoch second plus the offset. A transition to a greater offset skips wall times (a
gap), one to a smaller offset repeats wall times (an overlap). Pieces are cut at the ends of overlaps as well, so that
all wall times of a piece exist equally often, and a DST policy has to choose among pieces only.

Transitions are found by probing ``utcoffset``. Seconds are whole epoch seconds.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from zoneinfo import ZoneInfo

from scheduler.domain.schedule.zone_data import ZoneData, file_stamp, find_zone_data, read_rules

DAY_S = 86_400
MARGIN_S = 2 * DAY_S
"""No offset, and no change of one, is greater than this."""

_BLOCK_BITS = 22
_PROBE_S = 5 * DAY_S
"""The shortest time between two transitions in the zone data since 1940 is a week less an hour."""
_OLD_PROBE_S = 3 * DAY_S
_OLD_S = -(10**9)
_MIN_S = int(datetime(2, 1, 1, tzinfo=UTC).timestamp())
_MAX_S = int(datetime(9999, 12, 28, tzinfo=UTC).timestamp())
_COMPARED_S = 946_684_800, 3_471_292_800
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
FIXED = ("UTC", "Etc/UTC")
"""Zones whose rules never change."""
_NOT_IANA = ("right/", "posix/", "posixrules", "localtime", "Factory")


@dataclass(frozen=True, slots=True)
class Piece:
    """Epoch seconds ``start <= s < end`` of one offset."""

    start: int
    end: int
    offset: int
    lost: tuple[tuple[int, int], ...] = ()
    """The gap before ``start``: half-open intervals of wall times that never exist in the zone."""
    is_repeat: bool = False
    """Did these wall times occur before? Such is the second hour of an overlap."""
    is_twice: bool = False
    """Do these wall times occur more than once?"""


class Zone:
    """An IANA time zone; get one from `load_zone`.

    ``former`` has the rules that held here before those of ``info``, oldest first, each with the second from which on
    they held no more. Where the rules change the clocks may jump, as they do at any other transition.
    """

    def __init__(self, name: str, info: tzinfo, former: Sequence[tuple[int, tzinfo]] = ()) -> None:
        self.name = name
        self.switches = tuple(until for until, _ in former)
        self._infos = (*(one for _, one in former), info)
        self._always = Piece(-(1 << 60), 1 << 60, 0) if name in FIXED else None

    def piece_at(self, second: int) -> Piece:
        """The piece that this epoch second is in."""
        if self._always is not None:
            return self._always
        starts, pieces = _pieces(self, second >> _BLOCK_BITS)
        return pieces[bisect_right(starts, second) - 1]

    def offset_at(self, second: int) -> int:
        """Seconds east of UTC."""
        clipped = min(max(second, _MIN_S), _MAX_S)
        offset = datetime.fromtimestamp(clipped, self._info_at(second)).utcoffset()
        return 0 if offset is None else offset.days * DAY_S + offset.seconds

    def local(self, moment: datetime) -> str:
        """The moment in RFC 3339, as wall time of the zone; offsets with seconds (before 1972) are rounded."""
        info = self._info_at(int(moment.timestamp()))
        try:
            there = moment.astimezone(info)
        except OverflowError:  # of the first and last hours of the calendar, whose local time is in year 0 or 10000
            there = moment
        offset = there.utcoffset() or timedelta()
        if offset.seconds % 60:
            there = moment.astimezone(timezone(timedelta(minutes=round(offset.total_seconds() / 60))))
        text = there.isoformat()
        return text.replace(f".{there.microsecond:06d}", f".{there.microsecond:06d}".rstrip("0"), 1)

    def _info_at(self, second: int) -> tzinfo:
        return self._infos[bisect_right(self.switches, second)] if self.switches else self._infos[0]


@dataclass(kw_only=True, slots=True)
class _InForce:
    """The zone data of this process and, for zones whose rules have changed, the former rules."""

    data: ZoneData = field(default_factory=find_zone_data)
    former: Mapping[str, Sequence[tuple[int, bytes]]] = field(default_factory=dict)
    newer: Mapping[str, bytes] = field(default_factory=dict)
    generation: int = 0


_in_force = _InForce()


def zone_data() -> ZoneData:
    """The zone data that zones are loaded from."""
    return _in_force.data


def generation() -> int:
    """A number that grows when the rules of a zone may have changed; what was computed before is out of date then."""
    return _in_force.generation


def use_zone_data(
    data: ZoneData, former: Mapping[str, Sequence[tuple[int, bytes]]], newer: Mapping[str, bytes] | None = None
) -> None:
    """Load all zones anew from ``data``; those in ``newer`` have these rules instead, which came from newer data.

    ``former`` has compiled rules that held before, by the name of the zone: oldest first, each with the second from
    which on they held no more.
    """
    _in_force.data, _in_force.former, _in_force.newer = data, former, newer or {}
    _in_force.generation += 1


def load_zone(name: str) -> Zone:
    """The zone of an IANA name by the zone data in force. Raises ``LookupError`` when they have none."""
    return _load(name, _in_force.generation)


def zone_rules(name: str) -> bytes:
    """The compiled rules of a zone by the zone data of this process. Raises ``LookupError`` when they have none."""
    if len(name) > 64 or not _NAME.fullmatch(name) or name.startswith(_NOT_IANA):
        raise LookupError(name)
    return read_rules(_in_force.data, name)


def zone_stamp(data: ZoneData, name: str) -> tuple[str, int, int] | None:
    """Identifies the state of the file that ``data`` have of a zone; ``None`` when there is none."""
    return file_stamp(data, name) if _NAME.fullmatch(name) else None


def is_zone(name: str) -> bool:
    """Do the zone data in force have this zone?"""
    try:
        load_zone(name)
    except LookupError:
        return False
    return True


def have_same_rules(name: str, rules: bytes, others: bytes) -> bool:
    """Do two compiled zones have the same offsets from 2000 to 2080? Their files may differ all the same."""
    one, other = (_segments(Zone(name, _compiled(name, each)), *_COMPARED_S) for each in (rules, others))
    return one == other


@lru_cache(maxsize=2048)
def _load(name: str, generation: int) -> Zone:
    info = _compiled(name, _in_force.newer.get(name) or zone_rules(name))
    return Zone(name, info, [(until, _compiled(name, rules)) for until, rules in _in_force.former.get(name, ())])


def _compiled(name: str, rules: bytes) -> ZoneInfo:
    try:
        return ZoneInfo.from_file(BytesIO(rules), key=name)
    except (ValueError, OSError, EOFError):
        raise LookupError(name) from None


@lru_cache(maxsize=16_384)
def _pieces(zone: Zone, block: int) -> tuple[list[int], list[Piece]]:
    """The pieces of one block of 48 days, cut at its ends, with their starts for bisection."""
    begins, ends = block << _BLOCK_BITS, (block + 1) << _BLOCK_BITS
    segments = _segments(zone, begins - MARGIN_S, ends + MARGIN_S)
    pieces: list[Piece] = []
    for number in range(len(segments)):
        pieces += [_clip(piece, begins, ends) for piece in _split(segments, number)]
    pieces = [piece for piece in pieces if piece.start < piece.end]
    return [piece.start for piece in pieces], pieces


def _segments(zone: Zone, start: int, end: int) -> list[tuple[int, int, int]]:
    """(start, end, offset) from one transition to the next."""
    step = _OLD_PROBE_S if start < _OLD_S else _PROBE_S
    # the rules may change at any distance from a transition
    stops = [stop for switch in zone.switches for stop in (switch - 1, switch) if start < stop < end]
    segments: list[tuple[int, int, int]] = []
    begins, probe, offset = start, start, zone.offset_at(start)
    while probe < end:
        ahead = min(probe + step, end, *(stop for stop in stops if stop > probe))
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
    """A segment as pieces, cut where its wall times begin or cease to occur in other segments too."""
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
    """The parts of the interval ``low <= wall < high`` that are in no segment; ``shown`` are their wall times."""
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
