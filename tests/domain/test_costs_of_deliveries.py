"""Whatever job is accepted, a delivery of it computes a few milliseconds on the loop; what takes longer is told before.

Costs are compared with that of a loop that takes about a millisecond on the same processor at the same time.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks import contexts, request, template
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.contexts import Context, body_context
from scheduler.domain.webhooks.redaction import redact, takes_long_to_redact
from scheduler.domain.webhooks.request import build_request, takes_long_to_build
from scheduler.domain.webhooks.signing import new_secret
from scheduler.domain.webhooks.success import JsonValue, Success, check_success
from scheduler.domain.webhooks.template import check_template
from scheduler.domain.webhooks.webhook import (
    FormerSecret,
    Webhook,
    check_headers,
    check_query_params,
)
from tests.domain.cost import units
from tests.domain.test_request import FIRED_AT, claim

MOST_UNITS = 5
STORED = 65_536
"""Characters of an answer that are stored by default."""
NAMES = ("{{job.name}}", "{{ job.id }}", "{{attempt}}", "{{ scheduled_at }}", "{{{{", '"{{ trigger }}"', "{{run.id}}")
PIECES = (
    '"',
    "\\",
    '\\"',
    "[",
    "{",
    "}",
    "]",
    "&",
    "=",
    "%",
    "%5B",
    "<",
    "<![CDATA[",
    "]]>",
    ",",
    '["',
    '{"a":"',
    "x",
    "ü",
)
TYPES = ("application/json", "application/x-www-form-urlencoded", "text/xml", "text/html", "text/plain")


def cost(compute: Callable[[], object]) -> float:
    """How many units it takes, in the best of three cases."""
    return units(compute, prepare=_forget)


def _forget() -> None:
    """A delivery of a webhook that was not delivered for long: nothing of it is cached."""
    for module in (contexts, request, template):
        for value in vars(module).values():
            clear = getattr(value, "cache_clear", None)
            if clear is not None:
                clear()


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def accepted(job_name: str, **fields: Any) -> Claim | None:
    """A claim of a webhook with these fields; ``None`` if the API would refuse them."""
    webhook = Webhook(id="w", job_id="j", created_at=0, updated_at=0, **{"url": "https://example.com/x", **fields})
    try:
        check_template(webhook.url, "url", context=Context.QUERY)
        check_headers(webhook.headers or {})
        check_query_params(webhook.query_params)
        check_template(webhook.body_template or "", context=body_context(webhook.sent_type))
    except SchedulerError:
        return None
    return claim(job_name=job_name, **fields)


def secrets() -> dict[str, Any]:
    """The most secrets that a webhook can have."""
    former = tuple(FormerSecret(secret=new_secret(os.urandom(64)), until_at=2 * FIRED_AT) for _ in range(8))
    return {"signing_secret": new_secret(os.urandom(64)), "former_secrets": former}


def built(hostile: Claim) -> None:
    with contextlib.suppress(SchedulerError):  # it may be larger than what may be sent
        build_request(hostile, fired_at=FIRED_AT, version="1")


HOSTILE: dict[str, dict[str, Any]] = {
    "many quotes": {"body_template": '["\\\\",' + '"",' * 20_000 + "{{ attempt }}]"},
    "many fields": {"body_template": "{{attempt}}&" + "a=%41&" * 10_000, "content_type": TYPES[1]},
    "empty fields": {"body_template": "{{attempt}}" + "&" * 60_000, "content_type": TYPES[1]},
    "names in fields": {"body_template": "&".join(["a=%5B{{attempt}}"] * 100), "content_type": TYPES[1]},
    "names in strings": {"body_template": '["\\\\",' + '"{{attempt}}\\"",' * 90 + "1]"},
    "names in markup": {"body_template": "{{job.name}}" * 15, "content_type": TYPES[3]},
    "JSON in JSON": {"body_template": json.dumps({"a": json.dumps({"a": json.dumps({"a": "{{job.name}}" * 15})})})},
    "headers": {"headers": {f"X-{number}": "{{job.name}}" * 26 for number in range(49)}},
    "headers of JSON": {"headers": {f"X-{number}": '{"a":"{{job.name}}"}' * 15 for number in range(49)}},
    "parameters": {"query_params": {f"x{number}": "{{job.name}}" * 6 for number in range(100)}},
    "parameters of JSON": {"query_params": {f"x{n}": '{"a":"\\"{{attempt}}"}' * 3 for n in range(100)}},
    "a long URL": {"url": "https://example.com/?" + "{{job.name}}" * 160},
    "a large body": {"body_template": "x" * 65_000},
}


@pytest.mark.parametrize("job_name", ['"' * 255, "ü" * 255, "<" * 255], ids=["quotes", "umlauts", "markup"])
@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_webhook_costs_little_or_is_built_in_a_thread(fields: dict[str, Any], job_name: str) -> None:
    hostile = accepted(job_name, **fields, **secrets())
    assert hostile is not None
    assert takes_long_to_build(hostile) or cost(lambda: built(hostile)) < MOST_UNITS


@pytest.mark.parametrize("seed", range(40))
def test_no_webhook_that_is_accepted_costs_more_than_that_on_the_loop(seed: int) -> None:
    draw = random.Random(seed)

    def text(longest: int) -> str:
        pieces = draw.choices((*draw.sample(PIECES, 3), *draw.sample(NAMES, 2)), k=longest // draw.randint(1, 12))
        return "".join(pieces)[:longest]

    claims = [
        accepted(
            "".join(draw.choices(PIECES, k=255))[:255],
            body_template=text(draw.choice((2_000, 60_000, 200_000))),
            content_type=draw.choice(TYPES),
            query_params={f"p{number}": text(80) for number in range(draw.choice((0, 100)))},
            **secrets(),
        )
        for _ in range(10)
    ]
    on_loop = [one for one in claims if one is not None and not takes_long_to_build(one)]
    assert all(cost(partial(built, one)) < MOST_UNITS for one in on_loop)


@pytest.mark.parametrize("words", [1, 32, 33, 1800])
@pytest.mark.parametrize("letters", ["a", "ab", "abcdefghijklmnop "])
def test_no_answer_costs_more_than_that_to_mask_on_the_loop(words: int, letters: str) -> None:
    draw = random.Random(words)
    cookie = ";".join("".join(draw.choices(letters, k=draw.randint(8, 9))) for _ in range(words))
    sent = {"Cookie": cookie}
    webhook = Webhook(id="w", job_id="j", url="https://example.com/", headers=sent, created_at=0, updated_at=0)
    for body in ("".join(draw.choices(letters, k=STORED)), "x" * STORED, (cookie * STORED)[:STORED], ""):
        outcome = Outcome(response_body=body, body_truncated=True, error_text=body[:300])
        long = takes_long_to_redact(outcome, webhook, sent)
        assert long or cost(partial(redact, outcome, webhook, sent)) < MOST_UNITS
        assert cost(partial(takes_long_to_redact, outcome, webhook, sent)) < MOST_UNITS


DOCUMENTS = {
    "lists": "[" + ",".join(["[]"] * 21_000) + "]",
    "objects": "[" + ",".join(['{"a":1}'] * 8_000) + "]",
    "numbers": "[" + ",".join(["1.5"] * 16_000) + "]",
    "digits": "[" + ",".join(["9" * 4_299] * 15) + "]",
    "deep": "[" * STORED,
    "letters": "ab" * (STORED // 2),
}


@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
def test_no_condition_of_success_costs_more_than_that(body: str) -> None:
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    for rule in (
        Success(body_contains="ab" * 499 + "aa"),
        Success(json=JsonValue(pointer="/0" * 500, equals=1)),
        Success(json=JsonValue(pointer="", equals=[[]] * 2_000)),
        Success(json=JsonValue(pointer="/a", equals=deep)),
    ):
        check_success(rule)
        assert cost(partial(rule.problem, 200, body)) < MOST_UNITS
