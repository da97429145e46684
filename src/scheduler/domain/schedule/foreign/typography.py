"""The characters that word processors, chats and web pages put in place of those that were typed."""

from __future__ import annotations

import unicodedata

_SAME = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\xad", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4\uff07\u2039\u203a", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02", '"'),
    **dict.fromkeys("\u2217\u204e\u22c6\u2731\uff0a\u00d7\u2022\u00b7", "*"),
    **dict.fromkeys("\u2044\u2215\uff0f", "/"),
    **dict.fromkeys("\u201a\uff0c\u3001\u060c", ","),
    **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\ufeff\u2060\u202a\u202c\u00ad", ""),
    "\u2026": "..",
    "\u2028": "\n",
    "\u2029": "\n",
    "\x0b": " ",
    "\x0c": " ",
}
_TOLD = {"-": "a dash: write -", '"': "a quotation mark: leave it out", "'": "a quotation mark: leave it out"}


def typed(text: str) -> str:
    """The text as it was probably typed: plain dashes, quotes, blanks and digits."""
    return "".join(_typed(character) for character in text)


def told(character: str) -> str:
    """Which character it is, in words, where there is a plain one for it; else nothing."""
    plain = _typed(character)
    if plain == character:
        return ""
    if plain.isspace() or not plain:
        return "a blank that is none: write a plain one" if plain else "invisible: leave it out"
    return _TOLD.get(plain, f"write {plain}")


def _typed(character: str) -> str:
    if " " <= character <= "~" or character in "\t\r\n":
        return character
    if character in _SAME:
        return _SAME[character]
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return " " if plain.isspace() else plain
