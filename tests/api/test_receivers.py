"""What a webhook expects of its receiver: answers, redirects and TLS, from the API to the execution."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.config import Config
from tests.api.conftest import Api, Serve
from tests.conftest import OpenService, Receiver, both_databases
from tests.engine.receivers import Authority, keeping, receiving
from tests.factories import deliver_ready


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def run_once(api: Api, **webhook: Any) -> Any:
    """The execution of a new job's webhook."""
    job = await api.new_job()
    await api.new_webhook(job["id"], **webhook)
    assert (await api.post(f"/api/jobs/{job['id']}/trigger")).status == 202
    await deliver_ready(api.service)
    return (await api.executions(job))[0]


RULE = {"statuses": [200, "3xx"], "body_contains": "done", "json": {"pointer": "/ok", "equals": True}}


@both_databases
async def test_success_is_what_the_webhook_says(api: Api, receiver: Receiver) -> None:
    for outcome, status, body, error in (
        ("success", 200, '{"ok": true, "state": "done"}', None),
        ("success", 399, '{"ok": true, "state": "done"}', None),
        (
            "failure",
            201,
            '{"ok": true, "state": "done"}',
            "unexpected_answer the status 201 is none of success.statuses",
        ),
        ("failure", 200, '{"ok": true}', "unexpected_answer the body does not have the text of success.body_contains"),
        (
            "failure",
            200,
            '{"ok": 1, "state": "done"}',
            'unexpected_answer the body has another value at "/ok" (success.json)',
        ),
        ("failure", 500, "done", "unexpected_answer the status 500 is none of success.statuses"),
    ):
        receiver.answer = lambda _, status=status, body=body: web.Response(status=status, text=body)  # type: ignore[misc]
        execution = await run_once(api, url=receiver.url, success=RULE)
        assert (execution["error"], execution["response_code"], execution["response_body"]) == (error, status, body)
        assert execution["status"] == outcome


