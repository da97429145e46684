"""Webhooks over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.checks import present
from tests.conftest import both_databases

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_a_webhook_of_two_fields_has_every_default(api: Api) -> None:
    job = await api.new_job()
    reply = await api.post("/webhooks", {"job_id": job["id"], "url": "https://example.com/hook"})
    assert reply.status == 201
    webhook = reply.json
    assert webhook == {
        "id": webhook["id"],
        "job_id": job["id"],
        "url": "https://example.com/hook",
        "method": "POST",
        "headers": None,
        "query_params": None,
        "body_template": None,
        "content_type": "application/json",
        "timeout_s": 30,
        "success": None,
        "follow_redirects": 0,
        "tls": None,
        "signing_secret": None,
        "former_secrets_until": None,
        "enabled": True,
        "disabled_reason": None,
        "created_at": "2026-06-01T00:00:00Z",
        "updated_at": "2026-06-01T00:00:00Z",
    }
    for prefix in ("", "/api"):
        assert (await api.get(f"{prefix}/webhooks/{webhook['id']}")).json == webhook
        assert (await api.get(f"{prefix}/webhooks")).json["items"] == [webhook]


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_webhook_is_created_changed_and_deleted(api: Api, prefix: str) -> None:
    job = await api.new_job()
    fields = {
        "url": "http://example.com:8080/a?b=c",
        "method": "DELETE",
        "headers": {"X-Team": "red"},
        "query_params": {"a": "1", "ü": ""},
        "body_template": '{"at": "{{ scheduled_at }}"}',
        "content_type": "application/cloudevents+json; charset=utf-8",
        "timeout_s": 0.5,
        "enabled": False,
    }
    webhook = (await api.post(f"{prefix}/webhooks", {**fields, "job_id": job["id"]})).json
    assert {name: webhook[name] for name in fields} == fields
    path = f"{prefix}/webhooks/{webhook['id']}"
    api.clock.advance(1)
    changed = (await api.put(path, {"method": "GET"})).json
    assert changed == {**webhook, "method": "GET", "updated_at": "2026-06-01T00:00:01Z"}
    cleared = (await api.put(path, dict.fromkeys(("headers", "query_params", "body_template", "signing_secret")))).json
    assert (cleared["headers"], cleared["query_params"], cleared["body_template"]) == (None, None, None)
    gone = await api.delete(path)
    assert (gone.status, gone.text) == (204, "")
    assert (await api.get(path)).json["error_code"] == "WEBHOOK_NOT_FOUND"
    assert (await api.delete(path)).status == 404


async def test_webhooks_are_listed_of_one_job_or_of_all(api: Api) -> None:
    first, second = await api.new_job(), await api.new_job()
    ids = [(await api.new_webhook(job["id"]))["id"] for job in (first, second, first)]
    everything = (await api.get("/webhooks")).json
    assert [item["id"] for item in everything["items"]] == ids
    of_first = (await api.get(f"/webhooks?job_id={first['id']}&limit=1&skip=1")).json
    assert [item["id"] for item in of_first["items"]] == [ids[2]]
    assert of_first["total"] == 2


async def test_secrets_are_not_shown_and_a_mask_keeps_them(api: Api) -> None:
    job = await api.new_job()
    headers = {"Authorization": "Bearer swordfish", "X-Api-Key": "swordfish", "X-Team": "red"}
    webhook = await api.new_webhook(job["id"], headers=headers, signing_secret=SECRET)
    assert webhook["headers"] == {"Authorization": "***", "X-Api-Key": "***", "X-Team": "red"}
    path = f"/webhooks/{webhook['id']}"
    assert (await api.get(path)).json == {**webhook, "signing_secret": "***"}
    kept = await api.put(path, {"headers": {**webhook["headers"], "X-Team": "blue"}, "signing_secret": "***"})
    assert (kept.status, kept.json["signing_secret"]) == (200, "***")
    stored = present(await api.service.stores.webhooks.get(webhook["id"]))
    assert stored.headers == {**headers, "X-Team": "blue"}
    assert stored.signing_secret == SECRET
    await api.put(path, {"headers": {"Authorization": "Bearer new"}, "signing_secret": None})
    stored = present(await api.service.stores.webhooks.get(webhook["id"]))
    assert (stored.headers, stored.signing_secret) == ({"Authorization": "Bearer new"}, None)
    assert "swordfish" not in json.dumps((await api.get("/webhooks")).json)


ELSEWHERE = [
    "http://example.com/hook",
    "https://example.com:8443/hook",
    "https://example.com./hook",
    "https://example.org/hook",
    "https://www.example.com/hook",
    "https://93.184.216.34/hook",
    "http://example.com:443/hook",
]


@both_databases
@pytest.mark.parametrize("url", ELSEWHERE)
async def test_masked_headers_are_not_sent_to_another_server(api: Api, url: str) -> None:
    job = await api.new_job()
    headers = {"Authorization": "Bearer swordfish", "X-Api-Key": "swordfish", "X-Team": "red"}
    webhook = await api.new_webhook(job["id"], headers=headers, signing_secret=SECRET)
    path = f"/webhooks/{webhook['id']}"
    masked: list[dict[str, Any]] = [
        {},
        {"headers": {"Authorization": "***"}},
        {"headers": {"authorization": "Bearer new", "x-api-KEY": "***"}},
        {"headers": webhook["headers"], "signing_secret": "***", "timeout_s": 5, "job_id": job["id"]},
    ]
    for change in masked:
        refused = await api.put(path, {"url": url, **change})
        assert (refused.status, refused.json["error_code"]) == (400, "VALIDATION_ERROR")
        assert "scheme, host and port" in refused.errors["headers"][0]
        assert "swordfish" not in refused.text
    stored = present(await api.service.stores.webhooks.get(webhook["id"]))
    assert (stored.url, stored.headers) == (webhook["url"], headers)


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("headers", [None, {}, {"X-Team": "blue"}, {"Authorization": "Bearer new", "X-Team": "red"}])
async def test_a_webhook_moves_with_headers_that_are_written_anew_or_dropped(
    api: Api, url: str, headers: dict[str, str] | None
) -> None:
    job = await api.new_job()
    given = {"Authorization": "Bearer swordfish", "X-Team": "red"}
    webhook = await api.new_webhook(job["id"], headers=given, signing_secret=SECRET)
    moved = await api.put(f"/webhooks/{webhook['id']}", {"url": url, "headers": headers})
    assert (moved.status, moved.json["url"]) == (200, url)
    stored = present(await api.service.stores.webhooks.get(webhook["id"]))
    assert (stored.headers, stored.signing_secret) == (headers, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/another?x=1",
        "https://example.com:443/hook",
        "https://EXAMPLE.com/hook",
        "HTTPS://example.com",
    ],
)
async def test_masked_headers_stay_while_the_server_stays(api: Api, url: str) -> None:
    webhook = await api.new_webhook((await api.new_job())["id"], headers={"X-Api-Key": "swordfish"})
    path = f"/webhooks/{webhook['id']}"
    for change in ({}, {"headers": {"X-Api-Key": "***"}}):
        assert (await api.put(path, {"url": url, **change})).status == 200
        stored = present(await api.service.stores.webhooks.get(webhook["id"]))
        assert (stored.url, stored.headers) == (url, {"X-Api-Key": "swordfish"})


async def test_a_webhook_without_masked_headers_moves_as_it_is(api: Api) -> None:
    webhook = await api.new_webhook((await api.new_job())["id"], headers={"X-Team": "red"}, signing_secret=SECRET)
    moved = await api.put(f"/webhooks/{webhook['id']}", {"url": "http://example.org/"})
    assert (moved.status, moved.json["headers"], moved.json["signing_secret"]) == (200, {"X-Team": "red"}, "***")


async def test_a_mask_where_nothing_is_stored_is_refused(api: Api) -> None:
    job = await api.new_job()
    for fields, field in (({"headers": {"Cookie": "***"}}, "headers"), ({"signing_secret": "***"}, "signing_secret")):
        created = await api.post("/webhooks", {"job_id": job["id"], "url": "https://example.com/", **fields})
        assert (created.status, list(created.errors)) == (400, [field])
        webhook = await api.new_webhook(job["id"])
        changed = await api.put(f"/webhooks/{webhook['id']}", fields)
        assert (changed.status, list(changed.errors)) == (400, [field])


async def test_a_webhook_stays_with_its_job(api: Api) -> None:
    first, second = await api.new_job(), await api.new_job()
    webhook = await api.new_webhook(first["id"])
    refused = await api.put(f"/webhooks/{webhook['id']}", {"job_id": second["id"]})
    assert (refused.status, list(refused.errors)) == (400, ["job_id"])
    assert (await api.put(f"/webhooks/{webhook['id']}", {"job_id": first["id"]})).status == 200


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "ftp://example.com/"}, "url", "VALIDATION_ERROR"),
    ({"url": "example.com"}, "url", "VALIDATION_ERROR"),
    ({"url": ""}, "url", "VALIDATION_ERROR"),
    ({"url": None}, "url", "VALIDATION_ERROR"),
    ({"url": ["https://example.com/"]}, "url", "VALIDATION_ERROR"),
    ({"url": "https://example.com/" + "x" * 2040}, "url", "VALIDATION_ERROR"),
    ({"url": "https://user:pw@example.com/"}, "url", "VALIDATION_ERROR"),
    ({"url": "http://0x7f000001/"}, "url", "VALIDATION_ERROR"),
    ({"url": "https://example.com/a b"}, "url", "VALIDATION_ERROR"),
    ({"url": "http://169.254.169.254/latest"}, "url", "BLOCKED_TARGET"),
    ({"url": "http://10.0.0.1/"}, "url", "BLOCKED_TARGET"),
    ({"url": "http://metadata.google.internal/"}, "url", "BLOCKED_TARGET"),
    ({"method": "TRACE"}, "method", "VALIDATION_ERROR"),
    ({"method": "get"}, "method", "VALIDATION_ERROR"),
    ({"method": "GET / HTTP/1.1\r\nX: 1"}, "method", "VALIDATION_ERROR"),
    ({"headers": []}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"X-A": 1}}, "headers.X-A", "VALIDATION_ERROR"),
    ({"headers": {"X-A": None}}, "headers.X-A", "VALIDATION_ERROR"),
    ({"headers": {"X-A: 1\r\nX-Evil": "1"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"X-A": "a\r\nb"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"X-A": "a\0"}}, "headers.X-A", "VALIDATION_ERROR"),
    ({"headers": {"": "a"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"Host": "internal"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"TE": "trailers"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"Expect": "100-continue"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"Accept-Encoding": "gzip"}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {f"X-{number}": "x" for number in range(200)}}, "headers", "VALIDATION_ERROR"),
    ({"headers": {"X-A": "x" * 65_536}}, "headers", "VALIDATION_ERROR"),
    ({"query_params": {"a": ["1"]}}, "query_params.a", "VALIDATION_ERROR"),
    ({"query_params": "a=1"}, "query_params", "VALIDATION_ERROR"),
    ({"body_template": "{{ secret }}"}, "body_template", "VALIDATION_ERROR"),
    ({"body_template": "{{ job.id"}, "body_template", "VALIDATION_ERROR"),
    ({"body_template": {"a": 1}}, "body_template", "VALIDATION_ERROR"),
    ({"content_type": "json"}, "content_type", "VALIDATION_ERROR"),
    ({"content_type": "a/b\r\nX: 1"}, "content_type", "VALIDATION_ERROR"),
    ({"content_type": None}, "content_type", "VALIDATION_ERROR"),
    ({"timeout_s": 0}, "timeout_s", "VALIDATION_ERROR"),
    ({"timeout_s": 0.09}, "timeout_s", "VALIDATION_ERROR"),
    ({"timeout_s": 301}, "timeout_s", "VALIDATION_ERROR"),
    ({"timeout_s": "30"}, "timeout_s", "VALIDATION_ERROR"),
    ({"signing_secret": "short"}, "signing_secret", "VALIDATION_ERROR"),
    ({"signing_secret": ""}, "signing_secret", "VALIDATION_ERROR"),
    ({"enabled": None}, "enabled", "VALIDATION_ERROR"),
    ({"created_at": "2026-06-01T00:00:00Z"}, "created_at", "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("fields", "field", "code"), REFUSED)
async def test_a_refusal_names_the_field_wherever_the_webhook_is_written(
    api: Api, fields: dict[str, Any], field: str, code: str
) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    plain = {"url": "https://example.com/hook", **fields}
    created = await api.post("/webhooks", {"job_id": job["id"], **plain})
    changed = await api.put(f"/webhooks/{webhook['id']}", fields)
    nested = await api.post("/api/jobs", {"name": "job", "schedule": "0 2 * * *", "webhook": plain})
    bulk = await api.post("/api/jobs/bulk", {"jobs": [{"name": "job", "schedule": "0 2 * * *", "webhook": plain}]})
    for reply, prefix in ((created, ""), (changed, ""), (nested, "webhook."), (bulk, "jobs.0.webhook.")):
        assert (reply.status, reply.json["error_code"]) == (400, code)
        assert list(reply.errors) == [prefix + field]
        assert len(reply.text) < 1000
    assert (await api.get("/webhooks")).json["items"] == [webhook]
    assert (await api.get("/api/jobs")).json["total"] == 1


async def test_deleting_a_webhook_cancels_what_was_queued_for_it(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"})
    await api.post(f"/api/jobs/{job['id']}/trigger")
    await api.delete(f"/webhooks/{job['webhook']['id']}")
    execution = (await api.get("/api/executions")).json["items"][0]
    assert execution["status"] == "cancelled"
    assert "deleted" in execution["reason"]
