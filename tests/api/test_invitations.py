"""Invitations: nobody becomes a member without accepting, and every member may leave."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from scheduler.store.accounts.invitations import MOST_INVITATIONS
from tests.api.conftest import Api
from tests.conftest import both_databases

pytestmark = both_databases
HOOK = {"url": "https://example.com/hook", "headers": {"X-Api-Key": "swordfish"}}


async def new_account(api: Api, user: str = "ann", name: str = "ours") -> str:
    account_id: str = (await api.post("/api/accounts", {"name": name}, user=user)).json["id"]
    return account_id


async def members(api: Api, account_id: str, user: str = "ann") -> list[tuple[str, str, str]]:
    listed = (await api.get(f"/api/accounts/{account_id}/members", user=user)).items
    return [(one["user"], one["role"], one["state"]) for one in listed]


async def answer_to(api: Api, invitation_id: str, what: str, user: str = "bob") -> int:
    return (await api.post(f"/api/invitations/{invitation_id}/{what}", user=user)).status


async def bearer(api: Api, account_id: str, user: str = "ann", key: str | None = None, **fields: Any) -> dict[str, str]:
    """The header of a new API key; ``key`` is the header of the key that makes it."""
    body = {"name": "key", "scopes": ["admin"], "account_id": account_id, **fields}
    sender: dict[str, Any] = {"user": None, "headers": {"Authorization": key}} if key else {"user": user}
    made = await api.post("/api/keys", body, **sender)
    assert made.status == 201, made.text
    return {"Authorization": f"Bearer {made.json['key']}"}


async def is_valid(api: Api, headers: dict[str, str]) -> bool:
    return (await api.get("/api/jobs", user=None, headers=headers)).status == 200


async def test_an_invitation_to_another_account_catches_no_credentials(api: Api) -> None:
    """The attack: an invited owner's next job went to the account of whoever invited them."""
    account_id = await new_account(api, "eve")
    await api.invite(account_id, "bob", "owner", by="eve")
    job = await api.new_job(user="bob", webhook=HOOK)
    assert job["account_id"] != account_id
    assert (await api.get("/api/jobs", user="eve")).items == []
    assert (await api.get("/webhooks", user="eve")).items == []


async def test_an_accepted_account_is_no_default_account(api: Api) -> None:
    """Not even when it is older than the user's own, and they own it."""
    account_id = await new_account(api, "eve")
    await api.join(account_id, "bob", "owner", by="eve")
    job = await api.new_job(user="bob", webhook=HOOK)
    assert job["account_id"] != account_id
    (personal,) = [one for one in (await api.get("/api/accounts", user="bob")).items if one["id"] == job["account_id"]]
    assert (personal["name"], personal["role"]) == ("Personal", "owner")
    assert (await api.new_job(user="bob"))["account_id"] == personal["id"]
    key = await api.post("/api/keys", {"name": "key", "scopes": ["read"]}, user="bob")
    assert key.json["account_id"] == personal["id"]
    assert (await api.new_job(user="bob", account_id=account_id))["account_id"] == account_id


async def test_an_account_that_was_handed_over_is_no_default_account(api: Api) -> None:
    account_id = await new_account(api)
    await api.join(account_id, "bob", "owner")
    await api.put(f"/api/accounts/{account_id}/members/ann", {"role": "editor"}, user="bob")
    assert (await api.new_job())["account_id"] != account_id


async def test_who_is_invited_sees_nothing_and_has_nothing_until_they_accept(api: Api) -> None:
    job = await api.new_job(webhook=HOOK)
    account_id = job["account_id"]
    invitation_id = await api.invite(account_id, "bob", "owner")
    for path in ("/api/accounts", "/api/jobs", "/webhooks", "/api/executions", "/api/keys", "/api/audit"):
        assert (await api.get(path, user="bob")).items == [], path
    for path in (f"/api/accounts/{account_id}", f"/api/accounts/{account_id}/members", f"/api/jobs/{job['id']}"):
        assert (await api.get(path, user="bob")).status == 403, path
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob", user="bob")).status == 403
    assert await answer_to(api, invitation_id, "accept") == 200
    assert [one["id"] for one in (await api.get("/api/jobs", user="bob")).items] == [job["id"]]
    assert await members(api, account_id, "bob") == [("ann", "owner", "active"), ("bob", "owner", "active")]


async def test_invitations_are_listed_for_the_invited_alone(api: Api) -> None:
    first, second = await new_account(api, name="one"), await new_account(api, "eve", name="two")
    ids = [await api.invite(first, "bob", "viewer"), await api.invite(second, "bob", "owner", by="eve")]
    listed = (await api.get("/api/invitations", user="bob")).json
    assert [one["id"] for one in listed["items"]] == ids
    assert listed["items"][1] == {
        "id": ids[1],
        "account_id": second,
        "account_name": "two",
        "role": "owner",
        "invited_by": "eve",
        "created_at": "2026-06-01T00:00:00Z",
    }
    page = (await api.get("/api/invitations?skip=1&limit=1", user="bob")).json
    assert (page["items"], page["total"]) == (listed["items"][1:], 2)
    assert (await api.get("/api/invitations")).items == []
    assert await members(api, first) == [("ann", "owner", "active"), ("bob", "viewer", "invited")]