@both_databases
async def test_an_unexpected_answer_is_retried_like_its_status(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(text="busy")
    for retry_on, attempts in ((None, 2), (["2xx"], 2), (["5xx", "network"], 1)):
        job = await api.new_job(retry={"retry_on": retry_on, "backoff_seconds": 0, "jitter": 0})
        await api.new_webhook(job["id"], url=receiver.url, success={"body_contains": "ok"})
        await api.post(f"/api/jobs/{job['id']}/trigger")
        await deliver_ready(api.service)
        assert len(await api.executions(job)) == attempts


async def test_only_what_is_stored_is_looked_at(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(text="x" * 65_536 + "ok")
    execution = await run_once(api, url=receiver.url, success={"body_contains": "ok"})
    assert (execution["error"] or "").startswith("unexpected_answer")
    assert execution["body_truncated"]


@both_databases
async def test_redirects_are_followed_as_far_as_the_webhook_says(api: Api, receiver: Receiver) -> None:
    def answer(received: Any) -> web.Response:
        left = int(received.path.strip("/"))
        return web.Response(status=307, headers={"Location": f"/{left - 1}"}) if left else web.Response(text="here")

    receiver.answer = answer
    execution = await run_once(api, url=f"{receiver.url}/3", follow_redirects=3, body_template="{}")
    assert (execution["status"], execution["response_body"]) == ("success", "here")
    assert [(request.path, request.body) for request in receiver.requests] == [
        ("/3", b"{}"),
        ("/2", b"{}"),
        ("/1", b"{}"),
        ("/0", b"{}"),
    ]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    too_many = await run_once(api, url=f"{receiver.url}/3", follow_redirects=2)
    assert too_many["error"] == "too_many_redirects more than 2; the next would be to /0"
    assert [found["id"] for found in (await api.get("/api/executions?error=too_many_redirects")).items] == [
        too_many["id"]
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("success", {"statuses": []}),
        ("success", {"statuses": [99]}),
        ("success", {"statuses": ["1xx"]}),
        ("success", {"statuses": [True]}),
        ("success", {"statuses": "2xx"}),
        ("success", {"body_contains": ""}),
        ("success", {"json": {"pointer": "/ok"}}),
        ("success", {"json": {"pointer": "ok", "equals": 1}}),
        ("success", {"other": 1}),
        ("success", []),
        ("follow_redirects", 6),
        ("follow_redirects", -1),
        ("follow_redirects", None),
        ("tls", {"ca": "no PEM"}),
        ("tls", {"key": "***"}),
        ("tls", {"verify": False}),
        ("tls", {"verify": None}),
        ("tls", {"other": 1}),
    ],
)
async def test_what_cannot_be_is_refused(field: str, value: Any, api: Api) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    for reply in (
        await api.post("/webhooks", {"job_id": job["id"], "url": "https://example.com/", field: value}),
        await api.put(f"/webhooks/{webhook['id']}", {field: value}),
    ):
        assert reply.status == 400, reply.text
        assert {name.partition(".")[0] for name in reply.errors} == {field}


@both_databases
async def test_options_are_stored_shown_and_cleared(api: Api, authority: Authority) -> None:
    certificate, key = authority.identity("client")
    ca = authority.path.read_text()
    given: dict[str, Any] = {
        "success": {"statuses": [200, "3xx"], "json": {"pointer": "/ok", "equals": None}},
        "follow_redirects": 5,
        "tls": {"ca": ca, "certificate": certificate, "key": key, "verify": True},
    }
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"], **given)
    shown = {**given, "tls": {**given["tls"], "key": "***"}}
    assert {name: webhook[name] for name in given} == shown
    path = f"/webhooks/{webhook['id']}"
    assert (await api.get(path)).json == webhook
    assert {name: (await api.put(path, shown)).json[name] for name in given} == shown, "the mask keeps the key"
    stored = await api.service.stores.webhooks.get(webhook["id"])
    assert stored is not None
    assert stored.tls is not None
    assert stored.tls.key == key
    row = await api.service.stores.db.fetch_one("SELECT tls FROM webhooks")
    assert row is not None
    assert "CERTIFICATE" not in row["tls"]
    _, other_key = authority.identity("other")
    refused = await api.put(path, {"tls": {"certificate": certificate, "key": other_key}})
    assert (refused.status, refused.errors) == (400, {"tls": ["the key is not that of the first certificate"]})
    cleared = (await api.put(path, {"success": None, "follow_redirects": 0, "tls": None})).json
    assert {name: cleared[name] for name in given} == {"success": None, "follow_redirects": 0, "tls": None}


async def test_the_key_of_a_client_stays_with_its_server(api: Api, authority: Authority) -> None:
    certificate, key = authority.identity("client")
    tls = {"certificate": certificate, "key": key}
    webhook = await api.new_webhook((await api.new_job())["id"], tls=tls)
    path, elsewhere = f"/webhooks/{webhook['id']}", {"url": "https://example.org/hook"}
    for change in ({}, {"tls": {**tls, "key": "***"}}, {"tls": webhook["tls"], "headers": None}):
        refused = await api.put(path, {**elsewhere, **change})
        assert (refused.status, list(refused.errors)) == (400, ["tls"])
        assert "scheme, host and port" in refused.errors["tls"][0]
    assert (await api.put(path, {"url": "https://example.com/another", "tls": webhook["tls"]})).status == 200
    assert (await api.put(path, {**elsewhere, "tls": tls})).status == 200
    assert (await api.put(path, {"url": "https://example.net/hook", "tls": None})).status == 200
    assert (await api.put(path, elsewhere)).status == 200


@pytest.fixture
async def trusting(
    config: Config, authority: Authority, open_test_service: OpenService, serve: Serve
) -> AsyncIterator[Api]:
    """The API of a service that trusts an authority of its configuration, and permits what is not verified."""
    egress = replace(config.egress, ca_file=authority.path, allow_insecure_tls=True)
    async with open_test_service(replace(config, egress=egress)) as service, serve(service) as api:
        yield api


@both_databases
async def test_the_service_delivers_over_tls_of_every_kind(trusting: Api, authority: Authority) -> None:
    certificate, key = authority.identity("client")
    async with (
        receiving(keeping(), tls=authority.serving("127.0.0.1")) as usual,
        receiving(keeping(), tls=authority.demanding("127.0.0.1")) as demanding,
        receiving(keeping(), tls=authority.serving("self.test", self_signed=True)) as odd,
    ):
        for receiver, tls in (
            (usual, None),
            (usual, {"ca": authority.path.read_text()}),
            (demanding, {"certificate": certificate, "key": key}),
            (odd, {"verify": False}),
        ):
            execution = await run_once(trusting, url=f"https://127.0.0.1:{receiver.port}/", tls=tls)
            assert (execution["status"], execution["error"]) == ("success", None)
        for receiver in (demanding, odd):
            execution = await run_once(trusting, url=f"https://127.0.0.1:{receiver.port}/")
            assert execution["status"] == "failure"
