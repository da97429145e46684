"""Body templates: which names are replaced, how values are escaped, and which texts are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.template import NAMES, RESULT_LIMIT, check_template, render

VALUES: dict[str, str | int | None] = {"job.name": "nightly", "attempt": 2, "trigger": None}


def rendered(text: str, *, as_json: bool = False) -> str:
    check_template(text)
    return render(text, VALUES, as_json=as_json)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{ job.name }}", "nightly"),
        ("{{job.name}}", "nightly"),
        ("{{  job.name\t}}", "nightly"),
        ("a{{ attempt }}b{{ attempt }}c", "a2b2c"),
        ("[{{ trigger }}]", "[]"),
        ('{"a":{"b":{{ attempt }}}}', '{"a":{"b":2}}'),
        ("{ } }} {", "{ } }} {"),
        ("{{{{ job.name }}}}", "{{ job.name }}}}"),
        ("{{{{{{ attempt }}", "{{2"),
        ("{{{{{{{{", "{{{{"),
    ],
)
def test_names_are_replaced_and_braces_kept(text: str, result: str) -> None:
    assert rendered(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ job.name",
        "{{ job.name }",
        "{{ }}",
        "{{}}",
        "{{ 1 + 1 }}",
        "{{ job name }}",
        "{{ a|b }}",
        "{{{ attempt }}}",
    ],
)
def test_braces_that_are_no_name_are_refused(text: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        check_template(text)
    assert refused.value.code == "VALIDATION_ERROR"
    assert list(refused.value.errors or {}) == ["body_template"]


@pytest.mark.parametrize("name", ["job", "job.secret", "JOB.ID", "env.PATH", "__class__", "attempt.__class__"])
def test_unknown_names_are_refused_and_the_known_ones_listed(name: str) -> None:
    with pytest.raises(SchedulerError, match="scheduled_at") as refused:
        check_template(f"{{{{ {name} }}}}", "template")
    assert list(refused.value.errors or {}) == ["template"]


def test_a_refusal_names_the_position() -> None:
    with pytest.raises(SchedulerError, match="character 5 "):
        check_template("abc {{ oops")


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(SchedulerError, match="surrogate"):
        check_template("\ud800")


@given(st.text())
def test_a_value_in_a_json_string_never_leaves_it(value: str) -> None:
    text = render('{"a": "x{{ job.name }}y", "n": {{ attempt }}}', {"job.name": value, "attempt": 7}, as_json=True)
    assert json.loads(text) == {"a": f"x{value}y", "n": 7}


def test_no_value_is_null_in_json() -> None:
    assert rendered("[{{ trigger }}]", as_json=True) == "[null]"


def test_a_value_outside_json_is_written_as_it_is() -> None:
    assert render("{{ job.name }}", {"job.name": 'a"b\n'}, as_json=False) == 'a"b\n'


def test_a_value_is_not_a_template() -> None:
    assert render("{{ job.name }}", {"job.name": "{{ attempt }}", "attempt": 1}, as_json=False) == "{{ attempt }}"


def test_the_result_has_a_limit() -> None:
    text = "{{ job.name }}" * 5000
    check_template(text)
    assert len(render(text, {"job.name": "x" * 200}, as_json=False)) == 1_000_000
    for value in ("x" * 255, "ü" * 110):
        with pytest.raises(SchedulerError, match="1048576 bytes"):
            render(text, {"job.name": value}, as_json=False)
    with pytest.raises(SchedulerError, match="at most"):
        check_template("ü" * (RESULT_LIMIT // 2 + 1))


def test_names_are_those_of_the_documentation() -> None:
    assert {
        "job.id",
        "job.name",
        "account.id",
        "webhook.id",
        "execution.id",
        "run.id",
        "attempt",
        "scheduled_at",
        "fired_at",
        "trigger",
    } == NAMES