async def test_who_declined_can_be_asked_again(api: Api) -> None:
    account_id = await new_account(api)
    first = await api.invite(account_id, "bob", "viewer")
    assert await answer_to(api, first, "decline") == 204
    assert await answer_to(api, first, "accept") == await answer_to(api, first, "decline") == 404
    assert await members(api, account_id) == [("ann", "owner", "active")]
    assert await answer_to(api, await api.invite(account_id, "bob", "viewer"), "accept") == 200
    assert await members(api, account_id) == [("ann", "owner", "active"), ("bob", "viewer", "active")]


async def test_an_invitation_can_be_taken_back(api: Api) -> None:
    account_id = await new_account(api)
    invitation_id = await api.invite(account_id, "bob", "viewer")
    assert (await api.post(f"/api/accounts/{account_id}/members", {"user": "bob", "role": "owner"})).status == 409
    assert (await api.put(f"/api/accounts/{account_id}/members/bob", {"role": "owner"})).status == 404
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob")).status == 204
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob")).status == 404
    assert (await api.get("/api/invitations", user="bob")).items == []
    assert await answer_to(api, invitation_id, "accept") == 404


async def test_an_invitation_is_answered_by_nobody_else(api: Api) -> None:
    account_id = await new_account(api)
    invitation_id = await api.invite(account_id, "bob", "owner")
    key = await bearer(api, account_id)
    for what in ("accept", "decline"):
        assert await answer_to(api, invitation_id, what, user="eve") == 403
        assert await answer_to(api, invitation_id, what, user="ann") == 403
        assert await answer_to(api, str(uuid.uuid4()), what) == await answer_to(api, "x", what) == 404
        reply = await api.post(f"/api/invitations/{invitation_id}/{what}", user=None, headers=key)
        assert (reply.status, reply.json["error_code"]) == (403, "FORBIDDEN")
    assert (await api.get("/api/invitations", user=None, headers=key)).status == 403
    assert await members(api, account_id) == [("ann", "owner", "active"), ("bob", "owner", "invited")]


async def test_two_accepts_at_once_make_one_member(api: Api) -> None:
    account_id = await new_account(api)
    invitation_id = await api.invite(account_id, "bob", "editor")
    answers = await asyncio.gather(*(answer_to(api, invitation_id, "accept") for _ in range(5)))
    assert sorted(answers) == [200, 404, 404, 404, 404]
    assert await members(api, account_id) == [("ann", "owner", "active"), ("bob", "editor", "active")]


async def test_an_account_has_so_many_open_invitations(api: Api) -> None:
    path = f"/api/accounts/{await new_account(api)}/members"
    for number in range(MOST_INVITATIONS):
        assert (await api.post(path, {"user": f"user {number}", "role": "viewer"})).status == 201
    refused = await api.post(path, {"user": "one more", "role": "viewer"})
    assert (refused.status, refused.json["error_code"]) == (429, "RATE_LIMITED")
    assert (await api.delete(f"{path}/user 7")).status == 204
    assert (await api.post(path, {"user": "one more", "role": "viewer"})).status == 201


async def test_an_invitation_ends_with_its_account(api: Api) -> None:
    account_id = await new_account(api)
    invitation_id = await api.invite(account_id, "bob", "owner")
    assert (await api.delete(f"/api/accounts/{account_id}")).status == 204
    assert (await api.get("/api/invitations", user="bob")).items == []
    assert await answer_to(api, invitation_id, "accept") == 404


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
async def test_everybody_but_the_last_owner_may_leave(api: Api, role: str) -> None:
    account_id = await new_account(api)
    await api.join(account_id, "bob", role)
    path = f"/api/accounts/{account_id}/members"
    assert (await api.delete(f"{path}/bob", user="bob")).status == 204
    assert (await api.get(f"/api/accounts/{account_id}", user="bob")).status == 403
    assert (await api.delete(f"{path}/ann")).status == 409
    assert await members(api, account_id) == [("ann", "owner", "active")]


@pytest.mark.parametrize("role", ["viewer", "editor"])
async def test_who_is_no_owner_removes_nobody_and_keeps_no_keys(api: Api, role: str) -> None:
    account_id = await new_account(api)
    await api.join(account_id, "bob", role)
    path = f"/api/accounts/{account_id}/members"
    assert (await api.delete(f"{path}/ann", user="bob")).status == 403
    assert (await api.delete(f"{path}/bob?keep_keys=true", user="bob")).status == 403


async def test_an_api_key_does_not_leave_its_account(api: Api) -> None:
    account_id = await new_account(api)
    for scope, status in (("read", 403), ("write", 403), ("admin", 404)):
        key = await bearer(api, account_id, scopes=[scope])
        made = (await api.get(f"/api/keys?account_id={account_id}")).items[-1]
        path = f"/api/accounts/{account_id}/members/key:{made['prefix']}"
        assert (await api.delete(path, user=None, headers=key)).status == status
        assert await is_valid(api, key)


