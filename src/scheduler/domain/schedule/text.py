"""Parses the text of a schedule: ``parse_schedule`` splits it into lines and parses each line.

A schedule is one to sixteen lines; its fire times are the distinct fire times of all lines. A line is a cron expression
(five fields, or six with the seconds first), a macro such as ``@daily``, ``@every 1h30m``,
``@at 2026-12-24T18:00:00Z`` or ``@in 10m``. Wall times are those of the job's zone. One of three policies says what
happens to wall times that a change to or from daylight saving time skips (a gap) or repeats (an overlap):

========  =====================================================  ===============================================
policy    a wall time in a gap                                   a wall time in an overlap
========  =====================================================  ===============================================
debian    a line at fixed times: one run right after the change  a line at fixed times: the first time only
..        a line whose minute or hour starts with ``*``: no run  such a line: both times
skip      no run                                                 the first time only
literal   no run                                                 both times
========  =====================================================  ===============================================
"""

from __future__ import annotations

import re
from functools import lru_cache

from scheduler.domain.clock import SECOND, Instant, NoSuchTimeError, format_instant, parse_instant
from scheduler.domain.errors import invalid
from scheduler.domain.schedule.cron import parse_cron
from scheduler.domain.schedule.days import HORIZON_YEARS
from scheduler.domain.schedule.fields import InvalidScheduleError, quoted
from scheduler.domain.schedule.foreign.typography import told
from scheduler.domain.schedule.lines import END_S, HORIZON_S, Interval, Line, Moment, Transition, ZonedCron
from scheduler.domain.schedule.schedule import Schedule, invalid_schedule
from scheduler.domain.schedule.zones import MARGIN_S, Zone, generation, load_zone

DST_POLICIES = ("debian", "skip", "literal")
"""See the table above; the first is the default."""
DAY_MATCHES = ("or", "and")
"""Whether one of day-of-month and day-of-week has to match, or both; the first is the default."""
_ZONE_NEEDED = "an IANA time zone such as Europe/Paris is needed"
MAX_LINE = 256
MAX_LINES = 16

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:[0-9]{1,12}[smhdw])+")
_IN = re.compile(r"(?P<before>\s*(?:CRON_TZ=\S+\s+)?)@in\s+(?P<duration>\S+)\s*", re.IGNORECASE)
_MOMENT = re.compile(r"\s*(?:CRON_TZ=\S*)?\s*(?:@(?:at|in)\s.*)?", re.IGNORECASE)
_COUNTS_FROM_ANCHOR = re.compile(r"@(?:every|in)\b", re.IGNORECASE)
_HAS_OFFSET = re.compile(r"[Zz]$|[+-][0-9:]+$")


class InvalidLineError(InvalidScheduleError):
    """One line is invalid; ``where`` names it where there are several."""

    def __init__(self, reason: str, *, where: str = "", line: str) -> None:
        super().__init__(reason)
        self.where = where
        self.line = line


def parse_schedule(
    text: str,
    *,
    timezone: str | None = "UTC",
    anchor_at: Instant,
    dst_policy: str = "debian",
    day_match: str = "or",
    is_stored: bool = False,
) -> Schedule:
    """Parse ``text``. The results of the last 8,192 different calls are cached.

    ``timezone`` is ``None`` where the user gave none; then ``CRON_TZ=`` has it, or it is UTC. ``@every`` fires at every
    whole number of intervals from ``anchor_at``, after it and also before it; ``@in`` counts from it. ``is_stored``:
    the text was accepted once, perhaps by version 1.0.0, which took the units of ``@every`` in any case.

    Raises ``SchedulerError``: INVALID_CRON_EXPRESSION for ``text`` (also where ``CRON_TZ`` is unknown or contradicts
    ``timezone``), VALIDATION_ERROR for an unknown ``timezone``, ``dst_policy`` or ``day_match``.
    """
    if dst_policy not in DST_POLICIES:
        raise invalid("dst_policy", f"one of {', '.join(DST_POLICIES)}")
    if day_match not in DAY_MATCHES:
        raise invalid("day_match", f"one of {', '.join(DAY_MATCHES)}")
    if timezone is not None:
        try:
            load_zone(timezone)
        except LookupError:
            shown = quoted(timezone[:64].encode("ascii", "backslashreplace").decode())
            reason = f"{shown} is {_zone_refusal(timezone)}" if timezone.strip() else f"empty: {_ZONE_NEEDED}"
            raise invalid("timezone", reason) from None
    # Only durations depend on the anchor; every other text is parsed and cached once for all jobs.
    anchor_at = anchor_at if _COUNTS_FROM_ANCHOR.search(text) else 0
    try:
        return _parse(text, timezone, anchor_at, dst_policy, day_match, is_stored=is_stored, generation=generation())
    except InvalidScheduleError as error:
        raise invalid_schedule(str(error)) from None


