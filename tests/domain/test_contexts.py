"""Values in bodies: what the receiver decodes is the value, wherever the name stands."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.contexts import DEEPEST, Context, Value, body_context
from scheduler.domain.webhooks.template import check_template, compiled

AWKWARD = """a "quoted" 'text' \\ & <b>]]></b> -- % + = ; ü €\n\ttab"""
texts = st.text(st.characters(exclude_categories=["Cs"]))
NAME = "{{ job.name }}"


def rendered(template: str, context: Context, name: Value = AWKWARD) -> str:
    check_template(template, context=context)
    return compiled(template, context).render({"job.name": name, "attempt": 2, "trigger": None})


def nested(value: Any, depth: int) -> str:
    """The value as JSON, in a string of JSON, and so on; with the name where the value has one."""
    for _ in range(depth):
        value = {"inner": json.dumps(value)}
    return json.dumps(value)


def unnested(text: str, depth: int) -> Any:
    value = json.loads(text)
    for _ in range(depth):
        value = json.loads(value["inner"])
    return value


@given(texts, st.integers(0, DEEPEST - 1))
def test_json_inside_strings_of_json_is_escaped_once_more_for_each(value: str, depth: int) -> None:
    template = nested({"text": f"<{NAME}>", NAME: [1, "x"]}, depth)
    assert unnested(rendered(template, Context.JSON, value), depth) == {"text": f"<{value}>", value: [1, "x"]}


def test_each_name_of_a_body_has_the_depth_of_its_own_place() -> None:
    template = (
        '{"a": "{{ job.name }}", "b": "[\\"{{ job.name }}\\", {{ attempt }}, {{ trigger }}]", "c": {{ attempt }}}'
    )
    found = json.loads(rendered(template, Context.JSON))
    assert (found["a"], json.loads(found["b"]), found["c"]) == (AWKWARD, [AWKWARD, 2, None], 2)


@pytest.mark.parametrize(
    "template",
    [
        '{"text": "He said \\"{{ job.name }}\\" [twice]"}',
        '{"text": "{not json \\"{{ job.name }}\\"}"}',
        '{"text": "\\"{{ job.name }}\\""}',
        '{"text": "[{{ job.name }}]"}',
        '{"text": "C:\\\\{{ job.name }}"}',
        '{"text": "\\ud83d\\ude00 {{ job.name }}"}',
    ],
)
def test_quotes_in_prose_are_no_json(template: str) -> None:
    before, _, after = json.loads(template)["text"].partition(NAME)
    assert json.loads(rendered(template, Context.JSON)) == {"text": before + AWKWARD + after}


@given(texts)
def test_a_value_in_a_form_stays_in_its_field(value: str) -> None:
    form = parse_qsl(rendered("a={{ job.name }}&{{ job.name }}=x&b=%20{{ attempt }}", Context.FORM, value), True)
    assert form == [("a", value), (value, "x"), ("b", " 2")]


@pytest.mark.parametrize("field", ['{"text": "{{ job.name }}"}', "%7B%22text%22:+%22{{ job.name }}%22%7D"])
def test_json_in_a_form_is_escaped_as_json_and_then_for_the_form(field: str) -> None:
    form = dict(parse_qsl(rendered(f"payload={field}&name={{{{ job.name }}}}", Context.FORM)))
    assert (json.loads(form["payload"]), form["name"]) == ({"text": AWKWARD}, AWKWARD)


@given(texts)
def test_a_value_in_xml_stays_in_its_element_and_attribute(value: str) -> None:
    document = rendered("<a b='{{ job.name }}' c=\"{{ job.name }}\">[{{ job.name }}]</a>", Context.XML, value)
    element = ET.fromstring(document)
    expected = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", value)
    assert (element.text, element.get("b"), element.get("c")) == (f"[{expected}]", expected, expected)


@given(st.text("]>&<a[!CDATA"))
def test_a_value_in_a_section_of_cdata_stays_in_it(value: str) -> None:
    document = rendered("<a><![CDATA[>]]{{ job.name }}&lt;]]>{{ job.name }}</a>", Context.XML, value)
    assert ET.fromstring(document).text == f">]]{value}&lt;{value}"


@given(texts)
def test_a_value_in_html_is_no_markup(value: str) -> None:
    document = rendered("<p title='{{ job.name }}'>{{ job.name }}<![CDATA[{{ job.name }}]]></p>", Context.HTML, value)
    assert not re.search("[<>'\"\n]", document[10 : document.index("'>")])
    once = document[10 : document.index("'>")]
    assert document == f"<p title='{once}'>{once}<![CDATA[{once}]]></p>"


@given(texts.filter(lambda text: not re.search("[\x00-\x1f\x7f-\x9f\ufffe\uffff]", text)))
def test_a_value_without_control_characters_in_html_reads_as_itself(value: str) -> None:
    assert html.unescape(rendered("{{ job.name }}", Context.HTML, value)) == value


@pytest.mark.parametrize(
    ("content_type", "context"),
    [
        ("application/json", Context.JSON),
        ("Application/Problem+JSON; charset=utf-8", Context.JSON),
        ("application/x-www-form-urlencoded", Context.FORM),
        ("application/x-www-form-urlencoded;charset=utf-8", Context.FORM),
        ("text/xml; charset=utf-8", Context.XML),
        ("application/xml", Context.XML),
        ("application/soap+xml", Context.XML),
        ("text/html", Context.HTML),
        ("application/xhtml+xml", Context.XML),
        ("text/plain", Context.TEXT),
        ("application/x-ndjson", Context.TEXT),
        ("", Context.TEXT),
    ],
)
def test_the_media_type_of_a_body_says_which_context_it_is(content_type: str, context: Context) -> None:
    assert body_context(content_type) is context


def test_a_value_in_another_body_is_sent_as_it_is() -> None:
    assert rendered("{{ job.name }}", Context.TEXT) == AWKWARD


def test_json_that_is_nested_too_deep_is_refused() -> None:
    check_template(nested(NAME, DEEPEST - 1), context=Context.JSON)
    with pytest.raises(SchedulerError, match="deep"):
        check_template(nested([NAME], DEEPEST), context=Context.JSON)


@pytest.mark.parametrize(
    "unit", ['"', '\\"', '"\\"', "[", '"[', '{"a":"', "<![CDATA[", "&", "=", '"{\\"', "{{{{", "\ufdd0"]
)
@pytest.mark.parametrize("context", list(Context))
def test_looking_for_the_context_of_a_name_takes_time_in_proportion(unit: str, context: Context) -> None:
    template = unit * 500 + NAME + unit * (200_000 // len(unit) if unit != "{{{{" else 400) + NAME
    started = time.thread_time()
    assert compiled(template, context).names
    assert time.thread_time() - started < 5  # about half a second; in proportion to the square it would be hours
