"""The audit log: every change has an entry with its actor, time and address; only owners read it; it has no secret."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scheduler.api.app import openapi_document
from scheduler.api.auth.client_address import client_address
from scheduler.config import Config
from tests.api.conftest import Api, Serve
from tests.api.test_tenancy import filled
from tests.conftest import OpenService, Receiver
from tests.factories import fire_and_deliver

HOOK = {"url": "https://example.com/hook"}


async def audit(api: Api, query: str = "", **options: Any) -> list[Any]:
    reply = await api.get(f"/api/audit?{query}", **options)
    assert reply.status == 200, reply.text
    return reply.items


async def latest(api: Api) -> Any:
    return (await audit(api, "limit=1"))[0]


def summed_up(entry: Any) -> tuple[str, str, str | None, list[str], int]:
    return entry["action"], entry["subject_type"], entry["subject_name"], entry["changes"], entry["count"]


async def test_a_record_says_who_did_what_when_and_from_where(api: Api) -> None:
    job = await api.new_job(name="nightly")
    reply = await api.put(
        f"/api/jobs/{job['id']}", {"name": "weekly", "note": "moved"}, headers={"X-Request-ID": "r-1"}
    )
    assert reply.status == 200
    entry = await latest(api)
    assert entry.pop("id") and entry == {
        "account_id": job["account_id"],
        "at": "2026-06-01T00:00:00Z",
        "actor": "ann",
        "action": "job.updated",
        "subject_type": "job",
        "subject_id": job["id"],
        "subject_name": "weekly",
        "from": "127.0.0.1",
        "request_id": "r-1",
        "changes": ["name", "note"],
        "count": 1,
    }


async def one_of_each(api: Api) -> dict[str, str]:
    """One of each thing that can be changed; the ids by the names that paths give them."""
    job = await api.new_job(name="nightly", webhook=HOOK)
    execution = (await api.post(f"/api/jobs/{job['id']}/trigger")).json["items"][0]
    await api.join(job["account_id"], "eve", "viewer")
    key = await api.post("/api/keys", {"name": "spare", "scopes": ["read"]})
    return {
        "account_id": job["account_id"],
        "job_id": job["id"],
        "webhook_id": job["webhook"]["id"],
        "execution_id": execution["id"],
        "key_id": key.json["id"],
        "user": "eve",
    }


BACKFILL = {"from": "2026-05-30T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
CHANGES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "create_account": ({"name": "second"}, ("account.created", "account", "second", [], 1)),
    "update_account": ({"name": "first"}, ("account.updated", "account", "first", ["name"], 1)),
    "add_member": ({"user": "bob", "role": "viewer"}, ("member.invited", "member", None, ["role"], 1)),
    "change_member": ({"role": "editor"}, ("member.changed", "member", None, ["role"], 1)),
    "remove_member": (None, ("member.removed", "member", None, [], 1)),
    "create_key": ({"name": "deploy", "scopes": ["write"]}, ("key.created", "key", "deploy", [], 1)),
    "revoke_key": (None, ("key.revoked", "key", "spare", [], 1)),
    "create_job": ({"name": "new", "schedule": "@daily"}, ("job.created", "job", "new", [], 1)),
    "create_jobs": ({"jobs": [{"name": "new", "schedule": "@daily"}]}, ("job.created", "job", "new", [], 1)),
    "update_job": (
        {"anchor": "2026-01-01T00:00:00Z", "schedule": "@every 2h"},
        ("job.updated", "job", "nightly", ["schedule", "anchor"], 1),
    ),
    "enable_job": (None, ("job.enabled", "job", "nightly", ["enabled"], 1)),
    "disable_job": ({"note": "why"}, ("job.disabled", "job", "nightly", ["enabled", "note"], 1)),
    "delete_job": (None, ("job.deleted", "job", "nightly", [], 1)),
    "trigger_job": (None, ("job.triggered", "job", "nightly", [], 1)),
    "backfill_job": (BACKFILL, ("job.backfilled", "job", "nightly", [], 2)),
    "create_webhook": ({"job_id": "{job_id}", **HOOK}, ("webhook.created", "webhook", "nightly", [], 1)),
    "update_webhook": (
        {"headers": {"Authorization": "Bearer canary-1"}, "signing_secret": "generate"},
        ("webhook.updated", "webhook", "nightly", ["headers", "signing_secret"], 1),
    ),
    "rotate_webhook_secret": (
        None,
        ("webhook.secret_rotated", "webhook", "nightly", ["signing_secret"], 1),
    ),
    "delete_webhook": (None, ("webhook.deleted", "webhook", "nightly", [], 1)),
    "cancel_execution": (None, ("execution.cancelled", "execution", "nightly", [], 1)),
    "retry_execution": (None, ("execution.retried", "execution", "nightly", [], 1)),
    "redrive_dead_letter": ({"filter": {}}, ("dead_letter.redriven", "job", "nightly", [], 1)),
    "purge_dead_letter": ({"filter": {}}, ("dead_letter.purged", "job", "nightly", [], 1)),
}
GOES_WITH_ITS_ACCOUNT = {"delete_account"}
BY_THE_INVITED = {"accept_invitation", "decline_invitation"}


def changing_operations() -> dict[str, tuple[str, str]]:
    return {
        operation["operationId"].removesuffix("_alias"): (method.upper(), path)
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
        if method != "get" and not path.startswith("/api/webhooks")
    }


def test_every_operation_that_changes_something_is_tried_below() -> None:
    assert set(changing_operations()) == set(CHANGES) | GOES_WITH_ITS_ACCOUNT | BY_THE_INVITED


async def disable(api: Api, ids: dict[str, str]) -> None:
    await api.patch(f"/api/jobs/{ids['job_id']}/disable")


async def cancel(api: Api, ids: dict[str, str]) -> None:
    await api.post(f"/api/executions/{ids['execution_id']}/cancel")


async def give_up(api: Api, ids: dict[str, str]) -> None:
    sql = "UPDATE executions SET status = 'dead_letter' WHERE id = :id"
    await api.service.stores.db.transaction(lambda tx: tx.execute(sql, {"id": ids["execution_id"]}))


async def nothing(api: Api, ids: dict[str, str]) -> None:
    """No request has to be made for it."""


BEFOREHAND = {
    "enable_job": disable,
    "retry_execution": cancel,
    "redrive_dead_letter": give_up,
    "purge_dead_letter": give_up,
}


@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_is_on_record(api: Api, name: str) -> None:
    ids = await one_of_each(api)
    method, path = changing_operations()[name]
    body, expected = CHANGES[name]
    await BEFOREHAND.get(name, nothing)(api, ids)
    before = len(await audit(api))
    reply = await api.call(method, path.format(**ids), filled(body, ids), user="ann")
    assert reply.status < 300, reply.text
    records = await audit(api)
    assert len(records) == before + 1, records[: len(records) - before]
    assert summed_up(records[0]) == expected
    assert (records[0]["actor"], records[0]["from"]) == ("ann", "127.0.0.1")
    assert records[0]["request_id"] == reply.headers["X-Request-ID"]


async def test_every_step_of_a_membership_is_on_record(api: Api) -> None:
    account_id = (await api.post("/api/accounts", {"name": "ours"})).json["id"]
    members = f"/api/accounts/{account_id}/members"
    await api.invite(account_id, "bob", "editor")
    await api.delete(f"{members}/bob")
    await api.post(f"/api/invitations/{await api.invite(account_id, 'bob', 'editor')}/decline", user="bob")
    await api.join(account_id, "bob", "owner")
    key = await api.post("/api/keys", {"name": "spare", "scopes": ["read"], "account_id": account_id}, user="bob")
    await api.invite(account_id, "cem", "owner", by="bob")
    await api.delete(f"{members}/bob", user="bob")
    entries = [(one["actor"], one["action"], one["subject_id"]) for one in await audit(api)][::-1]
    assert entries == [
        ("ann", "account.created", account_id),
        ("ann", "member.invited", "bob"),
        ("ann", "member.withdrawn", "bob"),
        ("ann", "member.invited", "bob"),
        ("bob", "member.declined", "bob"),
        ("ann", "member.invited", "bob"),
        ("bob", "member.added", "bob"),
        ("bob", "key.created", key.json["id"]),
        ("bob", "member.invited", "cem"),
        ("bob", "member.left", "bob"),
        ("bob", "member.withdrawn", "cem"),
        ("bob", "key.revoked", key.json["id"]),
    ]
    sources = {one["action"]: (one["from"], one["request_id"] is None) for one in await audit(api)}
    assert sources["member.declined"] == (None, True)
    assert sources["member.added"] == ("127.0.0.1", False)


async def test_what_changes_nothing_is_not_on_record(api: Api) -> None:
    ids = await one_of_each(api)
    before = await audit(api)
    await api.patch(f"/api/jobs/{ids['job_id']}/enable")
    await api.put(f"/api/jobs/{ids['job_id']}", {"name": "nightly"})
    await api.put(f"/webhooks/{ids['webhook_id']}", HOOK)
    await api.post("/api/dead-letter/redrive", {"filter": {}})
    await api.post(f"/api/jobs/{ids['job_id']}/backfill", {**BACKFILL, "dry_run": True})
    assert (await api.put(f"/api/jobs/{ids['job_id']}", {"schedule": "never"})).status == 400
    assert (await api.post(f"/api/jobs/{ids['job_id']}/trigger", user="bob")).status == 403
    assert await audit(api) == before


async def test_no_secret_is_on_record(api: Api) -> None:
    secrets = {"headers": {"X-Api-Key": "canary-1"}, "query_params": {"token": "canary-2"}}
    job = await api.new_job(webhook={"url": "https://example.com/canary-3?k=canary-4", **secrets})
    webhook = job["webhook"]["id"]
    await api.put(f"/webhooks/{webhook}", {"signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    await api.put(f"/webhooks/{webhook}", {"headers": {"X-Api-Key": "canary-5"}, "body_template": "canary-6"})
    key = (await api.post("/api/keys", {"name": "key", "scopes": ["read"]})).json["key"]
    text = (await api.get("/api/audit")).text
    assert "canary" not in text and "whsec" not in text and key not in text


async def test_only_owners_read_the_audit(api: Api) -> None:
    job = await api.new_job()
    account = job["account_id"]
    for role in ("viewer", "editor"):
        await api.join(account, role, role)
        assert (await api.get(f"/api/audit?account_id={account}", user=role)).status == 403
        assert await audit(api, user=role) == []
    assert (await api.get(f"/api/audit?account_id={account}", user="bob")).status == 403
    await api.new_job(user="bob")
    assert {entry["actor"] for entry in await audit(api)} == {"ann", "viewer", "editor"}
    assert {entry["actor"] for entry in await audit(api, user="bob")} == {"bob"}


async def test_a_key_is_on_record_by_its_prefix(api: Api) -> None:
    job = await api.new_job()
    key = (await api.post("/api/keys", {"name": "deploy", "scopes": ["write"]})).json
    bearer = {"Authorization": f"Bearer {key['key']}"}
    assert (await api.post(f"/api/jobs/{job['id']}/trigger", user=None, headers=bearer)).status == 202
    (entry,) = await audit(api, f"actor=key:{key['prefix']}")
    assert entry["action"] == "job.triggered"


async def test_the_audit_is_narrowed_by_its_query(api: Api) -> None:
    first = await api.new_job(name="first")
    api.clock.advance(60)
    await api.patch(f"/api/jobs/{first['id']}/disable")
    api.clock.advance(60)
    await api.patch(f"/api/jobs/{first['id']}/enable")
    await api.join(first["account_id"], "bob", "editor")
    await api.patch(f"/api/jobs/{first['id']}/disable", user="bob")

    async def actions(query: str) -> list[str]:
        return [entry["action"] for entry in await audit(api, query)]

    joining = ["member.added", "member.invited"]
    everything = ["job.disabled", *joining, "job.enabled", "job.disabled", "job.created", "account.created"]
    assert await actions("") == await actions(f"account_id={first['account_id']}") == everything
    assert await actions("actor=bob") == ["job.disabled", "member.added"]
    assert await actions("action=job.disabled") == ["job.disabled", "job.disabled"]
    assert await actions(f"subject_id={first['id']}&actor=ann") == ["job.enabled", "job.disabled", "job.created"]
    assert await actions("since=2026-06-01T00:01:00Z&until=2026-06-01T00:02:00Z") == ["job.disabled"]
    page = (await api.get("/api/audit?skip=1&limit=2")).json
    assert [entry["action"] for entry in page["items"]] == everything[1:3] and page["total"] == len(everything)
    assert (await api.get("/api/audit?action=job.eaten")).status == 400


async def test_a_bulk_request_is_a_record_for_each_job(api: Api) -> None:
    jobs = [{"name": f"job {number}", "schedule": "@daily", "webhook": HOOK} for number in range(3)]
    await api.post("/api/jobs/bulk", {"jobs": jobs})
    names = [entry["subject_name"] for entry in await audit(api, "action=job.created")]
    assert names == ["job 2", "job 1", "job 0"]
    assert len(await audit(api, "action=webhook.created")) == 3


async def test_a_change_that_fails_leaves_no_record_and_a_record_that_fails_no_change(api: Api) -> None:
    job = await api.new_job()
    await api.service.stores.db.transaction(lambda tx: tx.execute("DROP TABLE audit"))
    assert (await api.patch(f"/api/jobs/{job['id']}/disable")).status in (500, 503)
    assert (await api.get(f"/api/jobs/{job['id']}")).json["enabled"] is True


async def test_what_the_service_disables_is_on_record_and_shown(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(status=410)
    job = await api.new_job(schedule="* * * * *", webhook={"url": receiver.url})
    api.clock.advance(60)
    await fire_and_deliver(api.service)
    (entry,) = await audit(api, "actor=scheduler")
    assert summed_up(entry) == ("webhook.disabled", "webhook", "job", ["enabled"], 1)
    assert (entry["from"], entry["request_id"]) == (None, None)
    path = f"/webhooks/{job['webhook']['id']}"
    webhook = (await api.get(path)).json
    assert webhook["enabled"] is False and webhook["disabled_reason"].startswith("gone:")
    assert (await api.put(path, {"timeout_s": 5})).json["disabled_reason"].startswith("gone:")
    assert (await api.put(path, {"enabled": True})).json["disabled_reason"] is None
    assert summed_up(await latest(api)) == ("webhook.enabled", "webhook", "job", ["enabled"], 1)


async def test_behind_a_proxy_that_is_trusted_the_client_is_on_record(
    open_test_service: OpenService, serve: Serve, config: Config
) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    trusting = replace(config, server=replace(config.server, trusted_proxies=("127.0.0.0/8",)))
    for chosen, expected in ((config, "127.0.0.1"), (trusting, "198.51.100.7")):
        async with open_test_service(config=chosen) as service, serve(service) as api:
            body = {"name": "job", "schedule": "@daily"}
            assert (await api.post("/api/jobs", body, headers=forwarded)).status == 201
            assert (await latest(api))["from"] == expected


PROXIES = ("10.0.0.0/8", "2001:db8::1")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9,10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("2001:db8::1", ["[2001:db8::5]:80"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["<script>"], "10.0.0.1"),
        (None, ["203.0.113.9"], None),
    ],
)
def test_a_forwarded_address_counts_as_far_as_trust_reaches(
    peer: str | None, forwarded_for: list[str], client: str | None
) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == client


async def test_simultaneous_changes_are_each_on_record(api: Api) -> None:
    job = await api.new_job()
    bodies = [{"note": f"note {number}"} for number in range(20)]
    await asyncio.gather(*(api.put(f"/api/jobs/{job['id']}", body) for body in bodies))
    assert len(await audit(api, "action=job.updated")) == 20


async def test_the_audit_goes_with_its_account_and_the_log_remains(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    job = await api.new_job()
    assert (await api.delete(f"/api/accounts/{job['account_id']}")).status == 204
    assert await audit(api) == []
    (line,) = [record for record in caplog.records if record.message.startswith("an account was deleted")]
    assert (vars(line)["account_id"], vars(line)["actor"]) == (job["account_id"], "ann")


async def test_a_backfill_that_adds_nothing_is_not_on_record(api: Api) -> None:
    ids = await one_of_each(api)
    for _ in range(2):
        assert (await api.post(f"/api/jobs/{ids['job_id']}/backfill", BACKFILL)).status == 202
    assert [entry["count"] for entry in await audit(api, "action=job.backfilled")] == [2]
