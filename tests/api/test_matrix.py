"""Which caller may do what: each operation of the document with each kind of caller. One without a rule fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from scheduler.api.app import openapi_document
from scheduler.domain.clock import SystemClock
from tests.api.conftest import Api, Reply, Serve
from tests.api.test_tenancy import filled
from tests.checks import as_dict
from tests.conftest import OpenService


class Need(Enum):
    """Who may do it; the others are refused, and nothing changes."""

    NOTHING = frozenset(
        (
            "no token",
            "stranger",
            "invited",
            "viewer",
            "editor",
            "owner",
            "foreign key",
            "read key",
            "write key",
            "admin key",
        )
    )
    TOKEN = NOTHING - {"no token"}
    PERSON = frozenset(("stranger", "invited", "viewer", "editor", "owner"))
    INVITED = frozenset(("invited",))
    VIEWER = TOKEN - {"stranger", "invited", "foreign key"}
    EDITOR = VIEWER - {"viewer", "read key"}
    OWNER = frozenset(("owner", "admin key"))


CALLERS = sorted(Need.NOTHING.value)


@dataclass(frozen=True)
class Rule:
    """What an operation needs and how it is called; ``uses_up`` is what must be made anew for each call."""

    need: Need
    body: Any = None
    query: str = ""
    uses_up: str = ""


JOB = {"name": "job", "schedule": "0 2 * * *", "account_id": "{account_id}"}
WEBHOOK = {"job_id": "{job_id}", "url": "https://example.com/hook"}
PAST = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "dry_run": True}
MATRIX = {
    "list_accounts": Rule(Need.TOKEN),
    "create_account": Rule(Need.PERSON, {"name": "another"}),
    "read_account": Rule(Need.VIEWER),
    "update_account": Rule(Need.OWNER, {"name": "renamed"}),
    "delete_account": Rule(Need.OWNER, uses_up="account"),
    "list_members": Rule(Need.VIEWER),
    "add_member": Rule(Need.OWNER, {"user": "new", "role": "viewer"}, uses_up="newcomer"),
    "change_member": Rule(Need.OWNER, {"role": "editor"}),
    "remove_member": Rule(Need.OWNER, uses_up="member"),
    "list_invitations": Rule(Need.PERSON),
    "accept_invitation": Rule(Need.INVITED, uses_up="invitation"),
    "decline_invitation": Rule(Need.INVITED, uses_up="invitation"),
    "list_keys": Rule(Need.VIEWER, query="account_id={account_id}"),
    "create_key": Rule(Need.OWNER, {"name": "key", "scopes": ["admin"], "account_id": "{account_id}"}),
    "revoke_key": Rule(Need.OWNER, uses_up="key"),
    "list_jobs": Rule(Need.VIEWER, query="account_id={account_id}"),
    "create_job": Rule(Need.EDITOR, JOB),
    "create_jobs": Rule(Need.EDITOR, {"jobs": [JOB, JOB]}),
    "read_job": Rule(Need.VIEWER),
    "update_job": Rule(Need.EDITOR, {"name": "renamed"}),
    "delete_job": Rule(Need.EDITOR, uses_up="job"),
    "enable_job": Rule(Need.EDITOR),
    "disable_job": Rule(Need.EDITOR, {"note": "why"}),
    "trigger_job": Rule(Need.EDITOR),
    "list_job_executions": Rule(Need.VIEWER),
    "explain_time": Rule(Need.VIEWER, query="at=2026-06-01T02:00:00Z"),
    "backfill_job": Rule(Need.EDITOR, PAST),
    "preview_schedule": Rule(Need.TOKEN, query="schedule=@daily"),
    "list_upcoming": Rule(Need.VIEWER, query="account_id={account_id}"),
    "list_webhooks": Rule(Need.VIEWER, query="job_id={job_id}"),
    "create_webhook": Rule(Need.EDITOR, WEBHOOK),
    "read_webhook": Rule(Need.VIEWER),
    "update_webhook": Rule(Need.EDITOR, {"timeout_s": 5}),
    "delete_webhook": Rule(Need.EDITOR, uses_up="job"),
    "rotate_webhook_secret": Rule(Need.EDITOR),
    "list_executions": Rule(Need.VIEWER, query="account_id={account_id}"),
    "read_execution": Rule(Need.VIEWER),
    "retry_execution": Rule(Need.EDITOR, uses_up="cancelled"),
    "cancel_execution": Rule(Need.EDITOR, uses_up="job"),
    "list_dead_letter": Rule(Need.VIEWER, query="account_id={account_id}"),
    "redrive_dead_letter": Rule(Need.EDITOR, {"filter": {"account_id": "{account_id}"}}),
    "purge_dead_letter": Rule(Need.EDITOR, {"filter": {"job_id": "{job_id}"}}),
    "list_audit": Rule(Need.OWNER, query="account_id={account_id}"),
    "health": Rule(Need.NOTHING),
    "health_detailed": Rule(Need.NOTHING),
    "live": Rule(Need.NOTHING),
    "ready": Rule(Need.NOTHING),
    "metrics": Rule(Need.TOKEN),
    "openapi": Rule(Need.NOTHING),
}
UNTOUCHED = ("accounts", "members", "invitations", "api_keys", "jobs", "webhooks", "executions")


@dataclass
class World:
    """An account with one member of each role, one key of each scope, and one of each thing."""

    api: Api
    ids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    async def make(self, what: str) -> None:
        """Make something anew, whatever was left of the last one."""
        await {
            "account": self._account,
            "newcomer": self._no_newcomer,
            "member": self._member,
            "invitation": self._invitation,
            "key": self._key,
            "job": self._job,
            "cancelled": self._cancelled,
        }[what]()

    async def call(self, caller: str, method: str, path: str, rule: Rule) -> Reply:
        headers = {"Authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}
        user = None if caller == "no token" or headers else caller
        query = f"?{rule.query}" if rule.query else ""
        return await self.api.call(
            method, (path + query).format(**self.ids), filled(rule.body, self.ids), user=user, headers=headers
        )

    async def rows(self) -> list[Any]:
        db = self.api.service.stores.db
        return [[as_dict(row) for row in await db.fetch_all(f"SELECT * FROM {table}")] for table in UNTOUCHED]

    async def _account(self) -> None:
        account = await self._made("/api/accounts", {"name": "ours"})
        self.ids = {"account_id": account["id"], "user": "mia"}
        for user, role in (("viewer", "viewer"), ("editor", "editor")):
            await self.api.join(account["id"], user, role, by="owner")
        for scope in ("read", "write", "admin"):
            body = {"name": scope, "scopes": [scope], "account_id": account["id"]}
            self.keys[f"{scope} key"] = (await self._made("/api/keys", body))["key"]
        foreign = await self.api.post("/api/keys", {"name": "theirs", "scopes": ["admin"]}, user="stranger")
        self.keys["foreign key"] = foreign.json["key"]
        for what in ("member", "invitation", "key", "job"):
            await self.make(what)

    async def _no_newcomer(self) -> None:
        path = f"/api/accounts/{self.ids['account_id']}/members/new"
        assert (await self.api.delete(path, user="owner")).status in (204, 404)

    async def _member(self) -> None:
        present = (await self.api.get(f"/api/accounts/{self.ids['account_id']}/members", user="owner")).items
        if "mia" not in {one["user"] for one in present}:
            await self.api.join(self.ids["account_id"], "mia", "viewer", by="owner")

    async def _invitation(self) -> None:
        path = f"/api/accounts/{self.ids['account_id']}/members/invited"
        assert (await self.api.delete(path, user="owner")).status in (204, 404)
        self.ids["invitation_id"] = await self.api.invite(self.ids["account_id"], "invited", "owner", by="owner")

    async def _key(self) -> None:
        body = {"name": "spare", "scopes": ["read"], "account_id": self.ids["account_id"]}
        self.ids["key_id"] = (await self._made("/api/keys", body))["id"]

    async def _job(self) -> None:
        secret = {"signing_secret": "generate"}
        job = await self._made("/api/jobs", filled({**JOB, "webhook": {"url": WEBHOOK["url"], **secret}}, self.ids))
        reply = await self.api.post(f"/api/jobs/{job['id']}/trigger", user="owner")
        self.ids |= {
            "job_id": job["id"],
            "webhook_id": job["webhook"]["id"],
            "execution_id": reply.json["items"][0]["id"],
        }

    async def _cancelled(self) -> None:
        await self._job()
        reply = await self.api.post(f"/api/executions/{self.ids['execution_id']}/cancel", user="owner")
        assert reply.status == 200, reply.text

    async def _made(self, path: str, body: Any) -> Any:
        reply = await self.api.post(path, body, user="owner")
        assert reply.status == 201, reply.text
        return reply.json


def operations() -> Iterator[tuple[str, str, str, set[int]]]:
    """Each operation of the document: its rule's name, how it is called, and the statuses of its success."""
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            succeeds = {int(status) for status in operation["responses"] if status < "300"}
            yield operation["operationId"].removesuffix("_alias"), method.upper(), path, succeeds


