"""Headers and query parameters of a webhook: what may be sent, what is masked, and what a mask keeps."""

from __future__ import annotations

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.webhook import MASK, check_headers, check_query_params, mask_headers, unmask_headers
from tests.checks import accepts


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"Authorization": "Bearer abc", "X-Team": "a, b; c", "User-Agent": "mine", "Content-Type": "text/plain"},
        {"X-Empty": "", "X-Tab": "a\tb", "X-Latin": "caf\xe9", "!#$%&'*+-.^_`|~0": "x"},
        {f"X-{number}": "" for number in range(50)},
        {"X": "x" * 16_383},
    ],
    ids=["null", "none", "usual", "unusual", "50", "16 KiB"],
)
def test_headers_that_can_be_sent_are_accepted(headers: dict[str, str] | None) -> None:
    assert accepts(check_headers, headers)


def refused_headers(headers: dict[str, str]) -> str:
    with pytest.raises(SchedulerError) as refused:
        check_headers(headers)
    assert refused.value.code == "VALIDATION_ERROR"
    errors = refused.value.errors or {}
    assert list(errors) == ["headers"]
    return errors["headers"][0]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Connection",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Expect",
        "Accept-Encoding",
        "webhook-id",
        "webhook-signature",
        "WEBHOOK-x",
        "Metadata-Flavor",
        "Metadata",
        "X-Google-Metadata-Request",
        "X-aws-ec2-metadata-token",
        "X-aws-ec2-metadata-token-ttl-seconds",
    ],
)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_headers_that_the_service_sets_itself_are_refused(name: str, change: type[str]) -> None:
    assert "cannot be set" in refused_headers({change(name): "x"})


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "a\0", "ü", "a\t", "(a)"])
def test_a_malformed_header_name_is_refused(name: str) -> None:
    assert "is no header name" in refused_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "a\r", "a\0b", "\x1b", "\x7f", "\x85", "€", "\ud800"])
def test_a_malformed_header_value_is_refused(value: str) -> None:
    reason = refused_headers({"X-A": value})
    assert reason.startswith("the value of X-A has the character")
    assert reason.isascii()


def test_the_number_and_size_of_headers_is_limited() -> None:
    assert "at most 50" in refused_headers({f"X-{number}": "" for number in range(51)})
    assert "at most 16384 bytes" in refused_headers({"X": "x" * 16_384})


def test_a_header_is_given_once_in_any_case() -> None:
    assert "given twice" in refused_headers({"X-Team": "a", "x-team": "b"})


def test_values_that_look_like_credentials_are_masked() -> None:
    headers = {
        "Authorization": "a",
        "Cookie": "b",
        "X-API-Key": "c",
        "x-auth-token": "d",
        "X-Client-Secret": "e",
        "X-Password": "f",
        "X-Team": "g",
        "Content-Type": "h",
    }
    shown = mask_headers(headers)
    assert shown is not None
    assert [name for name, value in shown.items() if value != MASK] == ["X-Team", "Content-Type"]
    assert mask_headers(None) is None
    assert mask_headers({}) == {}


def test_writing_back_what_was_read_changes_nothing() -> None:
    stored = {"Authorization": "a", "X-Team": "b"}
    shown = mask_headers(stored)
    assert shown is not None
    assert unmask_headers(shown, stored) == stored


def test_a_mask_keeps_the_stored_value_in_any_case() -> None:
    assert unmask_headers({"authorization": MASK, "X-New": "n"}, {"Authorization": "a", "X-Old": "o"}) == {
        "authorization": "a",
        "X-New": "n",
    }


def test_a_new_value_replaces_the_stored_one() -> None:
    assert unmask_headers({"Authorization": "new"}, {"Authorization": "old"}) == {"Authorization": "new"}


def test_stars_under_a_name_that_is_never_masked_are_a_value() -> None:
    assert unmask_headers({"X-Team": MASK}, {"X-Team": "b"}) == {"X-Team": MASK}


@pytest.mark.parametrize("old", [None, {}, {"Cookie": "c"}])
def test_a_mask_with_nothing_behind_it_is_refused(old: dict[str, str] | None) -> None:
    with pytest.raises(SchedulerError, match="no stored value"):
        unmask_headers({"Authorization": MASK}, old)


@pytest.mark.parametrize("params", [None, {}, {"": ""}, {"a b": "c&d=ü\0"}, {str(number): "" for number in range(100)}])
def test_query_params_that_can_be_sent_are_accepted(params: dict[str, str] | None) -> None:
    assert accepts(check_query_params, params)


@pytest.mark.parametrize("params", [{str(number): "" for number in range(101)}, {"a": "x" * 8192}, {"a": "\udfff"}])
def test_query_params_that_cannot_be_sent_are_refused(params: dict[str, str]) -> None:
    with pytest.raises(SchedulerError) as refused:
        check_query_params(params)
    assert list(refused.value.errors or {}) == ["query_params"]
