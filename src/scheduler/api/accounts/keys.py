"""API keys over HTTP."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from scheduler.api.accounts.documents import key_document
from scheduler.api.accounts.forms import draft_key
from scheduler.api.accounts.schemas import KeyCreate, KeyCreated, KeyList, KeyPage
from scheduler.api.auth.access import Caller, missing
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.api_key import key_digest


@operation(
    tag="keys",
    summary="Create an API key",
    description="The only answer that shows the key. It is a bearer token like a JWT, for one account: "
    "`read` reads, `write` also changes jobs, webhooks, executions and dead letters, `admin` does what an owner "
    "may. Only owners, and API keys with the scope `admin`, create API keys.",
    body=KeyCreate,
    answers={201: KeyCreated},
    refuses=(403, 404, 409),
)
async def create_key(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    draft, text = draft_key(form, created_by=caller.user, now=now)
    key = replace(draft, account_id=await caller.home(form.get("account_id"), now, need=Role.OWNER))
    most = services.config.limits.keys_per_account
    await services.keys.insert(key, key_digest(text) or "", by=caller.actor, most=most)
    return answer({**key_document(key), "key": text}, 201)


@operation(
    tag="keys",
    summary="List API keys, oldest first",
    description="Without the keys themselves; revoked and expired ones are included.",
    query=KeyList,
    answers={200: KeyPage},
    refuses=(403, 404),
)
async def list_keys(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    await caller.check_account(query.get("account_id"), Role.VIEWER)
    return await page_answer(await caller.services.keys.page(caller.user, **query), key_document, query)


@operation(
    tag="keys",
    summary="Revoke an API key",
    description="It is refused from now on, on other nodes within a second. This cannot be undone.",
    answers={204: "The API key is revoked."},
    refuses=(403, 404),
)
async def revoke_key(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    key = await caller.api_key(request.match_info["key_id"], Role.OWNER)
    revoked = await caller.services.keys.revoke(key.id, caller.services.clock.now(), by=caller.actor)
    if not revoked:
        raise missing("KEY")
    return web.Response(status=204)
