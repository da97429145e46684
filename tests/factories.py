"""Records for tests, with defaults for all that a test does not set, and the steps of an execution in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scheduler.domain.accounts.account import Role
from scheduler.domain.accounts.api_key import KEY_MARK, ApiKey, Scope
from scheduler.domain.clock import Instant
from scheduler.domain.events import Events
from scheduler.domain.jobs.changes import change_job
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.timing import Timing, without_timing
from scheduler.domain.runs.execution import Execution, Status, Trigger, run_id_of
from scheduler.domain.runs.firing import Present, start
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.service import Service
from scheduler.store.database import Transaction
from scheduler.store.executions.executions import ExecutionFilter
from scheduler.store.ids import new_id
from scheduler.store.queue.queue import ExecutionQueue
from scheduler.store.stores import Stores
from tests.checks import present
from tests.conftest import SetClock

USER = "ann"


def make_webhook(job_id: str, now: Instant, **fields: Any) -> Webhook:
    chosen = {"url": "http://127.0.0.1:9/hook", "created_at": now, "updated_at": now, **fields}
    return Webhook(id=new_id(now), job_id=job_id, **chosen)


def make_job(account_id: str, now: Instant, **fields: Any) -> Job:
    """A job of a minute's schedule, with its ``next_run_at`` worked out."""
    chosen = {"name": "job", "schedule": "* * * * *", "created_at": now, "updated_at": now, **fields}
    timing = Timing.of(chosen, now=now)
    job = Job(id=new_id(now), account_id=account_id, timing=timing, **without_timing(chosen))
    if "next_run_at" in fields or not job.enabled:
        return job
    return replace(job, next_run_at=job.next_after(now))


async def add_job(
    stores: Stores,
    now: Instant,
    *,
    urls: Sequence[str] = ("http://127.0.0.1:9/hook",),
    user: str = USER,
    account_id: str | None = None,
    webhook: dict[str, Any] | None = None,
    **fields: Any,
) -> Job:
    """A stored job with one webhook per url, of this account or of ``user``'s personal one."""
    account_id = account_id or (await stores.accounts.personal(user=user, now=now)).id
    job = make_job(account_id, now, **fields)
    await stores.jobs.insert([(job, [make_webhook(job.id, now, url=url, **(webhook or {})) for url in urls])])
    return job


def make_key(account_id: str, created_by: str, now: Instant) -> ApiKey:
    """An API key of an owner's scope, whose prefix is its own."""
    key_id = new_id(now)
    prefix = KEY_MARK + key_id.replace("-", "")[-12:]
    return ApiKey(
        id=key_id,
        account_id=account_id,
        prefix=prefix,
        name="key",
        scopes=(Scope.ADMIN,),
        created_by=created_by,
        created_at=now,
    )


async def join(stores: Stores, account_id: str, user: str, role: Role, now: Instant) -> None:
    """Make ``user`` a member, by an invitation that they accept."""
    await stores.invitations.invite(account_id, user, role, now, invited_by=USER)
    (invitation,) = [
        one for one in (await stores.invitations.page(user, skip=0, limit=100)).items if one.account_id == account_id
    ]
    assert await stores.invitations.accept(invitation, now) is not None


async def start_run(stores: Stores, job: Job, now: Instant) -> list[Execution]:
    """A run by hand, as the trigger endpoint starts it."""

    async def write(tx: Transaction) -> list[Execution]:
        found = await stores.due_jobs.lock_one(tx, job.id)
        assert found is not None
        present = Present(now=now, watching_since=now, new_id=lambda: new_id(now), draw=lambda: 0.0)
        firing = start(found.job, found.webhook_ids, present)
        await stores.queue.apply(tx, [firing], now)
        return firing.executions

    return await stores.db.transaction(write)


async def add_run(
    stores: Stores, job: Job, at: Instant, *statuses: Status, scheduled_at: Instant | None = None, last_at: Instant = 0
) -> str:
    """A run of ``at`` with one attempt for each status, the last one made at ``last_at``; returns its id."""
    (webhook,) = await webhooks_of(stores, job)
    run_id = run_id_of(webhook.id, scheduled_at or at)
    attempts = [
        Execution(
            id=new_id(last_at if last_at and number == len(statuses) else at),
            run_id=run_id,
            job_id=job.id,
            account_id=job.account_id,
            webhook_id=webhook.id,
            status=status,
            attempt=number,
            trigger=Trigger.SCHEDULE,
            scheduled_at=scheduled_at or at,
            available_at=at,
            created_at=at,
            budget_at=at,
        )
        for number, status in enumerate(statuses, start=1)
    ]
    await stores.db.transaction(lambda tx: stores.queue.enqueue(tx, attempts))
    return run_id


async def webhooks_of(stores: Stores, job: Job, *, user: str = USER) -> list[Webhook]:
    """The webhooks of a job, oldest first."""
    return (await stores.webhooks.page(user, job_id=job.id, skip=0, limit=1000)).items


async def claim_and_die(stores: Stores, now: Instant, *, node: str = "dead:1:1") -> None:
    """What a node claims that is gone before it has sent anything."""
    if stores.db.is_shared:
        await stores.nodes.join(node, lease_s=3600)
    await ExecutionQueue(stores.db, stores.webhooks, Events(), worker_id=node).claim(now, 10)
    if stores.db.is_shared:
        await stores.nodes.leave(node)


async def rows_of(stores: Stores, job: Job, *, user: str = USER) -> list[Execution]:
    """All executions of a job, oldest first."""
    page = await stores.executions.page(user, ExecutionFilter(job_id=job.id), skip=0, limit=10_000)
    return page.items[::-1]


async def read_job(stores: Stores, job_id: str) -> Job:
    """The job as it is stored now."""
    return present(await stores.jobs.get(job_id))


async def change_stored(stores: Stores, job: Job, now: Instant, **fields: Any) -> Job:
    """Change the stored job as a user does; returns the changed one."""
    return present(await stores.jobs.change(job.id, lambda job: change_job(job, fields, now)))


async def deliver_ready(service: Service) -> None:
    """Claim what is ready, wait until it is delivered, write down how it ended."""
    await service.engine.pool.fill_slots()
    await service.engine.pool.idle()
    await service.engine.recorder.flush()


async def fire_and_deliver(service: Service) -> None:
    """One heartbeat of the trigger loop, then the deliveries that came of it."""
    await service.engine.firer.fire_due(service.clock.now())
    await deliver_ready(service)


async def fire_all(service: Service, clock: SetClock) -> None:
    """Look until nothing is due any more."""
    due_at: Instant | None = clock.now()
    while due_at is not None and due_at <= clock.now():
        due_at = await service.engine.firer.fire_due(clock.now())


async def metric(service: Service, series: str) -> float:
    """The value of a series, such as ``name{label="value"}``; 0 when there is none."""
    text = (await rendered_metrics(service))[0].decode()
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + " ")), 0.0)


async def rendered_metrics(service: Service) -> tuple[bytes, Mapping[str, str]]:
    """What ``/metrics`` shows to a scraper."""
    counts = await service.stores.executions.counts()
    rendered: tuple[bytes, Mapping[str, str]] = service.telemetry.render(
        pool_in_use=service.engine.pool.in_use, counts=counts, waiting_s=0.0, dropped_log_lines=0
    )
    return rendered
