"""Accounts over HTTP."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from scheduler.api.accounts.documents import account_document
from scheduler.api.accounts.schemas import AccountDocument, AccountForm, AccountPage
from scheduler.api.auth.access import Caller
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import Paging
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role


@operation(
    tag="accounts",
    summary="Create an account and become its owner",
    description="For users: an API key acts in its own account and cannot create others.",
    body=AccountForm,
    answers={201: AccountDocument},
    refuses=(403,),
)
async def create_account(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    caller.check_is_user()
    services = caller.services
    account = await services.accounts.create(
        name=request[FORM]["name"],
        user=caller.user,
        now=services.clock.now(),
        by=caller.actor,
        most=services.config.limits.accounts_per_user,
    )
    return answer(account_document(account), 201)


@operation(tag="accounts", summary="List your accounts, oldest first", query=Paging, answers={200: AccountPage})
async def list_accounts(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    return await page_answer(await caller.services.accounts.page(caller.user, **query), account_document, query)


@operation(tag="accounts", summary="Read an account", answers={200: AccountDocument}, refuses=(403, 404))
async def read_account(request: web.Request) -> web.Response:
    return answer(account_document(await Caller.of(request).account(request.match_info["account_id"], Role.VIEWER)))


@operation(
    tag="accounts",
    summary="Rename an account",
    body=AccountForm,
    answers={200: AccountDocument},
    refuses=(403, 404),
)
async def update_account(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    now = caller.services.clock.now()
    account = await caller.account(request.match_info["account_id"], Role.OWNER)
    name = request[FORM]["name"]
    await caller.services.accounts.rename(account.id, name, now, by=caller.actor)
    return answer(account_document(replace(account, name=name, updated_at=now)))


@operation(
    tag="accounts",
    summary="Delete an account with all that it owns",
    answers={204: "The account is deleted."},
    refuses=(403, 404),
)
async def delete_account(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    account = await caller.account(request.match_info["account_id"], Role.OWNER)
    await caller.services.deletions.delete_account(account.id, caller.services.clock.now(), by=caller.actor)
    return web.Response(status=204)
