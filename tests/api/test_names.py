"""Names in webhooks, ``{{ job.id }}``: what is refused when a webhook is saved, and what reaches the receiver."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from scheduler.store.database import Transaction
from tests.api.conftest import Api
from tests.checks import present
from tests.conftest import Receiver, both_databases
from tests.factories import deliver_ready


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("url", "https://{{ job.name }}.example.com/", "host and port are fixed"),
        ("url", "https://{{job.name}}/", "host and port are fixed"),
        ("url", "https://example.com:{{ attempt }}/", "host and port are fixed"),
        ("url", "https://example.com{{ job.id }}", "host and port are fixed"),
        ("url", "https://example.com/{{ job.colour }}", 'there is no name "job.colour"'),
        ("url", "https://example.com/?a={{ job.id", "spaces"),
        ("url", "https://example.com/?a={{job.id", "is not followed by a name"),
        ("url", "https://example.com/{{ job name }}", "spaces"),
        ("url", "https://example.com/#{{x}}", 'there is no name "x"'),
        ("headers", {"X-Job": "{{ job.colour }}"}, 'there is no name "job.colour"'),
        ("headers", {"Authorization": "Bearer {{ token"}, "is not followed by a name"),
        ("headers", {"{{ job.id }}": "x"}, "is no header name"),
        ("query_params", {"a": "{{ x }}"}, 'there is no name "x"'),
        ("query_params", {"{{ x }}": "a"}, 'there is no name "x"'),
        ("body_template", "{{attempt}}" * 1001, "at most 1000"),
    ],
)
async def test_what_is_not_replaced_is_refused_when_a_webhook_is_saved(
    field: str, value: Any, part: str, api: Api
) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    for reply in (
        await api.post("/webhooks", {"job_id": job["id"], "url": "https://example.com/", field: value}),
        await api.put(f"/webhooks/{webhook['id']}", {field: value}),
    ):
        assert (reply.status, list(reply.errors)) == (400, [field]), reply.text
        assert part in reply.errors[field][0]


@both_databases
async def test_values_reach_the_receiver_wherever_their_names_stand(api: Api, receiver: Receiver) -> None:
    job = await api.new_job(name='Ü/"x"&y=1')
    sent: dict[str, Any] = {
        "url": f"{receiver.url}/jobs/{{{{ job.id }}}}/{{{{job.name}}}}?attempt={{{{ attempt }}}}",
        "query_params": {"name": "{{ job.name }}"},
        "headers": {"X-Job": "[{{ job.name }}]", "Authorization": "Token {{ run.id }}"},
        "body_template": '{"text": "{\\"job\\": \\"{{ job.name }}\\"}"}',
    }
    webhook = await api.new_webhook(job["id"], **sent)
    assert (webhook["url"], webhook["headers"]["X-Job"]) == (sent["url"], "[{{ job.name }}]")
    receiver.answer = lambda received: web.Response(text=received.headers["authorization"])
    await api.post(f"/api/jobs/{job['id']}/trigger")
    await deliver_ready(api.service)
    (received,) = receiver.requests
    assert received.path == f"/jobs/{job['id']}/{job['name']}"
    assert received.query == {"attempt": "1", "name": job["name"]}
    assert received.headers["x-job"] == f"[{job['name']}]"
    assert json.loads(json.loads(received.body)["text"]) == {"job": job["name"]}
    (execution,) = await api.executions(job)
    assert received.headers["authorization"] == f"Token {execution['run_id']}"
    assert execution["response_body"] == "***", "what was put into a credential is masked as well"


@both_databases
async def test_what_1_0_0_stored_with_braces_is_sent_as_before_and_can_be_written_back(
    api: Api, receiver: Receiver
) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"], url=f"{receiver.url}/x", query_params={"a": "1"})
    path = f"/webhooks/{webhook['id']}"
    await api.put(path, {"headers": {"X-Job": "x", "X-Token": "t"}})
    stored = present(await api.service.stores.webhooks.get(webhook["id"]))

    async def write(tx: Transaction) -> None:
        """As 1.0.0 wrote it."""
        url, params = f"{receiver.url}/{{{{job.id}}}}/{{{{x}}}}", json.dumps({"a": "{{ attempt }}"})
        await tx.execute(
            "UPDATE webhooks SET url = :url, query_params = :params, replaces_names = 0 WHERE id = :id",
            {"url": url, "params": params, "id": stored.id},
        )

    await api.service.stores.db.transaction(write)

    async def send() -> tuple[str, dict[str, str], str]:
        await api.post(f"/api/jobs/{job['id']}/trigger")
        await deliver_ready(api.service)
        received = receiver.requests[-1]
        return received.path, received.query, received.headers["x-token"]

    before = ("/{{job.id}}/{{x}}", {"a": "{{ attempt }}"}, "t")
    assert await send() == before
    document = (await api.get(path)).json
    back = {name: document[name] for name in ("url", "query_params", "headers", "method")}
    reply = await api.put(path, back)
    assert (reply.status, reply.json["url"]) == (200, f"{receiver.url}/{{{{{{{{job.id}}}}/{{{{{{{{x}}}}")
    assert await send() == before
    await api.put(path, {"query_params": {"a": "{{ attempt }}"}})
    assert await send() == ("/{{job.id}}/{{x}}", {"a": "1"}, "t")


async def test_a_template_of_a_megabyte_is_sent_like_any_other(api: Api, receiver: Receiver) -> None:
    job = await api.new_job(name='"n"')
    inner = json.dumps({"pad": "x" * 900_000, "name": "{{ job.name }}"})
    await api.new_webhook(job["id"], url=receiver.url, body_template=json.dumps({"text": inner}))
    await api.post(f"/api/jobs/{job['id']}/trigger")
    await deliver_ready(api.service)
    assert json.loads(json.loads(receiver.requests[0].body)["text"])["name"] == '"n"'
