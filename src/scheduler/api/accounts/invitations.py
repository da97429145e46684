"""Invitations over HTTP, as the invited users see them: list, accept, decline. API keys are not invited."""

from __future__ import annotations

from aiohttp import web

from scheduler.api.accounts.documents import account_document, invitation_document
from scheduler.api.accounts.schemas import AccountDocument, InvitationPage
from scheduler.api.auth.access import Caller, missing
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.http.queries import Paging
from scheduler.api.services import QUERY


@operation(
    tag="members",
    summary="List your invitations, oldest first",
    description="For users: an API key is a member of its account and of no other.",
    query=Paging,
    answers={200: InvitationPage},
    refuses=(403,),
)
async def list_invitations(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    caller.check_is_user()
    return await page_answer(await caller.services.invitations.page(caller.user, **query), invitation_document, query)


@operation(
    tag="members",
    summary="Accept an invitation",
    description="You become a member of the account, which the answer has. You may leave it at any time.",
    answers={200: AccountDocument},
    refuses=(403, 404),
)
async def accept_invitation(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    invitation = await caller.invitation(request.match_info["invitation_id"])
    account = await caller.services.invitations.accept(invitation, caller.services.clock.now(), by=caller.actor)
    if account is None:
        raise missing("INVITATION")
    return answer(account_document(account))


@operation(
    tag="members",
    summary="Decline an invitation",
    description="The account may invite you again.",
    answers={204: "The invitation is gone."},
    refuses=(403, 404),
)
async def decline_invitation(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    invitation = await caller.invitation(request.match_info["invitation_id"])
    if not await caller.services.invitations.decline(invitation, by=caller.actor):
        raise missing("INVITATION")
    return web.Response(status=204)
