"""Credentials that a receiver repeats in its response are masked."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.redaction import redact
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
