"""Characters that cannot be sent are found, and those that cannot be shown are escaped."""

from __future__ import annotations

import pytest

from scheduler.domain.characters import escape_unprintable, has_surrogate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, é, 例え and 🙂", "plain text, é, 例え and 🙂"),
        ("a\nb\tc\x1b[31m\x00", r"a\nb\tc\x1b[31m\x00"),
        ("\u202egnp.exe \u2028 \ud800 \U000e0001", r"\u202egnp.exe \u2028 \ud800 \U000e0001"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_a_reader_cannot_be_given_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert escape_unprintable(text) == shown
    assert escape_unprintable(text).isprintable()


def test_half_of_a_surrogate_pair_is_found_and_a_whole_one_is_a_character() -> None:
    assert has_surrogate("a\udfff")
    assert not has_surrogate("\U0001f642")
    assert not has_surrogate("\ufffd\ue000")
