"""Tenancy: a user sees the accounts they belong to, and only what those own."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from scheduler.config import Config
from tests.api.conftest import Api, Serve
from tests.conftest import OpenService

NOWHERE = "018f4a3e-0000-7000-8000-000000000000"


async def belongings(api: Api, user: str) -> dict[str, str]:
    """One of each thing that ``user`` owns, by the name its id has in paths."""
    job = await api.new_job(user=user, webhook={"url": "https://example.com/hook"})
    execution = (await api.post(f"/api/jobs/{job['id']}/trigger", user=user)).json["items"][0]
    host = (await api.post("/api/accounts", {"name": "host"}, user="host")).json
    return {
        "account_id": job["account_id"],
        "job_id": job["id"],
        "webhook_id": job["webhook"]["id"],
        "execution_id": execution["id"],
        "key_id": (await api.post("/api/keys", {"name": "key", "scopes": ["read"]}, user=user)).json["id"],
        "invitation_id": await api.invite(host["id"], user, "viewer", by="host"),
    }


BY_ID: list[tuple[str, str, Any]] = [
    ("GET", "/api/accounts/{account_id}", None),
    ("PUT", "/api/accounts/{account_id}", {"name": "mine"}),
    ("DELETE", "/api/accounts/{account_id}", None),
    ("GET", "/api/accounts/{account_id}/members", None),
    ("POST", "/api/accounts/{account_id}/members", {"user": "eve", "role": "owner"}),
    ("PUT", "/api/accounts/{account_id}/members/bob", {"role": "viewer"}),
    ("DELETE", "/api/accounts/{account_id}/members/bob", None),
    ("POST", "/api/invitations/{invitation_id}/accept", None),
    ("POST", "/api/invitations/{invitation_id}/decline", None),
    ("DELETE", "/api/keys/{key_id}", None),
    ("GET", "/api/jobs/{job_id}", None),
    ("PUT", "/api/jobs/{job_id}", {"name": "mine"}),
    ("DELETE", "/api/jobs/{job_id}", None),
    ("PATCH", "/api/jobs/{job_id}/enable", None),
    ("PATCH", "/api/jobs/{job_id}/disable", None),
    ("POST", "/api/jobs/{job_id}/trigger", None),
    ("GET", "/api/jobs/{job_id}/executions", None),
    ("GET", "/webhooks/{webhook_id}", None),
    ("PUT", "/webhooks/{webhook_id}", {"url": "https://example.com/mine"}),
    ("DELETE", "/webhooks/{webhook_id}", None),
    ("GET", "/api/webhooks/{webhook_id}", None),
    ("PUT", "/api/webhooks/{webhook_id}", {"url": "https://example.com/mine"}),
    ("DELETE", "/api/webhooks/{webhook_id}", None),
    ("GET", "/api/executions/{execution_id}", None),
    ("POST", "/api/executions/{execution_id}/retry", None),
    ("POST", "/api/executions/{execution_id}/cancel", None),
]
BY_NAME: list[tuple[str, str, Any]] = [
    ("POST", "/api/jobs", {"name": "job", "schedule": "0 2 * * *", "account_id": "{account_id}"}),
    ("POST", "/api/jobs/bulk", {"jobs": [{"name": "job", "schedule": "0 2 * * *", "account_id": "{account_id}"}]}),
    ("POST", "/webhooks", {"job_id": "{job_id}", "url": "https://example.com/mine"}),
    ("POST", "/api/keys", {"name": "key", "scopes": ["admin"], "account_id": "{account_id}"}),
    ("GET", "/api/keys?account_id={account_id}", None),
    ("GET", "/api/jobs?account_id={account_id}", None),
    ("GET", "/webhooks?job_id={job_id}", None),
    ("GET", "/api/executions?account_id={account_id}", None),
    ("GET", "/api/executions?job_id={job_id}", None),
    ("GET", "/api/dead-letter?account_id={account_id}", None),
    ("GET", "/api/dead-letter?job_id={job_id}", None),
    ("POST", "/api/dead-letter/redrive", {"filter": {"account_id": "{account_id}"}}),
    ("POST", "/api/dead-letter/purge", {"filter": {"job_id": "{job_id}"}}),
    ("POST", "/api/dead-letter/purge", {"ids": ["{execution_id}"]}),
]


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, ids) for inner in value]
    return value.format(**ids) if isinstance(value, str) else value


async def snapshot(api: Api, user: str) -> list[Any]:
    paths = ("/api/accounts", "/api/jobs", "/webhooks", "/api/executions")
    return [(await api.get(path, user=user)).json["items"] for path in paths]


async def test_what_is_foreign_is_forbidden_and_untouched(api: Api) -> None:
    theirs = await belongings(api, "bob")
    await belongings(api, "ann")
    before = await snapshot(api, "bob")
    for method, path, body in [*BY_ID, *BY_NAME]:
        reply = await api.call(method, path.format(**theirs), filled(body, theirs), user="ann")
        assert (reply.status, reply.json["error_code"]) == (403, "FORBIDDEN"), (method, path)
    assert await snapshot(api, "bob") == before


async def test_what_is_nowhere_is_not_found(api: Api) -> None:
    nowhere = dict.fromkeys(("account_id", "job_id", "webhook_id", "execution_id", "key_id", "invitation_id"), NOWHERE)
    for method, path, body in [*BY_ID, *BY_NAME]:
        reply = await api.call(method, path.format(**nowhere), filled(body, nowhere))
        assert reply.status == 404, (method, path)
        assert reply.json["error_code"].endswith("NOT_FOUND"), (method, path)


@pytest.mark.parametrize(
    "odd", ["x", "0", "-1", "NULL", "'", "%00", "%20", f"{NOWHERE}x", NOWHERE.replace("-", ""), "9" * 40]
)
async def test_an_id_that_is_no_uuid_is_not_found_in_a_path(api: Api, odd: str) -> None:
    ids = dict.fromkeys(("account_id", "job_id", "webhook_id", "execution_id", "key_id", "invitation_id"), odd)
    for method, path, body in BY_ID:
        assert (await api.call(method, path.format(**ids), body)).status == 404, (method, path)


async def test_an_id_that_is_no_uuid_is_malformed_in_a_body_or_query(api: Api) -> None:
    ids = dict.fromkeys(("account_id", "job_id", "execution_id"), "x")
    for method, path, body in BY_NAME:
        reply = await api.call(method, path.format(**ids), filled(body, ids))
        assert (reply.status, reply.json["error_code"]) == (400, "VALIDATION_ERROR"), (method, path)


async def test_ids_are_read_in_any_case(api: Api) -> None:
    job = await api.new_job()
    assert (await api.get(f"/api/jobs/{job['id'].upper()}")).json["id"] == job["id"]
    webhook = await api.new_webhook(job["id"].upper())
    assert webhook["job_id"] == job["id"]


async def test_what_is_foreign_can_be_hidden(open_test_service: OpenService, serve: Serve, config: Config) -> None:
    hiding = replace(config, auth=replace(config.auth, hide_foreign=True))
    async with open_test_service(hiding) as service, serve(service) as api:
        theirs = await belongings(api, "bob")
        nowhere = {name: str(uuid.uuid4()) for name in theirs}
        for method, path, body in [*BY_ID, *BY_NAME]:
            foreign = await api.call(method, path.format(**theirs), filled(body, theirs), user="ann")
            unknown = await api.call(method, path.format(**nowhere), filled(body, nowhere), user="ann")
            assert foreign.status == 404, (method, path)
            assert foreign.text == unknown.text, (method, path)


async def test_lists_show_what_is_mine(api: Api) -> None:
    await belongings(api, "bob")
    mine = await belongings(api, "ann")
    shown = await snapshot(api, "ann")
    assert [item["id"] for items in shown for item in items] == [
        mine["account_id"],
        mine["job_id"],
        mine["webhook_id"],
        mine["execution_id"],
    ]
    assert (await snapshot(api, "carl")) == [[], [], [], []]
    assert (await api.get("/api/executions?run_id=" + str(uuid.uuid4()))).status == 404


async def test_roles_bound_what_a_member_may_do(api: Api) -> None:
    ids = await belongings(api, "ann")
    await api.join(ids["account_id"], "vera", "viewer")
    await api.join(ids["account_id"], "ed", "editor")
    new_job = {"name": "job", "schedule": "0 2 * * *", "account_id": ids["account_id"]}
    reads = [entry for entry in [*BY_ID, *BY_NAME] if entry[0] == "GET"]
    writes = [entry for entry in [*BY_ID, *BY_NAME] if entry[0] != "GET"]
    for method, path, body in reads:
        assert (await api.call(method, path.format(**ids), body, user="vera")).status == 200, (method, path)
    for method, path, body in writes:
        reply = await api.call(method, path.format(**ids), filled(body, ids), user="vera")
        assert reply.status == 403, (method, path)
    assert (await api.post("/api/jobs", new_job, user="ed")).status == 201
    assert (await api.put(f"/api/jobs/{ids['job_id']}", {"name": "x"}, user="ed")).status == 200
    assert (await api.delete(f"/api/accounts/{ids['account_id']}", user="ed")).status == 403
    assert (await api.put(f"/api/accounts/{ids['account_id']}", {"name": "x"}, user="ed")).status == 403
    assert (await api.get(f"/api/accounts/{ids['account_id']}", user="ed")).json["role"] == "editor"


async def test_who_owns_nothing_gets_an_account_of_their_own(api: Api) -> None:
    """Also a viewer of the account of another user."""
    ids = await belongings(api, "ann")
    await api.join(ids["account_id"], "vera", "viewer")
    assert (await api.new_job(user="vera"))["account_id"] != ids["account_id"]
    accounts = (await api.get("/api/accounts", user="vera")).json["items"]
    assert [account["role"] for account in accounts] == ["viewer", "owner"]
