"""Credentials that a receiver repeats in its response are masked."""

from __future__ import annotations

import random
from typing import Any

import pytest

from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.redaction import redact, takes_long_to_redact
from scheduler.domain.webhooks.webhook import Webhook

TOKEN = "correct-horse-battery-staple"
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "X-Api-Key": "swordfish-42",
    "Cookie": 'sid="0123456789"; theme=dark',
    "X-Short-Token": "abc",
    "X-Team": "accounting",
}


def webhook(headers: dict[str, str] | None) -> Webhook:
    return Webhook(id="w", job_id="j", url="https://example.com/", headers=headers, created_at=0, updated_at=0)


def stored(headers: dict[str, str] | None = HEADERS, **outcome: Any) -> Outcome:
    return redact(Outcome(**outcome), webhook(headers), headers or {})


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (f"you sent Bearer {TOKEN}!", "you sent ***!"),
        (f"token={TOKEN}", "token=***"),
        ("key swordfish-42 swordfish-42", "key *** ***"),
        ("sid 0123456789", "sid ***"),
        ("theme=dark abc accounting", "theme=dark abc accounting"),
        (f"a beginning: {TOKEN[:-1]}", f"a beginning: {TOKEN[:-1]}"),
        ("", ""),
        (None, None),
    ],
)
def test_credentials_in_a_body_are_not_stored(body: str | None, kept: str | None) -> None:
    assert stored(response_body=body).response_body == kept


def test_a_credential_that_a_cut_has_halved_is_not_stored() -> None:
    for cut in range(8, len(TOKEN)):
        assert stored(response_body="long " + TOKEN[:cut], body_truncated=True).response_body == "long ***"
    assert stored(response_body="long correct", body_truncated=True).response_body == "long correct"


def test_credentials_in_headers_and_errors_are_not_stored() -> None:
    location = f"https://example.com/?t={TOKEN}"
    outcome = stored(
        response_code=302,
        response_headers={"Location": location, "X-Team": "accounting"},
        error_code=ErrorCode.HTTP,
        error_text=f"redirect to {location[:-3]} not followed, swordfish-42",
    )
    assert outcome.response_headers == {"Location": "https://example.com/?t=***", "X-Team": "accounting"}
    assert outcome.error == "http_302 redirect to https://example.com/?t=*** not followed, ***"
    assert (outcome.response_code, outcome.error_code) == (302, ErrorCode.HTTP)


@pytest.mark.parametrize("headers", [None, {}, {"X-Team": "accounting"}, {"X-Key": "short"}])
def test_without_credentials_nothing_is_touched(headers: dict[str, str] | None) -> None:
    outcome = Outcome(response_body="accounting short", response_headers={"A": "accounting"})
    assert redact(outcome, webhook(headers), headers or {}) is outcome


def occurrences(text: str, word: str) -> list[tuple[int, int]]:
    return [(at, at + len(word)) for at in range(len(text)) if text.startswith(word, at)]


def masked_one_by_one(text: str, words: list[str]) -> str:
    """What is masked, found slowly: each word at each position, overlaps united."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(span for word in words for span in occurrences(text, word)):
        if spans and spans[-1][1] > start:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    for start, end in reversed(spans):
        text = text[:start] + "***" + text[end:]
    return text


@pytest.mark.parametrize("seed", range(40))
def test_many_credentials_are_found_as_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("ab", k=draw.randint(8, 14))) for _ in range(draw.choice((3, 60)))]
    text = "".join(draw.choices("abc", weights=(9, 9, 1), k=400)) + draw.choice(words)
    assert stored({"Cookie": ";".join(words)}, response_body=text).response_body == masked_one_by_one(text, words)


def test_a_credential_within_another_and_one_that_overlaps_are_masked_as_one() -> None:
    headers = {"X-Key": "abcdefghijkl", "X-Token": "defghijk", "X-Secret": "ijklmnopq"}
    assert stored(headers, response_body="-abcdefghijklmnopq-defghijkl").response_body == "-***-***l"
    both = stored(headers, response_body="defghijkdefghijk abcdefghij", body_truncated=True)
    assert both.response_body == "****** ***"


def test_what_takes_long_to_redact_to_mask_is_told_before() -> None:
    few, many = {"Cookie": "0123456789"}, {"Cookie": ";".join(f"{number:08}" for number in range(2000))}
    long, short = Outcome(response_body="x" * 65_536), Outcome(response_body="x")
    echo = Outcome(response_body="x" * 65_536 + "01234567")
    asked = [(short, few), (long, few), (echo, few), (short, many), (long, many)]
    assert [takes_long_to_redact(outcome, webhook(sent), sent) for outcome, sent in asked] == [
        False,
        False,
        True,
        True,
        True,
    ]
