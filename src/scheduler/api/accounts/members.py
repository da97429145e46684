"""The members of an account over HTTP."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.accounts.documents import member_document
from scheduler.api.accounts.schemas import MemberChange, MemberDocument, MemberForm, MemberPage, MemberRemoval
from scheduler.api.auth.access import Caller, missing
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import Paging
from scheduler.api.services import FORM, QUERY
from scheduler.domain.accounts.account import Role
from scheduler.domain.errors import SchedulerError
from scheduler.store.accounts.invitations import NotInvited
from scheduler.store.accounts.members import Refusal


@operation(
    tag="members",
    summary="List the members of an account",
    query=Paging,
    answers={200: MemberPage},
    refuses=(403, 404),
)
async def list_members(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    account = await caller.account(request.match_info["account_id"], Role.VIEWER)
    return await page_answer(await caller.services.members.page(account.id, **query), member_document, query)


@operation(
    tag="members",
    summary="Invite a user to an account",
    description="They become a member when they accept; until then the invitation has no effect. A `viewer` "
    "reads; an `editor` also changes jobs, webhooks, executions and dead letters; an `owner` also the account, its "
    "members and its API keys.",
    body=MemberForm,
    answers={201: MemberDocument},
    refuses=(403, 404, 409),
)
async def add_member(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    account = await caller.account(request.match_info["account_id"], Role.OWNER)
    invited = await caller.services.invitations.invite(
        account.id,
        form["user"],
        form["role"],
        caller.services.clock.now(),
        invited_by=caller.user,
        by=caller.actor,
    )
    if isinstance(invited, NotInvited):
        raise _error_of_invitation(invited)
    return answer(member_document(invited), 201)


@operation(
    tag="members",
    summary="Give a member another role",
    body=MemberChange,
    answers={200: MemberDocument},
    refuses=(403, 404, 409),
)
async def change_member(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    account = await caller.account(request.match_info["account_id"], Role.OWNER)
    member = await caller.services.members.change(account.id, request.match_info["user"], form["role"], by=caller.actor)
    if isinstance(member, Refusal):
        raise _error_of(member)
    return answer(member_document(member))


@operation(
    tag="members",
    summary="Remove a member from an account, or leave it",
    description="Owners remove members and take invitations back; everybody may leave. The last owner can do neither. "
    "API keys that the member made, and those made with these keys, are revoked.",
    query=MemberRemoval,
    answers={204: "This user is no longer a member, or no longer invited."},
    refuses=(403, 404, 409),
)
async def remove_member(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    user, keep_keys = request.match_info["user"], request[QUERY]["keep_keys"]
    is_leaving = caller.key is None and user == caller.user and not keep_keys
    account = await caller.account(request.match_info["account_id"], Role.VIEWER if is_leaving else Role.OWNER)
    refusal = await caller.services.members.remove(
        account.id, user, caller.services.clock.now(), keep_keys=keep_keys, by=caller.actor
    )
    if refusal is not None:
        raise _error_of(refusal)
    return web.Response(status=204)


def _error_of(refusal: Refusal) -> SchedulerError:
    if refusal is Refusal.NO_MEMBER:
        return missing("MEMBER")
    return SchedulerError("CONFLICT", "an account needs an owner: make somebody else one first")


def _error_of_invitation(reason: NotInvited) -> SchedulerError:
    if reason is NotInvited.NO_ACCOUNT:
        return missing("ACCOUNT")
    if reason is NotInvited.INVITED:
        return SchedulerError("CONFLICT", "this user is invited already: take that back with DELETE first")
    return SchedulerError("CONFLICT", "this user is a member already: change the role with PUT")