async def test_the_keys_of_a_removed_member_are_revoked_with_those_made_by_them(api: Api) -> None:
    account_id = await new_account(api)
    await api.join(account_id, "bob", "owner")
    ours = await bearer(api, account_id)
    theirs = await bearer(api, account_id, "bob")
    made_by_theirs = await bearer(api, account_id, key=theirs["Authorization"])
    made_by_a_revoked_one = await bearer(api, account_id, key=made_by_theirs["Authorization"], scopes=["read"])
    elsewhere = await bearer(api, await new_account(api, "bob"), "bob")
    middle = (await api.get(f"/api/keys?account_id={account_id}")).items[2]
    assert (await api.delete(f"/api/keys/{middle['id']}")).status == 204
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob")).status == 204
    assert not any([await is_valid(api, key) for key in (theirs, made_by_theirs, made_by_a_revoked_one)])
    assert await is_valid(api, ours) and await is_valid(api, elsewhere)


async def test_keys_of_a_removed_member_are_kept_on_request(api: Api) -> None:
    account_id = await new_account(api)
    await api.join(account_id, "bob", "owner")
    theirs = await bearer(api, account_id, "bob")
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob?keep_keys=yes")).status == 400
    assert (await api.delete(f"/api/accounts/{account_id}/members/bob?keep_keys=true")).status == 204
    assert await is_valid(api, theirs)


@pytest.mark.parametrize(
    ("method", "path", "body", "let_in"),
    [
        ("DELETE", "/api/accounts/{account}/members/bob", None, set()),
        ("PUT", "/api/accounts/{account}/members/bob", {"role": "editor"}, {"cem"}),
        ("DELETE", "/api/keys/{key}", None, {"dora"}),
    ],
    ids=["removed", "demoted", "key revoked"],
)
async def test_who_may_no_longer_invite_lets_nobody_in(
    api: Api, method: str, path: str, body: dict[str, str] | None, let_in: set[str]
) -> None:
    """Otherwise a removed owner could return by an invitation that they made before."""
    account_id = await new_account(api)
    await api.join(account_id, "bob", "owner")
    key = await bearer(api, account_id, "bob")
    made = await api.post(
        f"/api/accounts/{account_id}/members", {"user": "cem", "role": "owner"}, user=None, headers=key
    )
    assert made.status == 201
    invitations = [await api.invite(account_id, "dora", "owner", by="bob")]
    invitations += [one["id"] for one in (await api.get("/api/invitations", user="cem")).items]
    key_id = (await api.get(f"/api/keys?account_id={account_id}")).items[0]["id"]
    assert (await api.call(method, path.format(account=account_id, key=key_id), body)).status < 300
    assert {user for user, _, state in await members(api, account_id) if state == "invited"} == let_in
    answers = {
        user: await answer_to(api, invitation_id, "accept", user)
        for invitation_id, user in zip(invitations, ("dora", "cem"), strict=True)
    }
    assert answers == {"dora": 404, "cem": 404} | dict.fromkeys(let_in, 200)


async def dead_letter(api: Api, account_id: str, user: str) -> str:
    job = await api.new_job(user=user, account_id=account_id, webhook=HOOK)
    execution_id: str = (await api.post(f"/api/jobs/{job['id']}/trigger", user=user)).items[0]["id"]
    sql = "UPDATE executions SET status = 'dead_letter', finished_at = 0 WHERE id = :id"
    await api.service.stores.db.transaction(lambda tx: tx.execute(sql, {"id": execution_id}))
    return execution_id


@pytest.mark.parametrize("what", ["redrive", "purge"])
async def test_a_filter_without_an_account_skips_those_that_are_only_viewed(api: Api, what: str) -> None:
    viewed, edited, own = await new_account(api), await new_account(api), await new_account(api, "bob")
    await api.join(viewed, "bob", "viewer")
    await api.join(edited, "bob", "editor")
    places = [(viewed, "ann"), (edited, "ann"), (own, "bob")]
    letters = [await dead_letter(api, account_id, user) for account_id, user in places]
    path = f"/api/dead-letter/{what}"
    for narrowing in ({}, {"until": "2027-01-01T00:00:00Z"}):
        counted = await api.post(path, {"filter": narrowing, "dry_run": True}, user="bob")
        assert (counted.status, counted.json) == (200, {"count": 2})
    assert (await api.post(path, {"filter": {"account_id": viewed}}, user="bob")).status == 403
    assert (await api.post(path, {"ids": letters}, user="bob")).status == 403
    assert (await api.post(path, {"filter": {}}, user="bob")).json == {"count": 2}
    assert [one["id"] for one in (await api.get("/api/dead-letter", user="bob")).items] == letters[:1]
    read_key = await bearer(api, viewed, scopes=["read"])
    assert (await api.post(path, {"filter": {}}, user=None, headers=read_key)).status == 403