def test_the_matrix_has_every_operation_of_the_document_and_no_other() -> None:
    assert {name for name, *_ in operations()} == set(MATRIX)


def test_everything_that_can_be_narrowed_to_an_account_is() -> None:
    """Or strangers would be answered with a list of their own, which proves little."""
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            rule = MATRIX[operation["operationId"].removesuffix("_alias")]
            named = {parameter["name"] for parameter in operation["parameters"]}
            narrowed = re.findall(r"(account_id|job_id)=", rule.query)
            assert narrowed or "account_id" not in named or "{account_id}" in path, (method, path)


async def test_everybody_may_do_what_the_matrix_says_and_nothing_else(
    open_test_service: OpenService, serve: Serve
) -> None:
    async with open_test_service(clock=SystemClock()) as service, serve(service) as api:
        service.engine.trigger_loop.start()
        world = World(api)
        await world.make("account")
        wrong = [line for operation in operations() async for line in mistakes(world, *operation)]
        service.engine.trigger_loop.stop()
    assert wrong == []


async def mistakes(world: World, name: str, method: str, path: str, succeeds: set[int]) -> Any:
    rule = MATRIX[name]
    if rule.uses_up:
        await world.make(rule.uses_up)
    before = await world.rows()
    for caller in CALLERS:
        if caller not in rule.need.value:
            reply = await world.call(caller, method, path, rule)
            wanted = (401, "UNAUTHORIZED") if caller == "no token" else (403, "FORBIDDEN")
            if (reply.status, reply.json["error_code"] if reply.status >= 400 else None) != wanted:
                yield f"{caller}: {method} {path}: {reply.status}, not {wanted}: {reply.text[:200]}"
    if await world.rows() != before:
        yield f"{method} {path}: a refused request changed something"
    for caller in CALLERS:
        if caller in rule.need.value:
            if rule.uses_up:
                await world.make(rule.uses_up)
            reply = await world.call(caller, method, path, rule)
            if reply.status not in succeeds:
                yield f"{caller}: {method} {path}: {reply.status}, not {succeeds}: {reply.text[:200]}"
            if caller in ("stranger", "foreign key") and any(
                one in reply.text for one in world.ids.values() if len(one) > 30
            ):
                yield f"{caller}: {method} {path}: sees what is ours: {reply.text[:200]}"
    if rule.uses_up:
        await world.make(rule.uses_up)
