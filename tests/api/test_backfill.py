"""Running again the times of a window that has passed, over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest

from scheduler.domain.clock import parse_instant
from scheduler.store.database import Transaction
from tests.api.conftest import Api, Reply

HOOK = {"url": "https://example.com/hook"}
START = "2026-06-01T00:00:00Z"


async def backfill(api: Api, job: Any, from_: str, to: str, **fields: Any) -> Reply:
    return await api.post(f"/api/jobs/{job['id']}/backfill", {"from": from_, "to": to, **fields})


async def test_a_backfill_includes_its_start_and_not_its_end(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    reply = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    assert (reply.status, reply.json["count"]) == (202, 3)
    times = [f"2026-05-31T10:{minute}:00Z" for minute in ("00", "10", "20")]
    assert [item["scheduled_at"] for item in reply.json["items"]] == times
    assert {(item["status"], item["trigger"], item["covers"]) for item in reply.json["items"]} == {
        ("queued", "manual", 1)
    }
    assert await api.executions(job) == reply.json["items"]
    name = uuid.UUID(reply.json["items"][0]["webhook_id"])
    assert reply.json["items"][0]["run_id"] == str(uuid.uuid5(name, times[0]))
    assert (await api.get(f"/api/jobs/{job['id']}")).json["next_run_at"] == job["next_run_at"]


async def test_a_dry_run_only_counts(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    dry = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z", dry_run=True)
    assert (dry.status, dry.json) == (200, {"count": 6, "items": []})
    assert await api.executions(job) == []
    await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:20:00Z")
    rest = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z", dry_run=True)
    assert rest.json["count"] == 4


async def test_a_backfill_twice_is_a_backfill_once(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    before = await api.executions(job)
    again = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    assert (again.status, again.json) == (202, {"count": 0, "items": []})
    more = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:40:00Z")
    assert [item["scheduled_at"] for item in more.json["items"]] == ["2026-05-31T10:30:00Z"]
    assert await api.executions(job) == [*before, *more.json["items"]]


async def test_two_backfills_at_once_are_one(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    both = await asyncio.gather(*(backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z") for _ in range(2)))
    assert sorted(reply.json["count"] for reply in both) == [0, 6]
    assert len(await api.executions(job)) == 6


async def test_what_ran_by_itself_is_not_run_again(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.look(3600)
    await api.look(3 * 3600)  # three times merged into the run of 04:00
    assert [row["covers"] for row in await api.executions(job)] == [1, 3]
    reply = await backfill(api, job, "2026-06-01T00:00:00Z", "2026-06-01T04:00:00Z")
    filled = ["2026-06-01T00:00:00Z", "2026-06-01T02:00:00Z", "2026-06-01T03:00:00Z"]
    assert [item["scheduled_at"] for item in reply.json["items"]] == filled
    assert await api.verdict(job, "2026-06-01T02:00:00Z") == "pending"


async def test_a_skipped_time_gets_its_run(api: Api) -> None:
    """The record stands for many times under the identity of the newest; that one can be run like the others."""
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, catchup="none")
    await api.look(3 * 3600 + 1)
    (record,) = await api.executions(job)
    assert (record["status"], record["covers"]) == ("skipped", 3)
    reply = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:00Z")
    assert reply.json["count"] == 2
    newest = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:01Z")
    (item,) = newest.json["items"]
    assert (item["run_id"], item["attempt"], item["status"]) == (record["run_id"], 2, "queued")
    for hour in (1, 2, 3):
        assert await api.verdict(job, f"2026-06-01T0{hour}:00:00Z") == "pending"
    assert (await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:01Z")).json["count"] == 0


async def test_the_other_times_of_a_record_stay_skipped(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, catchup="none")
    await api.look(3 * 3600 + 1)
    await backfill(api, job, "2026-06-01T03:00:00Z", "2026-06-01T03:00:01Z")
    assert await api.verdict(job, "2026-06-01T03:00:00Z") == "pending"
    assert await api.verdict(job, "2026-06-01T02:00:00Z") == "skipped"


async def test_what_is_due_by_itself_comes_before_a_backfill(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(3 * 3600)
    reply = await backfill(api, job, START, "2026-06-01T03:00:00Z")
    assert reply.json["count"] == 3
    rows = await api.executions(job)
    assert (rows[0]["trigger"], rows[0]["covers"], rows[0]["scheduled_at"]) == ("catchup", 3, "2026-06-01T03:00:00Z")


async def test_a_pause_can_be_filled(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.patch(f"/api/jobs/{job['id']}/disable")
    api.clock.advance(5 * 3600)
    await api.patch(f"/api/jobs/{job['id']}/enable")
    assert await api.executions(job) == []
    reply = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T05:00:00Z")
    assert reply.json["count"] == 4
    assert await api.verdict(job, "2026-06-01T02:00:00Z") == "pending"
    assert await api.verdict(job, "2026-06-01T05:00:00Z") == "paused"


async def test_a_backfill_keeps_within_the_bounds_of_the_job(api: Api) -> None:
    job = await api.new_job(
        schedule="0 * * * *", webhook=HOOK, starts_at="2026-05-31T10:00:00Z", ends_at="2026-07-01T00:00:00Z"
    )
    reply = await backfill(api, job, "2026-05-31T08:00:00Z", "2026-05-31T12:00:00Z")
    assert [item["scheduled_at"] for item in reply.json["items"]] == ["2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z"]


async def test_every_webhook_is_filled_and_one_that_is_new_as_well(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T12:00:00Z")
    second = await api.new_webhook(job["id"])
    reply = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T13:00:00Z")
    assert reply.json["count"] == 3
    assert Counter(item["webhook_id"] for item in reply.json["items"]) == {
        second["id"]: 3,
        job["webhook"]["id"]: 1,
    }


async def test_a_job_without_webhooks_is_filled_with_failures(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *")
    for count in (2, 0):
        reply = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T12:00:00Z")
        assert reply.json["count"] == count
        assert {item["error"].split()[0] for item in reply.json["items"]} <= {"no_webhook"}
    assert {row["status"] for row in await api.executions(job)} == {"failure"}


async def test_a_backfill_takes_a_thousand_times(api: Api) -> None:
    job = await api.new_job(schedule="* * * * *", webhook=HOOK)
    refused = await backfill(api, job, "2026-05-01T00:00:00Z", "2026-05-01T16:41:00Z")
    assert (refused.status, list(refused.errors)) == (400, ["to"])
    assert "1001 times" in refused.errors["to"][0]
    assert (await backfill(api, job, "2026-05-01T00:00:00Z", "2026-05-01T16:40:00Z")).json["count"] == 1000
    assert (await api.get(f"/api/jobs/{job['id']}/executions")).json["total"] == 1000


async def test_a_backfill_of_many_webhooks_is_bounded_as_well(api: Api) -> None:
    job = await api.new_job(schedule="* * * * *", webhook=HOOK)
    for _ in range(10):
        await api.new_webhook(job["id"])
    refused = await backfill(api, job, "2026-05-01T00:00:00Z", "2026-05-01T16:40:00Z")
    assert (refused.status, list(refused.errors)) == (400, ["to"])
    assert "11 webhooks" in refused.errors["to"][0]
    assert await api.executions(job) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"from": START}, "to"),
        ({"to": START}, "from"),
        ({"from": START, "to": START}, "to"),
        ({"from": START, "to": "2026-05-31T00:00:00Z"}, "to"),
        ({"from": START, "to": "2026-06-01T00:00:00.000001Z"}, "to"),
        ({"from": "today", "to": START}, "from"),
        ({"from": "2026-05-31T00:00:00Z", "to": START, "dry_run": "yes"}, "dry_run"),
        ({"from": "2026-05-31T00:00:00Z", "to": START, "limit": 5}, "limit"),
    ],
)
async def test_a_refused_backfill_names_the_field(api: Api, body: dict[str, Any], field: str) -> None:
    job = await api.new_job(schedule="* * * * *", webhook=HOOK)
    reply = await api.post(f"/api/jobs/{job['id']}/backfill", body)
    assert (reply.status, list(reply.errors)) == (400, [field])
    assert await api.executions(job) == []


async def test_a_backfill_is_for_editors_of_the_account(api: Api) -> None:
    job = await api.new_job(schedule="* * * * *")
    body = {"from": "2026-05-31T00:00:00Z", "to": "2026-05-31T01:00:00Z"}
    assert (await api.post(f"/api/jobs/{job['id']}/backfill", body, user="bob")).status == 403
    assert (await api.post(f"/api/jobs/{uuid.uuid4()}/backfill", body)).status == 404


async def test_a_backfill_into_pruned_times_is_refused(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)

    async def mark(tx: Transaction) -> None:
        pruned = {"id": job["id"], "at": parse_instant("2026-05-31T12:00:00Z")}
        await tx.execute("UPDATE jobs SET pruned_until_at = :at WHERE id = :id", pruned)

    await api.service.stores.db.transaction(mark)
    for dry_run in (True, False):
        reply = await backfill(api, job, "2026-05-31T12:00:00Z", "2026-05-31T15:00:00Z", dry_run=dry_run)
        assert reply.status == 400 and "2026-05-31T12:00:00Z" in reply.json["errors"]["from"][0]
    assert await api.executions(job) == []
    assert (await backfill(api, job, "2026-05-31T12:00:01Z", "2026-05-31T15:00:00Z")).json["count"] == 2
