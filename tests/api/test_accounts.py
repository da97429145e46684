"""Accounts over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api


async def test_an_account_is_created_renamed_and_deleted(api: Api) -> None:
    created = await api.post("/api/accounts", {"name": "Accounting"})
    assert created.status == 201
    account = created.json
    assert account == {
        "id": account["id"],
        "name": "Accounting",
        "role": "owner",
        "created_at": "2026-06-01T00:00:00Z",
        "updated_at": "2026-06-01T00:00:00Z",
        "kept_bytes": 0,
    }
    path = f"/api/accounts/{account['id']}"
    assert (await api.get(path)).json == account
    api.clock.advance(1.5)
    renamed = await api.put(path, {"name": "Books"})
    assert renamed.json == {**account, "name": "Books", "updated_at": "2026-06-01T00:00:01.5Z"}
    assert (await api.get(path)).json == renamed.json
    job = await api.new_job(account_id=account["id"])
    gone = await api.delete(path)
    assert (gone.status, gone.text) == (204, "")
    assert (await api.get(path)).json["error_code"] == "ACCOUNT_NOT_FOUND"
    assert (await api.get(f"/api/jobs/{job['id']}")).status == 404


async def test_accounts_are_listed_oldest_first(api: Api) -> None:
    names = ["one", "two", "three"]
    for name in names:
        await api.post("/api/accounts", {"name": name})
    page = (await api.get("/api/accounts?skip=1")).json
    assert [item["name"] for item in page["items"]] == names[1:]
    assert (page["total"], page["skip"], page["limit"]) == (3, 1, 100)


async def test_a_job_goes_to_the_oldest_account(api: Api) -> None:
    first = (await api.post("/api/accounts", {"name": "one"})).json
    await api.post("/api/accounts", {"name": "two"})
    assert (await api.new_job())["account_id"] == first["id"]


@pytest.mark.parametrize("name", [None, "", " ", 1, True, [], {}, "x" * 256, "a\tb", "\u2066x"])
async def test_a_malformed_name_is_refused(api: Api, name: Any) -> None:
    reply = await api.post("/api/accounts", {"name": name})
    assert (reply.status, list(reply.errors)) == (400, ["name"])


@pytest.mark.parametrize("name", ["x", "x" * 255, "<img src=x onerror=alert(1)>", "名前", " padded ", "e\u0301"])
async def test_names_are_kept_as_they_are_written(api: Api, name: str) -> None:
    assert (await api.post("/api/accounts", {"name": name})).json["name"] == name
