"""API keys: how they are made, what they may do, when they end, and that only their digest is stored."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from typing import Any

import aiosqlite
import pytest

from scheduler.api.auth.key_cache import ApiKeyCache
from scheduler.api.auth.verification_keys import TokenRefusedError
from scheduler.domain.accounts.api_key import key_digest, key_text
from scheduler.domain.events import Committed, Events
from scheduler.store.accounts.keys import KeyStore
from tests.api.conftest import Api, Reply, Serve
from tests.checks import as_dict, present
from tests.conftest import OpenService, SetClock
from tests.event_log import EventLog

KNOWN = {"id", "account_id", "name", "prefix", "scopes", "created_by", "created_at"}
TIMES = {"last_used_at", "expires_at", "revoked_at"}


async def new_key(api: Api, *scopes: str, **fields: Any) -> Any:
    reply = await api.post("/api/keys", {"name": "robot", "scopes": list(scopes) or ["read"], **fields})
    assert reply.status == 201, reply.text
    return reply.json


async def use(api: Api, key: str, method: str = "GET", path: str = "/api/jobs", body: Any = None) -> Reply:
    return await api.call(method, path, body, user=None, headers={"Authorization": f"Bearer {key}"})


async def test_a_key_is_shown_once_and_kept_as_a_digest(api: Api) -> None:
    made = await new_key(api, "read")
    assert set(made) == {*KNOWN, *TIMES, "key"}
    assert re.fullmatch(r"sk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made["key"])
    assert made["key"].startswith(made["prefix"] + "_")
    assert (made["scopes"], made["created_by"], made["created_at"]) == (["read"], "ann", "2026-06-01T00:00:00Z")
    listed = await api.get("/api/keys")
    secret = made["key"].removeprefix(made["prefix"] + "_")
    assert secret not in listed.text
    assert present(key_digest(made["key"])) not in listed.text
    assert listed.items == [{name: value for name, value in made.items() if name != "key"}]
    rows = [as_dict(row) for row in await api.service.stores.db.fetch_all("SELECT * FROM api_keys")]
    assert secret not in repr(rows)
    assert hashlib.sha256(made["key"].encode()).hexdigest() in repr(rows)
    assert (await new_key(api))["key"] != made["key"]


async def test_a_key_acts_in_its_account_only(api: Api) -> None:
    ours = (await api.post("/api/accounts", {"name": "ours"})).json["id"]
    other = (await api.post("/api/accounts", {"name": "other"})).json["id"]
    elsewhere = await api.new_job(account_id=ours)
    key = (await new_key(api, "admin", account_id=other))["key"]
    job = {"name": "job", "schedule": "0 2 * * *"}
    made = await use(api, key, "POST", "/api/jobs", job)
    assert (made.status, made.json["account_id"]) == (201, other)
    assert (await use(api, key)).json["items"][0]["id"] == made.json["id"]
    assert (await use(api, key, "POST", "/api/jobs", {**job, "account_id": ours})).status == 403
    assert (await use(api, key, path=f"/api/jobs/{elsewhere['id']}")).status == 403
    assert (await use(api, key, path="/api/accounts")).json["total"] == 1
    assert (await use(api, key, "POST", "/api/accounts", {"name": "third"})).status == 403
    assert (await use(api, key, "POST", "/api/keys", {"name": "x", "scopes": ["read"]})).json["account_id"] == other
    assert (await use(api, key, "DELETE", f"/api/accounts/{other}")).status == 204
    assert (await use(api, key)).json["total"] == 0
    api.clock.advance(1)
    assert (await use(api, key)).status == 401


async def test_a_write_key_makes_no_account_of_its_own(api: Api) -> None:
    key = await new_key(api, "write", "read")
    assert key["scopes"] == ["read", "write"]
    made = await use(api, key["key"], "POST", "/api/jobs", {"name": "job", "schedule": "0 2 * * *"})
    assert (made.status, made.json["account_id"]) == (201, key["account_id"])


async def test_a_revoked_key_ends_at_once_and_for_good(api: Api) -> None:
    key = await new_key(api)
    assert (await use(api, key["key"])).status == 200
    api.clock.advance(5)
    assert (await api.delete(f"/api/keys/{key['id']}")).status == 204
    assert (await use(api, key["key"])).status == 401
    assert (await api.get("/api/keys")).json["items"][0]["revoked_at"] == "2026-06-01T00:00:05Z"
    again = await api.delete(f"/api/keys/{key['id']}")
    assert (again.status, again.json["error_code"]) == (404, "NOT_FOUND")
    assert (await api.get("/api/keys")).json["items"][0]["revoked_at"] == "2026-06-01T00:00:05Z"


async def test_a_key_that_another_node_revoked_counts_for_less_than_a_second(api: Api) -> None:
    key = await new_key(api)
    assert (await use(api, key["key"])).status == 200
    await KeyStore(api.service.stores.db, Events()).revoke(key["id"], api.clock.now())
    assert (await use(api, key["key"])).status == 200
    api.clock.advance(1)
    assert (await use(api, key["key"])).status == 401


async def test_a_key_expires_when_it_says(api: Api) -> None:
    key = await new_key(api, expires_at="2026-06-01T00:00:10Z")
    assert key["expires_at"] == "2026-06-01T00:00:10Z"
    api.clock.advance(9.5)
    assert (await use(api, key["key"])).status == 200
    api.clock.advance(0.5)
    assert (await use(api, key["key"])).status == 401


async def test_everything_but_a_key_in_force_is_refused_alike(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scheduler.api.auth.authenticator")
    key = (await new_key(api))["key"]
    prefix, secret = key[:15], key[16:]
    revoked = await new_key(api)
    await api.delete(f"/api/keys/{revoked['id']}")
    expired = await new_key(api, expires_at="2026-06-01T00:00:01Z")
    api.clock.advance(2)
    wrong = [
        prefix,
        f"{prefix}_",
        "sk_",
        key[:-1],
        f"{key}=",
        f"{key}x",
        f"{prefix}_{'A' * 43}",
        f"sk_000000000000_{secret}",
        key.upper(),
        f"{key}, {key}",
        f"x{key}",
        revoked["key"],
        expired["key"],
        "sk_000000000000_' OR 1=1--",
    ]
    replies = [await use(api, text) for text in wrong]
    replies.append(await api.get("/api/jobs", user=None))
    assert {reply.status for reply in replies} == {401}
    assert len({reply.text for reply in replies}) == 1
    assert secret not in caplog.text
    assert (await use(api, key)).status == 200


async def test_only_a_token_header_carries_a_key(api: Api) -> None:
    key = (await new_key(api))["key"]
    assert (await api.get(f"/api/jobs?access_token={key}", user=None)).status == 401
    assert (await api.get("/api/jobs", user=None, headers={"X-API-Key": key})).status == 401


async def test_no_token_speaks_for_a_key(api: Api) -> None:
    key = await new_key(api, "admin")
    assert (await api.get("/api/jobs", user=f"key:{key['prefix']}")).status == 401


async def test_the_last_use_is_written_once_a_minute(api: Api) -> None:
    keys, db = api.service.stores.keys, api.service.stores.db
    key = await new_key(api)
    for _ in range(3):
        api.clock.advance(7)
        await use(api, key["key"])
    stored = "SELECT last_used_at AS at FROM api_keys"
    assert present(await db.fetch_one(stored))["at"] is None
    assert (await api.get("/api/keys")).json["items"][0]["last_used_at"] == "2026-06-01T00:00:21Z"
    await keys.write_uses()
    assert present(await db.fetch_one(stored))["at"] == api.clock.now()
    commits = EventLog(api.service.events, Committed)
    await keys.write_uses()
    assert commits.told == []


async def test_a_stop_writes_the_last_use(open_test_service: OpenService, serve: Serve, clock: SetClock) -> None:
    async with open_test_service() as service, serve(service) as api:
        await service.engine.start()
        key = await new_key(api)
        await use(api, key["key"])
        await service.engine.stop()
        row = await service.stores.db.fetch_one("SELECT last_used_at AS at FROM api_keys")
        assert present(row)["at"] == clock.now()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": ["read", 1]}, "scopes.1"),
        ({"expires_at": "2026-06-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "1999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"account_id": "x"}, "account_id"),
        ({"prefix": "sk_000000000000"}, "prefix"),
    ],
)
async def test_fields_of_a_key_that_are_wrong_are_refused(api: Api, fields: dict[str, Any], field: str) -> None:
    reply = await api.post("/api/keys", {"name": "robot", "scopes": ["read"], **fields})
    assert (reply.status, list(reply.errors)) == (400, [field])
    assert (await api.get("/api/keys")).json["total"] == 0


async def test_a_busy_key_is_read_once_a_second(api: Api, sqlite_connections: list[aiosqlite.Connection]) -> None:
    """Also when the clock is set back."""
    key = (await new_key(api))["key"]
    ring = ApiKeyCache(api.service.stores.keys, api.clock, api.service.events)
    reads: list[str] = []
    await sqlite_connections[1].set_trace_callback(reads.append)
    for step_s, seen in ((0, 1), (0.999, 1), (0.001, 2), (-3600, 3)):
        api.clock.advance(step_s)
        for _ in range(50):
            await ring.key_of(key)
        assert len(reads) == seen, step_s


async def test_no_more_keys_are_remembered_than_there_is_room_for(
    api: Api, sqlite_connections: list[aiosqlite.Connection]
) -> None:
    made = [(await new_key(api))["key"] for _ in range(5)]
    ring = ApiKeyCache(api.service.stores.keys, api.clock, api.service.events, room=3)
    for key in made:
        await ring.key_of(key)
        with pytest.raises(TokenRefusedError, match="no such key"):
            await ring.key_of(key_text("sk_000000000000", secrets.token_urlsafe(32)))
    reads: list[str] = []
    await sqlite_connections[1].set_trace_callback(reads.append)
    for key in made[2:]:
        await ring.key_of(key)
    assert reads == []
    await ring.key_of(made[1])
    assert len(reads) == 1