def is_one_off(text: str) -> bool:
    """Are all lines single moments, ``@at`` or ``@in``? ``text`` is a schedule."""
    return all(_MOMENT.fullmatch(line) for line in text.split("\n"))


def settle_delays(text: str, now: Instant) -> str:
    """The text with the ``@at`` that each ``@in`` line means at ``now``. Invalid lines are left unchanged."""
    if "@in" not in text.lower():
        return text
    return "\n".join(_settled(line, now) for line in text.split("\n"))


def _settled(line: str, now: Instant) -> str:
    match = _IN.fullmatch(line)
    try:
        delay = _duration(line, match["duration"]) if match else None
    except InvalidScheduleError:
        return line
    return line if match is None or delay is None else f"{match['before']}@at {format_instant(now + delay * SECOND)}"


@lru_cache(maxsize=8192)
def _parse(
    text: str,
    timezone: str | None,
    anchor_at: Instant,
    dst_policy: str,
    day_match: str,
    *,
    is_stored: bool,
    generation: int,
) -> Schedule:
    """``_read``, with advice where the text is refused.

    ``generation`` is that of the zones: once it has grown, the text is parsed again.
    """

    def is_schedule(other: str) -> bool:
        try:
            _read(other, None, anchor_at, dst_policy, day_match, is_stored=False)
        except InvalidScheduleError:
            return False
        return True

    try:
        return _read(text, timezone, anchor_at, dst_policy, day_match, is_stored=is_stored)
    except InvalidLineError as error:
        line = text if "FREQ=" in text.upper() else error.line  # a recurrence rule has several lines
        # imported only when a text is refused: compiling its expressions takes longer than the rest of a start
        from scheduler.domain.schedule.foreign.advice import advise  # noqa: PLC0415

        raise InvalidScheduleError(f"{error.where}{advise(line, str(error), is_schedule)}") from None


def _read(
    text: str, timezone: str | None, anchor_at: Instant, dst_policy: str, day_match: str, *, is_stored: bool
) -> Schedule:
    written, zone_name = _split_lines(text)
    if zone_name is None:
        zone_name = timezone or "UTC"
    elif timezone is not None and zone_name != timezone:
        raise InvalidScheduleError(f"CRON_TZ={zone_name} contradicts the time zone {timezone}: name one of them")
    try:
        zone = load_zone(zone_name)
    except LookupError:
        raise InvalidScheduleError(f"CRON_TZ={zone_name}: {_zone_refusal(zone_name)}") from None
    lines: dict[str, Line] = {}
    for number, line in written:
        try:
            lines[line] = _parse_line(line, zone, anchor_at, dst_policy, day_match, is_stored=is_stored)
        except InvalidScheduleError as error:
            where = f"line {number}: " if len(written) > 1 else ""
            raise InvalidLineError(str(error), where=where, line=line) from None
    return Schedule(text=text, timezone=zone.name, zone=zone, lines=tuple(lines.values()))


def _split_lines(text: str) -> tuple[list[tuple[int, str]], str | None]:
    """The lines with their numbers, runs of blanks as one space, and the zone of ``CRON_TZ=``."""
    if len(text) > MAX_LINES * (MAX_LINE + 2):
        raise InvalidScheduleError(f"too long: at most {MAX_LINES} lines of {MAX_LINE} characters")
    for character in text:
        if not (" " <= character <= "~" or character in "\t\r\n"):
            reason = f"{character!a} is not allowed: a schedule is plain ASCII text"
            plain = told(character)
            raise InvalidLineError(f"{reason} ({plain})" if plain else reason, line=text)
    written: list[tuple[int, str]] = []
    zones: set[str] = set()
    for number, raw in enumerate(text.replace("\r\n", "\n").strip().split("\n"), start=1):
        if len(raw) > MAX_LINE:
            raise InvalidScheduleError(f"line {number} is too long: {len(raw)} characters, at most {MAX_LINE}")
        line = " ".join(raw.split())
        if line.startswith("CRON_TZ="):
            name, _, line = line.removeprefix("CRON_TZ=").partition(" ")
            zones.add(name)
        if line:
            written.append((number, line))
    if not written:
        raise InvalidScheduleError("empty: a cron expression such as 0 2 * * * is needed")
    if len(written) > MAX_LINES:
        raise InvalidScheduleError(f"{len(written)} lines: at most {MAX_LINES}")
    if len(zones) > 1:
        raise InvalidScheduleError(f"CRON_TZ names {' and '.join(sorted(zones))}: one time zone holds for all lines")
    return written, zones.pop() if zones else None


