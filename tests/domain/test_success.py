"""Which answers a webhook takes for a success."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.success import JsonValue, Success, check_success
from tests.checks import accepts


@pytest.mark.parametrize(
    ("statuses", "status", "holds"),
    [
        (None, 200, True),
        (None, 299, True),
        (None, 300, False),
        ((200, "3xx"), 200, True),
        ((200, "3xx"), 304, True),
        ((200, "3xx"), 201, False),
        ((404, "5xx"), 404, True),
        ((404, "5xx"), 503, True),
        ((), 200, False),
    ],
)
def test_a_status_is_one_of_those_that_are_listed(
    statuses: tuple[int | str, ...] | None, status: int, holds: bool
) -> None:
    assert (Success(statuses=statuses).problem(status, "") is None) == holds


DOCUMENT = '{"ok": true, "n": 1.0, "": {"a/b": [1, {"m~n": null}]}, "list": ["x"], "1": "one", "big": 1e400}'


@pytest.mark.parametrize(
    ("pointer", "equals"),
    [
        ("/ok", True),
        ("/n", 1),
        ("//a~1b/0", 1),
        ("//a~1b/1/m~0n", None),
        ("//a~1b", [1, {"m~n": None}]),
        ("/list", ["x"]),
        ("/1", "one"),
    ],
)
def test_a_pointer_finds_a_value_as_rfc_6901_says(pointer: str, equals: Any) -> None:
    assert Success(json=JsonValue(pointer=pointer, equals=equals)).problem(200, DOCUMENT) is None


@pytest.mark.parametrize(
    ("pointer", "equals"),
    [
        ("/ok", 1),
        ("/ok", "true"),
        ("/n", True),
        ("/n", "1"),
        ("/missing", None),
        ("/ok/missing", None),
        ("/list/1", None),
        ("/list/-", None),
        ("/list/00", "x"),
        ("/list/\u0660", "x"),
        ("/list/" + "9" * 5000, None),
        ("/list", ["x", "y"]),
        ("/list", {"0": "x"}),
        ("", True),
    ],
)
def test_another_value_or_none_at_a_pointer_is_no_success(pointer: str, equals: Any) -> None:
    problem = Success(json=JsonValue(pointer=pointer, equals=equals)).problem(200, DOCUMENT)
    assert problem is not None
    assert pointer in problem


@pytest.mark.parametrize("body", ["", "ok", '{"ok": true', "NaN", "[" * 100_000, '{"ok":' + "9" * 10_000 + "}"])
def test_a_body_that_is_no_json_is_no_success(body: str) -> None:
    assert Success(json=JsonValue(pointer="/ok", equals=True)).problem(200, body) is not None


def test_everything_that_is_given_must_hold() -> None:
    rule = Success(statuses=(200,), body_contains="done", json=JsonValue(pointer="/ok", equals=True))
    assert rule.problem(200, '{"ok": true, "state": "done"}') is None
    assert "status 201" in (rule.problem(201, '{"ok": true, "state": "done"}') or "")
    assert "body_contains" in (rule.problem(200, '{"ok": true}') or "")
    assert "/ok" in (rule.problem(200, '{"ok": false, "state": "done"}') or "")


def test_a_rule_is_written_as_it_was_given() -> None:
    for mapping in (
        {},
        {"statuses": [200, "3xx"]},
        {"body_contains": "x", "json": {"pointer": "", "equals": None}},
    ):
        rule = Success.from_mapping({**mapping, "of_another_version": 1})
        assert rule.to_mapping() == mapping
        assert accepts(check_success, rule)


@pytest.mark.parametrize(
    "rule",
    [
        Success(json=JsonValue(pointer="ok", equals=1)),
        Success(json=JsonValue(pointer="/~2", equals=1)),
        Success(json=JsonValue(pointer="/a", equals="x" * 9000)),
        Success(body_contains="\ud800"),
    ],
)
def test_a_rule_that_nothing_fulfils_is_refused(rule: Success) -> None:
    with pytest.raises(SchedulerError) as refused:
        check_success(rule)
    assert list(refused.value.errors or {}) == ["success"]
