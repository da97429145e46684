"""The check that every API test makes of every answer finds what the document lacks."""

from __future__ import annotations

import json

import pytest

from tests.api.answers import check_answer

COUNT = {"count": 1}
PURGE = "/api/dead-letter/purge"


def check(path: str, answer: object, *, method: str = "POST", status: int = 200) -> None:
    check_answer(method, path, status=status, media_type="application/json", text=json.dumps(answer))


def test_an_answer_that_the_document_describes_passes() -> None:
    check(PURGE, COUNT)
    check("/nothing", {"detail": "d", "error_code": "NOT_FOUND", "status_code": 404}, status=404)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({**COUNT, "more": 1}, 200, "'more' was unexpected"),
        ({"count": "1"}, 200, "not of type 'integer'"),
        ({}, 200, "'count' is a required property"),
        (COUNT, 201, "does not declare 201"),
        (COUNT, 400, "'count' was unexpected|is a required property"),
    ],
)
def test_an_answer_that_the_document_does_not_describe_is_found(answer: object, status: int, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check(PURGE, answer, status=status)


def test_a_field_within_a_list_is_found_as_well() -> None:
    page = {"items": [{"name": "an account", "secret": 1}], "total": 1, "skip": 0, "limit": 1, "next_cursor": None}
    with pytest.raises(AssertionError, match=r"items\[0\]"):
        check("/api/accounts", page, method="GET")


def test_an_answer_of_an_operation_that_is_not_in_the_document_is_found() -> None:
    with pytest.raises(AssertionError, match="is not in the document"):
        check("/api/hidden", COUNT)
