"""The request that a claim becomes: method, URL, headers, body and signature."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from standardwebhooks import Webhook as Verifier

from scheduler.domain.clock import parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Execution, Status, Trigger
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.request import Request, build_request
from scheduler.domain.webhooks.webhook import Webhook
from tests.checks import present

JOB = "01970000-0000-7000-8000-000000000001"
ACCOUNT = "01970000-0000-7000-8000-000000000002"
WEBHOOK = "01970000-0000-7000-8000-000000000003"
EXECUTION = "01970000-0000-7000-9abc-00000000000e"
RUN = "5f0e1c2d-3b4a-5968-8776-95a4b3c2d1e0"
SCHEDULED_AT = parse_instant("2026-06-01T02:00:00Z")
FIRED_AT = parse_instant("2026-06-01T02:00:00.25Z")


def claim(*, job_name: str = "nightly", attempt: int = 1, **webhook: Any) -> Claim:
    execution = Execution(
        id=EXECUTION,
        run_id=RUN,
        job_id=JOB,
        account_id=ACCOUNT,
        webhook_id=WEBHOOK,
        status=Status.RUNNING,
        attempt=attempt,
        trigger=Trigger.SCHEDULE,
        scheduled_at=SCHEDULED_AT,
        available_at=SCHEDULED_AT,
        created_at=SCHEDULED_AT,
        budget_at=SCHEDULED_AT,
    )
    chosen = {"url": "https://example.com/hook", "created_at": 0, "updated_at": 0, **webhook}
    return Claim(
        account_user="ann",
        execution=execution,
        job_name=job_name,
        policy=RetryPolicy(),
        at_most_once=False,
        catchup_window_s=86_400,
        webhook=Webhook(id=WEBHOOK, job_id=JOB, **chosen),
    )


def build(**fields: Any) -> Request:
    return build_request(claim(**fields), fired_at=FIRED_AT, version="1.0.0")


def test_a_claim_becomes_this_whole_request() -> None:
    assert build(body_template="{}", timeout_s=7) == Request(
        method="POST",
        url="https://example.com/hook",
        headers={
            "User-Agent": "scheduler/1.0.0",
            "Accept": "*/*",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "webhook-id": RUN,
            "webhook-timestamp": "1780279200",
            "X-Scheduler-Job-Id": JOB,
            "X-Scheduler-Execution-Id": EXECUTION,
            "X-Scheduler-Attempt": "1",
            "X-Scheduler-Scheduled-At": "2026-06-01T02:00:00Z",
            "traceparent": "00-5f0e1c2d3b4a5968877695a4b3c2d1e0-9abc00000000000e-01",
        },
        body=b"{}",
        timeout_s=7,
        user="ann",
    )


def test_the_trace_context_is_valid_and_its_trace_is_the_run() -> None:
    first, second = build().headers["traceparent"], build(attempt=2).headers["traceparent"]
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]", first)
    assert first.split("-")[1] == second.split("-")[1]


def test_headers_of_the_user_win_where_they_may() -> None:
    headers = build(
        body_template="x",
        headers={
            "user-agent": "mine",
            "CONTENT-TYPE": "text/plain",
            "accept": "text/html",
            "X-Team": "a",
            "x-scheduler-attempt": "99",
            "TraceParent": "mine",
            "Webhook-Id": "mine",
        },
    ).headers
    lower = {name.lower(): value for name, value in headers.items()}
    assert len(lower) == len(headers)
    assert (lower["user-agent"], lower["content-type"], lower["accept"]) == ("mine", "text/plain", "text/html")
    assert (lower["x-scheduler-attempt"], lower["webhook-id"]) == ("1", RUN)
    assert lower["traceparent"].startswith("00-")
    assert lower["x-team"] == "a"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_a_template_is_a_body_and_no_template_is_none(method: str) -> None:
    with_body = build(method=method, body_template="x", content_type="text/plain")
    assert (with_body.body, with_body.headers["Content-Type"]) == (b"x", "text/plain")
    for template in (None, ""):
        without = build(method=method, body_template=template)
        assert without.body is None
        assert "Content-Type" not in without.headers


def test_every_name_of_a_template_is_replaced() -> None:
    names = ["job.id", "job.name", "account.id", "webhook.id", "execution.id", "run.id"]
    names += ["attempt", "scheduled_at", "fired_at", "trigger"]
    body = build(body_template=";".join(f"{{{{ {name} }}}}" for name in names), content_type="text/plain").body
    assert body is not None
    assert body.decode().split(";") == [
        JOB,
        "nightly",
        ACCOUNT,
        WEBHOOK,
        EXECUTION,
        RUN,
        "1",
        "2026-06-01T02:00:00Z",
        "2026-06-01T02:00:00.25Z",
        "schedule",
    ]


ESCAPED, PLAIN = '{"n": "a \\"b\\" ü"}', '{"n": "a "b" ü"}'


@pytest.mark.parametrize(
    ("content_type", "headers", "sent"),
    [
        ("application/json", None, ESCAPED),
        ("application/json; charset=utf-8", None, ESCAPED),
        ("Application/CloudEvents+JSON", None, ESCAPED),
        ("text/plain", None, PLAIN),
        ("application/jsonl", None, PLAIN),
        ("text/plain", {"content-type": "application/json"}, ESCAPED),
        ("application/json", {"Content-Type": "text/plain"}, PLAIN),
    ],
)
def test_the_type_that_is_sent_decides_about_escaping(
    content_type: str, headers: dict[str, str] | None, sent: str
) -> None:
    body = build(
        job_name='a "b" ü', body_template='{"n": "{{ job.name }}"}', content_type=content_type, headers=headers
    ).body
    assert present(body).decode() == sent


def test_an_escaped_value_is_read_as_it_was() -> None:
    assert json.loads(ESCAPED) == {"n": 'a "b" ü'}


@pytest.mark.parametrize(
    ("url", "params", "sent"),
    [
        ("http://example.com", None, "http://example.com/"),
        ("HTTP://Example.COM:80/A", None, "http://example.com/A"),
        ("http://example.com:8080?x=1#y", None, "http://example.com:8080/?x=1"),
        ("http://example.com/a?x=1", {"y": "2"}, "http://example.com/a?x=1&y=2"),
        ("http://example.com/a", {"y": "a b&c=d/ü", "é": ""}, "http://example.com/a?y=a%20b%26c%3Dd%2F%C3%BC&%C3%A9="),
        ("http://example.com/a?", {"y": "+"}, "http://example.com/a?y=%2B"),
        ("http://example.com/%7Ea/%2F?q=a+b%20c", {}, "http://example.com/%7Ea/%2F?q=a+b%20c"),
        ("http://example.com/ü?q=ß|{}", None, "http://example.com/%C3%BC?q=%C3%9F%7C%7B%7D"),
        ("http://example.com/100%?x=%zz", None, "http://example.com/100%25?x=%25zz"),
        ("http://example.com/a;b,c:d@e!$&'()*+=~[x]", None, "http://example.com/a;b,c:d@e!$&'()*+=~[x]"),
        ("http://bücher.test/", None, "http://xn--bcher-kva.test/"),
        ("http://[::1]:81/", None, "http://[::1]:81/"),
        ("http://Example.com.:8080/", None, "http://example.com.:8080/"),
        ("http://example.com/?a=1", {"a": "2"}, "http://example.com/?a=1&a=2"),
    ],
)
def test_the_url_is_sent_in_its_normal_form(url: str, params: dict[str, str] | None, sent: str) -> None:
    assert build(url=url, query_params=params).url == sent


@pytest.mark.parametrize("template", ['{"a": {{ attempt }}}', "no JSON", None])
def test_a_secret_signs_the_request(template: str | None) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    request = build(body_template=template, signing_secret=secret)
    headers, body = request.headers, (request.body or b"").decode()
    fired_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert headers["webhook-signature"] == Verifier(secret).sign(headers["webhook-id"], fired_at, body)
    assert "webhook-signature" not in build(body_template=template).headers


def test_a_changed_webhook_is_a_changed_request() -> None:
    """Nothing of an earlier state of the same webhook survives in a cache."""
    assert build(headers={"X": "1"}).headers["X"] == "1"
    assert build(headers={"X": "2"}).headers["X"] == "2"
    assert build(url="http://a.test/").url != build(url="http://b.test/").url
    assert build(headers={"X": "1"}).headers is not build(headers={"X": "1"}).headers


AWKWARD = 'a/b?c&d=e#f "g" é.%2F\r\nX-Evil: 1'


@pytest.mark.parametrize("name", ["{{job.name}}", "{{ job.name }}", "{{\tjob.name }}"])
def test_a_name_in_a_url_is_one_segment_and_one_value_of_its_query(name: str) -> None:
    request = build(
        job_name=AWKWARD,
        url=f"https://example.com/a/{name}/b?x={name}&y=1#{name}",
        query_params={f"p-{name}": f"({name})", "plain": "{"},
    )
    parts = urlsplit(request.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "example.com", "")
    assert [unquote(part) for part in parts.path.split("/")] == ["", "a", AWKWARD, "b"]
    assert parse_qsl(parts.query) == [("x", AWKWARD), ("y", "1"), (f"p-{AWKWARD}", f"({AWKWARD})"), ("plain", "{")]


@pytest.mark.parametrize(("value", "sent"), [(".", "%2E"), ("..", "%2E%2E"), ("...", "..."), ("a.b", "a.b")])
def test_a_value_in_a_path_is_no_step_up(value: str, sent: str) -> None:
    assert build(job_name=value, url="https://example.com/a/{{ job.name }}/b").url == f"https://example.com/a/{sent}/b"


def test_json_in_a_query_is_escaped_as_json_and_then_for_the_query() -> None:
    request = build(
        job_name=AWKWARD,
        url='https://example.com/?filter={"name":"{{ job.name }}"}',
        query_params={"payload": '{"name": "{{ job.name }}", "attempt": {{ attempt }}}'},
    )
    chosen = dict(parse_qsl(urlsplit(request.url).query))
    assert json.loads(chosen["filter"]) == {"name": AWKWARD}
    assert json.loads(chosen["payload"]) == {"name": AWKWARD, "attempt": 1}


def test_a_value_in_a_header_stays_in_its_line_and_is_utf_8() -> None:
    headers = build(
        job_name="é€\r\nX-Evil: 1\0", headers={"X-Job": "caf\xe9 {{ job.name }}", "X-Plain": "{{{{"}
    ).headers
    assert headers["X-Job"].encode("latin-1") == b"caf\xe9 " + "é€ X-Evil: 1 ".encode()
    assert headers["X-Plain"] == "{{"


def test_json_in_a_header_is_escaped_as_json() -> None:
    headers = build(job_name='a "b"', headers={"X-Arg": '{"name": "{{ job.name }}"}'}).headers
    assert json.loads(headers["X-Arg"]) == {"name": 'a "b"'}


def test_what_was_stored_before_names_were_replaced_is_sent_as_it_is() -> None:
    stored: dict[str, Any] = {
        "url": "https://example.com/{{job.id}}?a={{{{b}}",
        "query_params": {"{{run.id}}": "{{ x }}"},
        "headers": {"X-Job": "{{ job.id }}", "X-Braces": "{{{{"},
    }
    old = claim(**stored, replaces_names=False)
    request = build_request(old, fired_at=FIRED_AT, version="1.0.0")
    assert unquote(request.url) == "https://example.com/{{job.id}}?a={{{{b}}&{{run.id}}={{ x }}"
    assert (request.headers["X-Job"], request.headers["X-Braces"]) == ("{{ job.id }}", "{{{{")
    adapted = present(old.webhook).with_names()
    assert adapted.replaces_names
    assert build_request(replace(old, webhook=adapted), fired_at=FIRED_AT, version="1.0.0") == request


def test_urls_and_headers_with_values_have_limits() -> None:
    for fields in (
        {"url": "https://example.com/" + "{{job.name}}" * 160},
        {"headers": {f"X-{n}": "{{job.name}}" * 20 for n in range(45)}},
    ):
        with pytest.raises(SchedulerError, match="larger than"):
            build(job_name="ü" * 100, **fields)


def test_what_cannot_be_sent_is_an_error_of_the_caller() -> None:
    with pytest.raises(SchedulerError):
        build(url="http://0x7f000001/")
    with pytest.raises(SchedulerError):
        build(job_name="x" * 255, body_template="{{ job.name }}" * 5000)