def _parse_line(text: str, zone: Zone, anchor_at: Instant, dst_policy: str, day_match: str, *, is_stored: bool) -> Line:
    """Parse one line that ``_split_lines`` returned."""
    word, _, rest = text.partition(" ")
    word = word.lower()
    if word == "@every":
        every_s = _duration(text, rest.lower() if is_stored else rest)
        return Interval(text=text, every_s=every_s, anchor_at=anchor_at)
    if word == "@in":
        second, fraction = divmod(anchor_at + _duration(text, rest) * SECOND, SECOND)
        return Moment(text=text, second=second, fraction=fraction)
    if word == "@at":
        return _moment(text, rest, zone, moves=dst_policy == "debian")
    if word.startswith("@") and (rest or word not in _MACROS):
        raise InvalidScheduleError(f"{quoted(text)} is not a macro: {' '.join(_MACROS)} @every @at @in")
    if word.startswith(("tz=", "cron_tz=")):
        raise InvalidScheduleError(f"{quoted(text)}: a time zone is set by CRON_TZ=Europe/Paris before the expression")
    if word.startswith("#"):
        raise InvalidScheduleError(f"{quoted(text)}: comments are not allowed")
    cron = parse_cron(_MACROS.get(word, text), text=text, needs_both=day_match == "and")
    runs_once = dst_policy == "debian" and not cron.is_wildcard
    return ZonedCron(cron=cron, zone=zone, moves=runs_once, once=runs_once or dst_policy == "skip")


def _duration(text: str, duration: str) -> int:
    """The seconds of ``1h30m``; ``text`` is the line that it is in."""
    parts = re.findall(r"([0-9]+)([smhdw])", duration)
    units = [unit for _, unit in parts]
    if not _DURATION.fullmatch(duration) or len(set(units)) != len(units):
        word = text.partition(" ")[0].lower()
        raise InvalidScheduleError(
            f"{quoted(text)}: whole numbers of s, m, h, d and w, each at most once, as in {word} 1h30m"
        )
    seconds = sum(int(number) * _UNITS_S[unit] for number, unit in parts)
    if not 1 <= seconds <= HORIZON_S:
        raise InvalidScheduleError(f"{quoted(text)}: an interval of 1 s to {HORIZON_YEARS - 1} years")
    return seconds


def _moment(text: str, time: str, zone: Zone, *, moves: bool) -> Moment:
    has_offset = _HAS_OFFSET.search(time[10:]) is not None
    try:
        instant = parse_instant(time if has_offset else f"{time}Z")
    except (ValueError, OverflowError) as error:
        reason = f" ({error})" if isinstance(error, NoSuchTimeError) else ""
        raise InvalidScheduleError(
            f"{quoted(text)}: a time such as 2026-12-24T18:00:00Z, or without the Z in the job's zone{reason}"
        ) from None
    second, fraction = divmod(instant, SECOND)
    if not 0 <= second < END_S:
        raise InvalidScheduleError(f"{quoted(text)}: a year from 1970 to 9998")
    if has_offset:
        return Moment(text=text, second=second, fraction=fraction)
    return _local_moment(text, second, fraction, zone, moves)


def _local_moment(text: str, wall: int, fraction: int, zone: Zone, moves: bool) -> Moment:
    """The first instant of a wall time; of one in a gap the end of the gap, or none unless it ``moves``."""
    second, after_gap = wall - MARGIN_S, None
    while second <= wall + MARGIN_S:
        piece = zone.piece_at(second)
        if piece.start <= wall - piece.offset < piece.end:
            affected_by: Transition | None = "overlap" if piece.is_twice else None
            return Moment(
                text=text, second=wall - piece.offset, fraction=fraction, affected_by=affected_by, is_local=True
            )
        if any(low <= wall < high for low, high in piece.lost):
            after_gap = piece.start
        second = piece.end
    return Moment(text=text, second=after_gap if moves else None, affected_by="gap", is_local=True)


def _zone_refusal(name: str) -> str:
    from scheduler.domain.schedule.foreign.zones.names import zone_refusal  # noqa: PLC0415 - as above

    return zone_refusal(name)
