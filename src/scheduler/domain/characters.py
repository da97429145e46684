"""Characters that cannot be sent, and those that cannot be shown and are escaped."""

from __future__ import annotations

import re

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def has_surrogate(text: str) -> bool:
    """Does it contain half of a surrogate pair (U+D800 to U+DFFF)? That is no character and has no UTF-8 form."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def escape_unprintable(text: str) -> str:
    r"""The text with escapes, as Python writes them (``\n``, ``\u202e``), for what ``str.isprintable`` denies.

    These are control characters, separators other than the space, what reorders or hides the text around it, surrogates
    and unassigned code points.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
