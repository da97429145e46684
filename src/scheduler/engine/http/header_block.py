"""Reads a header block that the parser refuses: fields that say nothing about where the answer ends are dropped.

It is called only for what the parser refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp.http import HttpProcessingError

from scheduler.domain.characters import escape_unprintable

MOST_FIELDS = 128
LONGEST_FIELD = 8192
"""Bytes of the name of a field at most, and of its value."""

_MALFORMED = "malformed"
_TOO_LONG = f"of more than {LONGEST_FIELD // 1024} KiB"
_TOO_MANY = f"beyond the first {MOST_FIELDS}"
_MOST_READ = 2000
"""Fields that are checked one by one. A block has room for 100,000, which would occupy the loop for too long."""
_NAMED = 20
"""Dropped fields that are named, of each kind."""
_LONGEST_NAME = 60

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] [0-9]{3}(?: [^\n]*)?\r?\n")
_LONGEST_STATUS_LINE = 8210
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")
# Name and value, which may be folded (RFC 9112, 5.2); NUL and a bare CR are in no value.
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):((?:[^\0\r\n]++|\r?\n[ \t])*+)")
_LENGTH = re.compile(rb"[0-9]+")
_NO_LETTERS = bytes(set(range(256)) - set(range(ord("a"), ord("z") + 1)))
_LENGTHS, _CODINGS = b"content-length", b"transfer-encoding"
_OLD_WEBSOCKET = b"sec-websocket-key1"
"""The parser refuses every answer that has this field."""


def may_begin_answer(begun: bytes | bytearray) -> bool:
    """Is the first line of a header block, as far as it has arrived, the status line of an HTTP answer?"""
    if b"\n" in begun[:_LONGEST_STATUS_LINE]:
        return _STATUS_LINE.match(begun) is not None
    return len(begun) < _LONGEST_STATUS_LINE and begun[:7] == b"HTTP/1."[: len(begun)]


def without_odd_fields(block: bytes) -> tuple[bytes, tuple[str, ...]]:
    """``block``, a header block up to its empty line, without its odd fields; and sentences that name those.

    Odd are fields that are malformed, too long or too many. ``Content-Length`` given several times with one value is
    given once. Raises ``HttpProcessingError`` for a length that is ambiguous, and for a dropped field that might be one
    (RFC 9112, 6.3): the receiver and a proxy before it could disagree about where the answer ends.
    """
    status_line, *fields = _FIELD_END.split(block.rstrip(b"\r\n"), maxsplit=_MOST_READ)
    kept, lengths, odd = [status_line], set[bytes](), _OddFields()
    if len(fields) == _MOST_READ:
        odd.unread = fields.pop()
    for field in fields:
        match = _FIELD.fullmatch(field)
        name = b"" if match is None else match[1].lower()
        if match is None or name == _OLD_WEBSOCKET:
            odd.add(_MALFORMED, field)
        elif max(len(name), len(match[2].strip(b" \t"))) > LONGEST_FIELD:
            odd.add(_TOO_LONG, field if name in (_LENGTHS, _CODINGS) else match[1])
        elif name == _LENGTHS:
            lengths |= _lengths(match[2])
        elif name == _CODINGS:
            kept.append(_unfolded(field))
        elif len(kept) > MOST_FIELDS:
            odd.add(_TOO_MANY, match[1])
        else:
            kept.append(field)
    odd.check_framing()
    if len(lengths) > 1:
        raise HttpProcessingError(message="several lengths that differ")
    kept += [b"Content-Length: " + length for length in lengths]
    return b"\r\n".join(kept) + b"\r\n\r\n", odd.sentences()


def _lengths(value: bytes) -> set[bytes]:
    """The different values of ``Content-Length``, which may be given as a list (RFC 9110, 8.6)."""
    values = [one.strip(b" \t") for one in _unfolded(value).split(b",")]
    if not all(map(_LENGTH.fullmatch, values)):
        raise HttpProcessingError(message="a length that is no number")
    return {one.lstrip(b"0") or b"0" for one in values}


def _unfolded(text: bytes) -> bytes:
    if b"\n" in text:
        raise HttpProcessingError(message="a field that says where the answer ends is folded")
    return text


class _OddFields:
    """The fields that are dropped, by what is odd about them."""

    def __init__(self) -> None:
        self._by_oddity: dict[str, list[bytes]] = {}
        self.unread = b""
        """The fields beyond ``_MOST_READ``, which are not checked one by one."""

    def add(self, oddity: str, field: bytes) -> None:
        self._by_oddity.setdefault(oddity, []).append(field)

    def check_framing(self) -> None:
        """Raise ``HttpProcessingError`` if a proxy could read one of them as the length of the answer."""
        for text in (self.unread, *map(b"|z|".join, self._by_oddity.values())):
            letters = text.lower().translate(None, delete=_NO_LETTERS)
            if b"contentlength" in letters or b"transferencoding" in letters:
                raise HttpProcessingError(message="an odd header field could be one that says where the answer ends")

    def sentences(self) -> tuple[str, ...]:
        """One for each kind of dropped field."""
        unread = {_TOO_MANY: self.unread.count(b"\n") + 1} if self.unread else {}
        oddities = dict.fromkeys([*self._by_oddity, *unread])
        return tuple(_sentence(oddity, self._by_oddity.get(oddity, []), unread.get(oddity, 0)) for oddity in oddities)


def _sentence(oddity: str, fields: Sequence[bytes], unread: int) -> str:
    named = [_shown(field.partition(b":")[0]) for field in fields[:_NAMED]]
    if (more := len(fields) - len(named) + unread) > 0:
        named.append(f"{more} more")
    return f"Header fields {oddity} were dropped: {', '.join(named)}."


def _shown(name: bytes) -> str:
    text = escape_unprintable(name[:_LONGEST_NAME].decode("utf-8", "backslashreplace"))
    return f'"{text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"}"'
