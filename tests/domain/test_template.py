"""Body templates: which names are replaced, how values are escaped, and which texts are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.contexts import Context, Value
from scheduler.domain.webhooks.template import MOST_NAMES, NAMES, RESULT_LIMIT, check_template, compiled

VALUES: dict[str, str | int | None] = {"job.name": "nightly", "attempt": 2, "trigger": None}


def rendered(text: str, context: Context = Context.TEXT, **values: Value) -> str:
    check_template(text, context=context)
    return compiled(text, context).render(VALUES | {name.replace("_", "."): value for name, value in values.items()})


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
    text = rendered('{"a": "x{{ job.name }}y", "n": {{ attempt }}}', Context.JSON, job_name=value, attempt=7)
    assert json.loads(text) == {"a": f"x{value}y", "n": 7}


def test_no_value_is_null_in_json() -> None:
    assert rendered("[{{ trigger }}]", Context.JSON) == "[null]"


def test_a_value_outside_json_is_written_as_it_is() -> None:
    assert rendered("{{ job.name }}", job_name='a"b\n') == 'a"b\n'


def test_a_value_is_not_a_template() -> None:
    assert rendered("{{ job.name }}", job_name="{{ attempt }}") == "{{ attempt }}"


def test_the_result_has_a_limit() -> None:
    text = "{{ job.name }}" * MOST_NAMES
    assert len(rendered(text, job_name="x" * 1000)) == 1_000_000
    for value in ("x" * 1100, "ü" * 600):
        with pytest.raises(SchedulerError, match="1048576 bytes"):
            rendered(text, job_name=value)
    with pytest.raises(SchedulerError, match="at most"):
        check_template("ü" * (RESULT_LIMIT // 2 + 1))


@pytest.mark.parametrize("text", ["{{attempt}}", "{{{{", "{{{{{{attempt}}"])
def test_a_template_has_a_thousand_names_and_literal_braces_at_most(text: str) -> None:
    fitting = MOST_NAMES * "{{{{" if text == "{{{{" else text * (MOST_NAMES // (1 + text.count("{{{{")))
    check_template(fitting)
    with pytest.raises(SchedulerError, match="at most 1000"):
        check_template(fitting + text)


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
