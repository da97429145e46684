"""Creates jobs over HTTP, together with their first webhooks: the one module that joins two nouns of the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web
from marshmallow import fields

from scheduler.api.auth.access import Caller
from scheduler.api.http.answers import Answer, Document, answer, documents_of, items_answer, list_of
from scheduler.api.http.errors import errors_under
from scheduler.api.http.fields import MOST_AT_ONCE, Body, DomainText, Items, Name, Part
from scheduler.api.http.operation import operation
from scheduler.api.jobs.documents import job_document
from scheduler.api.jobs.schemas import JobChange, JobDocument
from scheduler.api.limits.offload import offload_large
from scheduler.api.services import FORM, Services
from scheduler.api.webhooks.documents import webhook_document
from scheduler.api.webhooks.forms import Form, new_webhook
from scheduler.api.webhooks.schemas import NestedWebhook, WebhookDocument
from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.kept_bytes import Kept, kept_by_job
from scheduler.domain.clock import Instant
from scheduler.domain.jobs import changes
from scheduler.domain.jobs.job import Job
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.tls import TlsContexts
from scheduler.store.ids import new_id

Entry = tuple[Job, list[Webhook]]
"""A new job with its first webhook, if it has one."""


class JobCreate(JobChange):
    """A job, and its first webhook if it is to have one."""

    name = Name(required=True, metadata={"example": "nightly report"})
    schedule = DomainText(required=True, metadata=JobChange._declared_fields["schedule"].metadata)
    webhook = Part(NestedWebhook)


class JobBulk(Body):
    """Jobs that are all created or none."""

    jobs = Items(Part(JobCreate), fewest=1, most=MOST_AT_ONCE, required=True)


class JobWithWebhook(JobDocument):
    """A new job with the webhook that was created in the same call."""

    webhook = fields.Nested(WebhookDocument)


class JobsCreated(Answer):
    items = list_of(JobWithWebhook)


@operation(
    tag="jobs",
    summary="Create a job",
    description="With `webhook` its first webhook is created in the same transaction and answered with it.",
    body=JobCreate,
    answers={201: JobWithWebhook},
    refuses=(403, 404, 409),
)
async def create_job(request: web.Request) -> web.Response:
    caller, form = Caller.of(request), request[FORM]
    services, now = caller.services, caller.services.clock.now()
    await caller.check_account(form.get("account_id"), Role.EDITOR)
    draft, webhooks = await offload_large(
        request, lambda: draft_job(form, egress=services.egress, tls=services.tls, now=now)
    )
    job = replace(draft, account_id=await caller.home(form.get("account_id"), now))
    await _insert(caller, [(job, webhooks)])
    return answer(created_job_document(job, webhooks), 201)


@operation(
    tag="jobs",
    summary="Create up to 1,000 jobs, all or none",
    body=JobBulk,
    answers={201: JobsCreated},
    refuses=(403, 404, 409),
)
async def create_jobs(request: web.Request) -> web.Response:
    caller, forms = Caller.of(request), request[FORM]["jobs"]
    await _check_accounts(caller, forms)
    drafts = await offload_large(request, lambda: _drafts(caller.services, forms))
    entries = await _with_accounts(caller, forms, drafts)
    await _insert(caller, entries)
    return items_answer(await documents_of(entries, lambda entry: created_job_document(*entry)), 201)


async def _insert(caller: Caller, entries: Sequence[Entry]) -> None:
    """Store new jobs, if their accounts may have so many and may keep what they hold."""
    services, limits = caller.services, caller.services.config.limits
    kept: dict[str, int] = {}
    for job, webhooks in entries:
        kept[job.account_id] = kept.get(job.account_id, 0) + kept_by_job(job, webhooks)
    await services.kept_bytes.check_room(kept)
    await services.jobs.insert(
        entries, by=caller.actor, per_account=limits.jobs_per_account, per_user=limits.jobs_per_user
    )
    for account_id, total in kept.items():
        services.kept_bytes.add(account_id, Kept(total=total))


async def _check_accounts(caller: Caller, forms: Sequence[Form]) -> None:
    for account_id in {form["account_id"] for form in forms if "account_id" in form}:
        await caller.account(account_id, Role.EDITOR)


def _drafts(services: Services, forms: Sequence[Form]) -> list[Entry]:
    now = services.clock.now()
    return [
        draft_job(form, egress=services.egress, tls=services.tls, now=now, path=f"jobs.{position}")
        for position, form in enumerate(forms)
    ]


async def _with_accounts(caller: Caller, forms: Sequence[Form], drafts: Sequence[Entry]) -> list[Entry]:
    """The drafts in the accounts that their forms name, or in the one that gets what names none."""
    home = ""
    if any("account_id" not in form for form in forms):
        home = await caller.home(None, caller.services.clock.now())
    return [
        (replace(job, account_id=form.get("account_id", home)), webhooks)
        for form, (job, webhooks) in zip(forms, drafts, strict=True)
    ]


def draft_job(form: Form, *, egress: Egress, tls: TlsContexts, now: Instant, path: str = "") -> Entry:
    """The job of a form, without its account, and the webhook nested in the form. Errors are ``under`` the path.

    The account is looked up last, so that a user's first account is created only when nothing else can fail.
    """
    fields = {name: value for name, value in form.items() if name not in ("webhook", "account_id")}
    with errors_under(path):
        job = changes.create_job(fields, job_id=new_id(now), account_id="", now=now)
        if "webhook" not in form:
            return job, []
        with errors_under("webhook"):
            return job, [new_webhook(form["webhook"], job_id=job.id, egress=egress, tls=tls, now=now)]


def created_job_document(job: Job, webhooks: Sequence[Webhook]) -> Document:
    """A new job with its first webhook, whose signing secret no other answer shows."""
    document = job_document(job)
    if webhooks:
        document["webhook"] = webhook_document(webhooks[0], reveal=True)
    return document
