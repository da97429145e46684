"""Webhooks over HTTP: create, list, read, change, delete, rotate the signing secret."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from scheduler.api.auth.access import Caller, missing
from scheduler.api.http.answers import answer, page_answer
from scheduler.api.http.operation import operation
from scheduler.api.limits.offload import offload_large
from scheduler.api.services import FORM, QUERY
from scheduler.api.webhooks.documents import webhook_document
from scheduler.api.webhooks.forms import change_webhook, new_webhook, rotate_secret, sets_secret
from scheduler.api.webhooks.schemas import (
    SecretRotation,
    WebhookChange,
    WebhookCreate,
    WebhookDocument,
    WebhookList,
    WebhookPage,
)
from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.kept_bytes import Kept, kept_by_webhook, octets
from scheduler.domain.webhooks.webhook import Webhook


@operation(
    tag="webhooks",
    summary="Add a webhook to a job",
    body=WebhookCreate,
    answers={201: WebhookDocument},
    refuses=(403, 404, 409),
)
async def create_webhook(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services = caller.services
    job = await caller.job(form["job_id"], Role.EDITOR)
    now = services.clock.now()
    webhook = await offload_large(
        request, lambda: new_webhook(form, job_id=job.id, egress=services.egress, tls=services.tls, now=now)
    )
    kept = kept_by_webhook(webhook)
    await services.kept_bytes.check_room({job.account_id: kept})
    await services.webhooks.insert(webhook, by=caller.actor)
    services.kept_bytes.add(job.account_id, Kept(total=kept))
    return answer(webhook_document(webhook, reveal=True), 201)


@operation(
    tag="webhooks",
    summary="List webhooks, oldest first",
    query=WebhookList,
    answers={200: WebhookPage},
    refuses=(403, 404),
)
async def list_webhooks(request: web.Request) -> web.Response:
    caller, query = Caller.of(request), request[QUERY]
    if "job_id" in query:
        await caller.job(query["job_id"], Role.VIEWER)
    return await page_answer(await caller.services.webhooks.page(caller.user, **query), webhook_document, query)


@operation(tag="webhooks", summary="Read a webhook", answers={200: WebhookDocument}, refuses=(403, 404))
async def read_webhook(request: web.Request) -> web.Response:
    return answer(webhook_document(await Caller.of(request).webhook(request.match_info["webhook_id"], Role.VIEWER)))


@operation(
    tag="webhooks",
    summary="Change a webhook",
    description="Partial: what is absent stays, null clears what may be null. With another scheme, host or port in "
    "`url`, headers that are shown as `***` are written anew in the same request, or dropped.",
    body=WebhookChange,
    answers={200: WebhookDocument},
    refuses=(403, 404),
)
async def update_webhook(request: web.Request) -> web.Response:
    services, form = Caller.of(request).services, request[FORM]
    now = services.clock.now()
    webhook = await _changed(
        request,
        lambda webhook: change_webhook(webhook, form, egress=services.egress, tls=services.tls, now=now),
        template=form.get("body_template"),
    )
    return answer(webhook_document(webhook, reveal=sets_secret(form)))


@operation(
    tag="webhooks",
    summary="Give a webhook a new signing secret",
    description="The answer shows it, once. Until `overlap_s` has passed, requests carry one signature by the new "
    "secret and one by each before it, so that receivers change over without losing a request. A webhook that has no "
    "secret gets its first.",
    body=SecretRotation,
    answers={200: WebhookDocument},
    refuses=(403, 404),
)
async def rotate_webhook_secret(request: web.Request) -> web.Response:
    overlap_s, now = request[FORM]["overlap_s"], Caller.of(request).services.clock.now()
    webhook = await _changed(
        request, lambda webhook: rotate_secret(webhook, overlap_s=overlap_s, now=now), rotates=True
    )
    return answer(webhook_document(webhook, reveal=True))


async def _changed(
    request: web.Request, change: Callable[[Webhook], Webhook], *, rotates: bool = False, template: str | None = None
) -> Webhook:
    """The changed webhook. A new ``template`` may be larger than the present one as far as its account has room."""
    caller = Caller.of(request)
    before = await caller.webhook(request.match_info["webhook_id"], Role.EDITOR)
    # A large template is refused, or compiled for the transaction, in a thread.
    await offload_large(request, lambda: change(before))
    if (grown := octets(template) - octets(before.body_template)) > 0:
        await _take_room(caller, before, grown)
    webhook = await caller.services.webhooks.change(before.id, change, by=caller.actor, rotates=rotates)
    if webhook is None:
        raise missing("WEBHOOK")
    return webhook


async def _take_room(caller: Caller, webhook: Webhook, grown: int) -> None:
    """Count that a webhook grows. Raises ``RATE_LIMITED`` when its account has no room for that."""
    services = caller.services
    if (account_id := await services.webhooks.account_of(webhook.id)) is not None:
        await services.kept_bytes.check_room({account_id: grown})
        services.kept_bytes.add(account_id, Kept(total=grown))


@operation(
    tag="webhooks",
    summary="Delete a webhook",
    description="What was queued for it is cancelled; its history stays.",
    answers={204: "The webhook is deleted."},
    refuses=(403, 404),
)
async def delete_webhook(request: web.Request) -> web.Response:
    caller = Caller.of(request)
    webhook = await caller.webhook(request.match_info["webhook_id"], Role.EDITOR)
    if not await caller.services.webhooks.delete(webhook.id, caller.services.clock.now(), by=caller.actor):
        raise missing("WEBHOOK")
    return web.Response(status=204)
