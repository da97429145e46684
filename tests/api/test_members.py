"""Members and their roles; what each role may do is in test_matrix.py."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from tests.api.conftest import Api


async def new_account(api: Api) -> str:
    reply = await api.post("/api/accounts", {"name": "ours"})
    return f"/api/accounts/{reply.json['id']}/members"


def account_of(members: str) -> str:
    return members.split("/")[3]


async def test_a_membership_from_begin_to_end(api: Api) -> None:
    members = await new_account(api)
    account = members.removesuffix("/members")
    api.clock.advance(60)
    assert (await api.get(account, user="bob")).status == 403
    added = await api.post(members, {"user": "bob", "role": "viewer"})
    assert added.json == {"user": "bob", "role": "viewer", "state": "invited", "created_at": "2026-06-01T00:01:00Z"}
    assert added.status == 201
    assert (await api.get(account, user="bob")).status == 403
    api.clock.advance(60)
    (invitation,) = (await api.get("/api/invitations", user="bob")).items
    accepted = await api.post(f"/api/invitations/{invitation['id']}/accept", user="bob")
    assert (accepted.status, accepted.json) == (200, (await api.get(account, user="bob")).json)
    assert accepted.json["role"] == "viewer"
    changed = await api.put(f"{members}/bob", {"role": "editor"})
    active = {"user": "bob", "role": "editor", "state": "active", "created_at": "2026-06-01T00:02:00Z"}
    assert (changed.status, changed.json) == (200, active)
    assert (await api.get(account, user="bob")).json["role"] == "editor"
    listed = (await api.get(members, user="bob")).json
    assert [(item["user"], item["role"]) for item in listed["items"]] == [("ann", "owner"), ("bob", "editor")]
    assert (listed["total"], listed["skip"], listed["limit"]) == (2, 0, 100)
    assert (await api.get(f"{members}?skip=1&limit=1")).json["items"] == listed["items"][1:]
    assert (await api.delete(f"{members}/bob")).status == 204
    assert (await api.get(account, user="bob")).status == 403
    assert (await api.delete(f"{members}/bob")).json["error_code"] == "NOT_FOUND"
    assert (await api.put(f"{members}/bob", {"role": "owner"})).status == 404


async def test_nobody_is_a_member_twice(api: Api) -> None:
    members = await new_account(api)
    reply = await api.post(members, {"user": "ann", "role": "viewer"})
    assert (reply.status, reply.json["error_code"]) == (409, "CONFLICT")
    assert (await api.get(members)).json["items"][0]["role"] == "owner"
    await api.join(account_of(members), "bob", "viewer")
    assert (await api.post(members, {"user": "bob", "role": "owner"})).status == 409
    assert (await api.get("/api/invitations", user="bob")).items == []


async def test_an_account_keeps_an_owner(api: Api) -> None:
    members = await new_account(api)
    await api.join(account_of(members), "ed", "editor")
    for reply in (
        await api.delete(f"{members}/ann"),
        await api.put(f"{members}/ann", {"role": "editor"}),
        await api.put(f"{members}/ann", {"role": "viewer"}),
    ):
        assert (reply.status, reply.json["error_code"]) == (409, "CONFLICT")
    assert (await api.put(f"{members}/ann", {"role": "owner"})).status == 200
    await api.put(f"{members}/ed", {"role": "owner"})
    assert (await api.put(f"{members}/ann", {"role": "viewer"})).status == 200
    assert (await api.delete(f"{members}/ed", user="ed")).status == 409
    assert (await api.delete(f"{members}/ann", user="ed")).status == 204


async def test_a_key_is_no_owner_to_count_on(api: Api) -> None:
    members = await new_account(api)
    account_id = account_of(members)
    made = await api.post("/api/keys", {"name": "k", "scopes": ["admin"], "account_id": account_id})
    headers = {"Authorization": f"Bearer {made.json['key']}"}
    assert (await api.delete(f"{members}/ann", user=None, headers=headers)).status == 409
    assert [item["user"] for item in (await api.get(members)).json["items"]] == ["ann"]
    principal = f"key:{made.json['prefix']}"
    assert (await api.put(f"{members}/{principal}", {"role": "viewer"})).status == 404
    assert (await api.delete(f"{members}/{principal}")).status == 404
    assert (await api.post(members, {"user": principal, "role": "owner"})).status == 400


async def test_two_owners_cannot_both_leave_at_once(api: Api) -> None:
    members = await new_account(api)
    await api.join(account_of(members), "ed", "owner")
    replies = await asyncio.gather(
        api.delete(f"{members}/ann", user="ed"), api.put(f"{members}/ed", {"role": "viewer"}, user="ann")
    )
    assert sorted(reply.status for reply in replies) in ([204, 409], [200, 409], [204, 403], [200, 403])
    rows = await api.service.stores.db.fetch_all("SELECT role FROM members WHERE role = 'owner'")
    assert len(rows) == 1


@pytest.mark.parametrize("user", ["auth0|4f", "https://id.example/u/1?x#y", "a b", "ümit", "100%", "%2F"])
async def test_users_are_named_as_their_tokens_name_them(api: Api, user: str) -> None:
    members = await new_account(api)
    await api.join(account_of(members), user, "viewer")
    path = f"{members}/{quote(user, safe='')}"
    url = URL(f"http://{api.host}:{api.port}{path}", encoded=True)
    headers = {"Authorization": f"Bearer {api.token()}"}
    async with api.session.put(url, json={"role": "editor"}, headers=headers) as response:
        assert response.status == 200
        assert (await response.json())["user"] == user
    assert (await api.get(members.removesuffix("/members"), user=user)).json["role"] == "editor"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "viewer"}, "user"),
        ({"user": "bob"}, "role"),
        ({"user": "", "role": "viewer"}, "user"),
        ({"user": " ", "role": "viewer"}, "user"),
        ({"user": 1, "role": "viewer"}, "user"),
        ({"user": "x" * 256, "role": "viewer"}, "user"),
        ({"user": "bob", "role": "Owner"}, "role"),
        ({"user": "bob", "role": "root"}, "role"),
        ({"user": "bob", "role": None}, "role"),
        ({"user": "bob", "role": "viewer", "account_id": "x"}, "account_id"),
    ],
)
async def test_a_malformed_member_is_refused(api: Api, body: Any, field: str) -> None:
    reply = await api.post(await new_account(api), body)
    assert (reply.status, list(reply.errors)) == (400, [field])


async def test_no_user_can_have_the_name_of_the_service(api: Api) -> None:
    assert (await api.get("/api/jobs", user="scheduler")).status == 401
    account = (await api.post("/api/accounts", {"name": "a"})).json
    reply = await api.post(f"/api/accounts/{account['id']}/members", {"user": "scheduler", "role": "editor"})
    assert reply.status == 400 and "user" in reply.errors
