"""Two nodes that change the same rows at the same moment, on Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from scheduler.domain.accounts.account import Invitation, Member, Role
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events, KeysRevoked
from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome, Status, settle
from scheduler.domain.runs.firing import Present, start
from scheduler.store.accounts.invitations import MOST_INVITATIONS, NotInvited
from scheduler.store.accounts.members import Refusal
from scheduler.store.database import Transaction
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.pruning import Edge
from scheduler.store.ids import new_id
from scheduler.store.jobs.job_filter import JobFilter
from scheduler.store.postgres.database import PostgresDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.conftest import SECRET_KEY, SetClock
from tests.event_log import EventLog
from tests.factories import USER, add_job, add_run, join, make_job, make_key, rows_of, start_run, webhooks_of

BROKEN = Outcome(error_code=ErrorCode.HTTP, error_text="Broken", response_code=500)


@pytest.fixture
async def nodes(postgres_url: str, events: Events) -> AsyncIterator[tuple[Stores, Stores]]:
    async with AsyncExitStack() as stack:
        found = []
        for name in ("one:1:1", "two:2:2"):
            db = await PostgresDatabase.open(postgres_url, pool_size=8)
            stack.push_async_callback(db.close)
            stores = Stores.over(db, vault=Vault(SECRET_KEY), worker_id=name, events=events)
            await stores.nodes.join(name, lease_s=3600)
            found.append(stores)
        yield found[0], found[1]


async def test_a_new_user_has_one_personal_account(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for user in ("ann", "bob", "cem"):
        made = await asyncio.gather(*(node.accounts.personal(user=user, now=clock.now()) for node in nodes * 5))
        assert len({account.id for account in made}) == 1


@pytest.mark.parametrize("quota", [(5, 0), (0, 5)], ids=["of an account", "of a user"])
async def test_a_quota_holds_across_nodes(
    nodes: tuple[Stores, Stores], clock: SetClock, quota: tuple[int, int]
) -> None:
    per_account, per_user = quota
    account = await nodes[0].accounts.personal(user=USER, now=clock.now())
    made = await asyncio.gather(
        *(
            node.jobs.insert([(make_job(account.id, clock.now()), [])], per_account=per_account, per_user=per_user)
            for node in nodes * 8
        ),
        return_exceptions=True,
    )
    refused = [error for error in made if isinstance(error, SchedulerError) and error.code == "RATE_LIMITED"]
    assert len(refused) == 11
    assert (await nodes[0].jobs.page(USER, JobFilter(), skip=0, limit=100)).total == 5


async def test_an_account_keeps_an_owner(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for number in range(5):
        account = await nodes[0].accounts.create(name=f"{number}", user="ann", now=clock.now())
        await join(nodes[0], account.id, "bob", Role.OWNER, clock.now())
        ended = await asyncio.gather(
            nodes[0].members.change(account.id, "ann", Role.VIEWER),
            nodes[1].members.remove(account.id, "bob", clock.now()),
        )
        assert Refusal.LAST_OWNER in ended
        people = (await nodes[0].members.page(account.id, skip=0, limit=10)).items
        assert [one.role for one in people].count(Role.OWNER) == 1


async def test_two_last_owners_do_not_both_leave(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for number in range(10):
        account = await nodes[0].accounts.create(name=f"{number}", user="ann", now=clock.now())
        await join(nodes[0], account.id, "bob", Role.OWNER, clock.now())
        ended = await asyncio.gather(
            nodes[0].members.remove(account.id, "ann", clock.now()),
            nodes[1].members.remove(account.id, "bob", clock.now()),
        )
        assert sorted(ended, key=str) == [None, Refusal.LAST_OWNER]
        assert (await nodes[0].members.page(account.id, skip=0, limit=10)).total == 1


async def invited(stores: Stores, clock: SetClock, user: str) -> Invitation:
    account = await stores.accounts.create(name="ours", user=USER, now=clock.now())
    await stores.invitations.invite(account.id, user, Role.EDITOR, clock.now(), invited_by=USER)
    return (await stores.invitations.page(user, skip=0, limit=1)).items[0]


async def test_an_invitation_is_answered_once(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for number in range(10):
        invitation = await invited(nodes[0], clock, f"user {number}")
        accepted = await asyncio.gather(*(node.invitations.accept(invitation, clock.now()) for node in nodes * 3))
        assert len([account for account in accepted if account is not None]) == 1
        other = await invited(nodes[0], clock, f"other {number}")
        answers = await asyncio.gather(
            nodes[0].invitations.accept(other, clock.now()), nodes[1].invitations.decline(other)
        )
        role = await nodes[0].accounts.role_of(other.account_id, other.user)
        assert (answers[0] is not None, answers[1]) == (role is not None, role is None)


async def test_an_invitation_is_accepted_or_taken_back(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    """Whoever comes first; one who had accepted before is removed then."""
    for number in range(10):
        invitation = await invited(nodes[0], clock, f"user {number}")
        works = [
            nodes[0].invitations.accept(invitation, clock.now()),
            nodes[1].members.remove(invitation.account_id, invitation.user, clock.now()),
        ]
        await asyncio.gather(*(works if number % 2 else reversed(works)))
        people = (await nodes[0].members.page(invitation.account_id, skip=0, limit=10)).items
        assert [one.user for one in people] == [USER]
        assert await nodes[0].accounts.role_of(invitation.account_id, invitation.user) is None


async def test_nobody_is_invited_twice_or_beyond_the_most(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    account = await nodes[0].accounts.create(name="ours", user=USER, now=clock.now())

    async def invite(node: Stores, user: str) -> Member | NotInvited:
        return await node.invitations.invite(account.id, user, Role.VIEWER, clock.now(), invited_by=USER)

    twice = await asyncio.gather(*(invite(node, "bob") for node in nodes * 3))
    assert len([one for one in twice if isinstance(one, Member)]) == 1
    users = [f"user {number}" for number in range(MOST_INVITATIONS + 9)]
    made = await asyncio.gather(
        *(invite(nodes[number % 2], user) for number, user in enumerate(users)), return_exceptions=True
    )
    assert [error.code for error in made if isinstance(error, SchedulerError)] == ["RATE_LIMITED"] * 10
    assert (await nodes[0].members.page(account.id, skip=0, limit=1)).total == 1 + MOST_INVITATIONS


async def test_an_invitation_goes_with_its_account(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for number in range(10):
        invitation = await invited(nodes[0], clock, f"user {number}")
        works = [
            nodes[0].invitations.accept(invitation, clock.now()),
            nodes[1].deletions.delete_account(invitation.account_id, clock.now(), by=Actor(name=USER, at=clock.now())),
        ]
        await asyncio.gather(*(works if number % 2 else reversed(works)))
        assert (await nodes[0].accounts.page(invitation.user, skip=0, limit=1)).total == 0
        assert (await nodes[0].invitations.page(invitation.user, skip=0, limit=1)).total == 0


async def test_a_key_is_revoked_once_by_its_removed_maker_or_alone(
    nodes: tuple[Stores, Stores], clock: SetClock, events: Events
) -> None:
    revocations = EventLog(events, KeysRevoked)
    for number in range(10):
        account = await nodes[0].accounts.create(name=f"{number}", user=USER, now=clock.now())
        await join(nodes[0], account.id, "bob", Role.OWNER, clock.now())
        key = make_key(account.id, "bob", clock.now())
        await nodes[0].keys.insert(key, f"digest {key.id}")
        await nodes[0].invitations.invite(account.id, "cem", Role.OWNER, clock.now(), invited_by=key.principal)
        await asyncio.gather(
            nodes[0].members.remove(account.id, "bob", clock.now()), nodes[1].keys.revoke(key.id, clock.now())
        )
        assert [event.key_ids for event in revocations.told[number:]] == [[key.id]]
        assert [one.user for one in (await nodes[0].members.page(account.id, skip=0, limit=9)).items] == [USER]


async def fail_all(stores: Stores, job: Job, clock: SetClock) -> None:
    claims = await stores.queue.claim(clock.now(), 100)
    ends = [settle(claim.execution, BROKEN, clock.now(), policy=claim.policy) for claim in claims]
    await stores.queue.settle(ends, clock.now())


async def test_a_dead_letter_is_redriven_once(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    job = await add_job(nodes[0], clock.now(), retry=RetryPolicy(max_attempts=1), auto_disable=False)
    for _ in range(10):
        await start_run(nodes[0], job, clock.now())
    await fail_all(nodes[0], job, clock)
    dead = tuple(row.id for row in await rows_of(nodes[0], job))
    counts = await asyncio.gather(
        *(node.dead_letters.redrive(USER, Selection(ids=dead), clock.now(), dry_run=False) for node in nodes * 2)
    )
    assert sum(counts) == 10
    rows = await rows_of(nodes[0], job)
    assert sorted((row.run_id, row.attempt) for row in rows) == sorted({(row.run_id, row.attempt) for row in rows})
    assert [row.status for row in rows].count(Status.QUEUED) == 10


async def test_nothing_of_a_paused_job_starts(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    """A retry that is queued while its job is being paused is held like the others."""
    for number in range(20):
        job = await add_job(nodes[0], clock.now(), retry=RetryPolicy(max_attempts=3, delays=(0,), jitter=0))
        await start_run(nodes[0], job, clock.now())
        (claim,) = await nodes[0].queue.claim(clock.now(), 1)
        end = settle(claim.execution, BROKEN, clock.now(), policy=claim.policy)

        def pause(job: Job) -> Job:
            return replace(job, enabled=False, next_run_at=None)

        works = [nodes[0].queue.settle([end], clock.now()), nodes[1].jobs.change(job.id, pause)]
        await asyncio.gather(*(works if number % 2 else reversed(works)))
        clock.advance(1)
        assert await nodes[1].queue.claim(clock.now(), 10) == []
        await nodes[0].deletions.delete_job(job.id, clock.now())


async def test_settling_goes_on_where_a_job_is_deleted_meanwhile(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for number in range(20):
        jobs = [await add_job(nodes[0], clock.now(), auto_disable=False) for _ in range(3)]
        for job in jobs:
            await start_run(nodes[0], job, clock.now())
        claims = await nodes[0].queue.claim(clock.now(), 3)
        ends = [settle(claim.execution, BROKEN, clock.now(), policy=claim.policy) for claim in claims]
        (webhook,) = await webhooks_of(nodes[0], jobs[1])
        works = [
            nodes[0].queue.settle(ends, clock.now()),
            nodes[1].deletions.delete_job(jobs[0].id, clock.now()),
            nodes[1].webhooks.delete(webhook.id, clock.now()),
        ]
        await asyncio.gather(*(works if number % 2 else reversed(works)))
        assert await rows_of(nodes[0], jobs[0]) == []
        assert [row.status for row in await rows_of(nodes[0], jobs[2])] == [Status.FAILURE, Status.QUEUED]
        for job in jobs:
            await nodes[0].deletions.delete_job(job.id, clock.now())


async def test_an_account_can_be_deleted_under_load(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    for _ in range(10):
        job = await add_job(nodes[0], clock.now(), auto_disable=False, retry=RetryPolicy(max_attempts=1))
        await start_run(nodes[0], job, clock.now())
        claims = await nodes[0].queue.claim(clock.now(), 10)
        ends = [settle(claim.execution, BROKEN, clock.now(), policy=claim.policy) for claim in claims]
        await asyncio.gather(
            nodes[1].deletions.delete_account(job.account_id, clock.now(), by=Actor(name="ann", at=clock.now())),
            nodes[0].queue.settle(ends, clock.now()),
            nodes[0].jobs.change(job.id, lambda job: replace(job, name="another")),
        )
        assert await nodes[0].jobs.get(job.id) is None


@pytest.mark.parametrize(("overlap", "most_active"), [("skip", 1), ("buffer_one", 2), ("cancel_previous", 1)])
async def test_an_overlap_policy_holds_across_nodes(
    nodes: tuple[Stores, Stores], clock: SetClock, overlap: str, most_active: int
) -> None:
    job = await add_job(nodes[0], clock.now(), overlap=overlap)

    async def run(stores: Stores) -> None:
        async def write(tx: Transaction) -> None:
            found = await stores.due_jobs.lock_one(tx, job.id)
            assert found is not None
            now = clock.now()
            present = Present(now=now, watching_since=now, new_id=lambda: new_id(now), draw=lambda: 0.0)
            firing = start(
                found.job, found.webhook_ids, present, overlap=overlap, active=found.active, waiting=found.waiting
            )
            await stores.queue.apply(tx, [firing], now)

        await stores.db.transaction(write)

    await asyncio.gather(*(run(node) for node in nodes * 5))
    rows = await rows_of(nodes[0], job)
    active = [row for row in rows if row.status in (Status.QUEUED, Status.RUNNING)]
    assert len(rows) == 10
    assert len(active) == most_active


async def test_what_is_just_being_redriven_is_not_pruned(nodes: tuple[Stores, Stores], clock: SetClock) -> None:
    job = await add_job(nodes[0], clock.now())
    run_id = await add_run(nodes[0], job, clock.now(), Status.FAILURE, Status.DEAD_LETTER)
    dead = (await rows_of(nodes[0], job))[-1]
    edge = Edge(until_id=dead.id, dead_until_id=dead.id)

    async def redrive(tx: Transaction) -> None:
        await nodes[0].jobs.lock(tx, job.id)
        again = replace(dead, id=new_id(clock.now()), status=Status.QUEUED, attempt=3)
        await nodes[0].queue.enqueue(tx, [again])
        assert await nodes[1].pruning.prune({run_id: job.id}, edge) == 0

    await nodes[0].db.transaction(redrive)
    assert [row.attempt for row in await rows_of(nodes[0], job)] == [1, 2, 3]
