"""Why a job ran at a time, or why it did not, over HTTP."""

from __future__ import annotations

import uuid

import pytest

from scheduler.domain.schedule.schedule import Schedule
from scheduler.store.database import Transaction
from tests.api.conftest import Api
from tests.factories import deliver_ready

HOOK = {"url": "https://example.com/hook"}
START = "2026-06-01T00:00:00Z"


async def test_what_ran_is_explained_by_its_execution(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await api.look(600)
    pending = await api.explain(job, "2026-06-01T00:10:00Z")
    assert (pending["verdict"], pending["executions"][0]["status"]) == ("pending", "queued")
    await deliver_ready(api.service)
    ran = await api.explain(job, "2026-06-01T00:10:00Z")
    (execution,) = ran["executions"]
    assert ran["verdict"] == "pending" and "queued with attempt 2" in ran["detail"]
    assert execution["scheduled_at"] == "2026-06-01T00:10:00Z"
    await api.service.stores.executions.cancel(execution["id"], api.clock.now(), reason="by ann")
    assert (await api.explain(job, "2026-06-01T00:10:00Z"))["detail"] == "by ann"


async def test_every_webhook_has_its_fate(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await api.new_webhook(job["id"])
    await api.look(600)
    explained = await api.explain(job, "2026-06-01T00:10:00Z")
    assert len(explained["executions"]) == 2
    assert "for 2 webhooks: 2 queued with attempt 1" in explained["detail"]


async def test_a_job_without_a_webhook_ran_in_vain(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *")
    await api.look(600)
    explained = await api.explain(job, "2026-06-01T00:10:00Z")
    assert (explained["verdict"], explained["executions"][0]["status"]) == ("ran", "failure")
    assert "failure" in explained["detail"]


async def test_what_was_merged_names_the_run_it_went_into(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await api.look(3600)
    merged = await api.explain(job, "2026-06-01T00:20:00Z")
    assert merged["verdict"] == "merged"
    assert "2026-06-01T01:00:00Z" in merged["detail"] and "6 due times" in merged["detail"]
    assert (merged["previous_at"], merged["next_at"]) == ("2026-06-01T00:10:00Z", "2026-06-01T00:30:00Z")
    assert await api.verdict(job, "2026-06-01T01:00:00Z") == "pending"
    assert await api.verdict(job, "2026-06-01T01:00:01Z") == "not_due"


async def test_what_was_skipped_says_by_what(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK, catchup="none")
    await api.look(3601)
    for minute in ("00:10", "00:30", "01:00"):
        skipped = await api.explain(job, f"2026-06-01T{minute}:00Z")
        assert (skipped["verdict"], "catchup is none" in skipped["detail"]) == ("skipped", True)
    busy = await api.new_job(schedule="*/10 * * * *", webhook=HOOK, overlap="skip")
    await api.post(f"/api/jobs/{busy['id']}/trigger")
    await api.look(599)
    assert "overlap" in (await api.explain(busy, "2026-06-01T01:10:00Z"))["detail"]


async def test_what_was_not_due_shows_the_nearest_times(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", timezone="Europe/Berlin", ends_at="2026-06-05T00:00:00Z")
    api.clock.advance(3 * 86_400)
    explained = await api.explain(job, "2026-06-02T12:00:00Z")
    assert explained["verdict"] == "not_due" and "0 2 * * *" in explained["detail"]
    assert (explained["previous_at"], explained["next_at"]) == ("2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z")
    ended = await api.explain(job, "2026-06-10T00:00:00Z")
    assert ended["verdict"] == "not_due" and "ended at 2026-06-05T00:00:00Z" in ended["detail"]
    assert (ended["previous_at"], ended["next_at"]) == ("2026-06-04T00:00:00Z", None)
    waits = await api.new_job(schedule="0 2 * * *", starts_at="2026-07-01T00:00:00Z")
    early = await api.explain(waits, "2026-06-10T02:00:00Z")
    assert early["verdict"] == "not_due" and "starts only at" in early["detail"]
    assert early["next_at"] == "2026-07-01T02:00:00Z"


async def test_before_creation_there_was_no_job(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *")
    explained = await api.explain(job, "2026-05-01T02:00:00Z")
    assert explained["verdict"] == "before_creation" and START in explained["detail"]
    assert (explained["previous_at"], explained["next_at"]) == (None, "2026-06-01T02:00:00Z")
    at_once = await api.new_job(schedule="* * * * *")
    assert await api.verdict(at_once, START) == "before_creation"


async def test_a_pause_names_who_and_why(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(1800)
    await api.patch(f"/api/jobs/{job['id']}/disable", {"note": "the receiver moves"})
    await api.look(3 * 3600)
    await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 * * * *"})  # still the same pause
    await api.look(3600)
    for at in ("2026-06-01T02:00:00Z", "2026-06-01T04:30:00Z", "2026-06-01T05:30:00Z"):
        paused = await api.explain(job, at)
        assert paused["verdict"] == "paused", at
        assert "by ann at 2026-06-01T00:30:00Z: the receiver moves" in paused["detail"]
    await api.patch(f"/api/jobs/{job['id']}/enable", {"note": None})
    assert "the receiver moves" in (await api.explain(job, "2026-06-01T02:00:00Z"))["detail"]
    assert await api.verdict(job, "2026-06-01T05:30:00Z") == "due"
    assert (await api.explain(job, "2026-06-01T02:10:00Z"))["next_at"] == "2026-06-01T05:30:00Z"


async def test_a_job_that_was_created_paused(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", enabled=False, note="not yet")
    api.clock.advance(7200)
    assert "by ann at 2026-06-01T00:00:00Z: not yet" in (await api.explain(job, "2026-06-01T01:00:00Z"))["detail"]


async def test_what_is_to_come_is_due(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", max_runs=3)
    due = await api.explain(job, "2026-06-03T02:00:00Z")
    assert (due["verdict"], due["next_at"]) == ("due", None)
    beyond = await api.explain(job, "2026-06-04T02:00:00Z")
    assert beyond["verdict"] == "not_due" and "3 runs" in beyond["detail"]


async def test_what_is_due_but_not_yet_fired_is_pending(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(3600)
    assert await api.verdict(job, "2026-06-01T01:00:00Z") == "pending"


async def test_old_times_are_explained_by_the_schedule_that_held_then(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.look(3600)
    await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 * * * *", "timezone": "Asia/Kolkata"})
    await api.look(3600)
    assert await api.verdict(job, "2026-06-01T01:00:00Z") == "pending"
    old = await api.explain(job, "2026-06-01T00:30:00Z")
    assert old["verdict"] == "not_due" and "'0 * * * *'" in old["detail"]
    assert old["next_at"] == "2026-06-01T01:00:00Z"
    new = await api.explain(job, "2026-06-01T01:30:00Z")
    assert new["verdict"] == "not_due" and "'30 * * * *' in Asia/Kolkata" in new["detail"]
    assert (new["previous_at"], new["next_at"]) == ("2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")


async def test_a_job_that_has_ended_had_no_further_times(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, max_runs=2, catchup="all")
    await api.look(5 * 3600)
    assert [row["scheduled_at"] for row in await api.executions(job)] == [
        "2026-06-01T01:00:00Z",
        "2026-06-01T02:00:00Z",
    ]
    ended = await api.explain(job, "2026-06-01T03:00:00Z")
    assert ended["verdict"] == "not_due" and "ended after 2026-06-01T02:00:00Z" in ended["detail"]
    assert (ended["previous_at"], ended["next_at"]) == ("2026-06-01T02:00:00Z", None)
    assert await api.verdict(job, "2026-06-01T02:00:00Z") == "pending"
    assert await api.verdict(job, "2026-06-09T02:00:00Z") == "not_due"


async def test_a_purged_record_is_said_to_be_gone(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.look(3600)
    (row,) = await api.executions(job)

    async def prune(tx: Transaction) -> None:
        await tx.execute("DELETE FROM executions WHERE id = :id", {"id": row["id"]})

    await api.service.stores.db.transaction(prune)
    gone = await api.explain(job, "2026-06-01T01:00:00Z")
    assert gone["verdict"] == "unrecorded" and "purged" in gone["detail"]


async def test_a_run_by_hand_stands_for_no_due_time(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", webhook=HOOK)
    api.clock.advance(600)
    await api.post(f"/api/jobs/{job['id']}/trigger")
    explained = await api.explain(job, "2026-06-01T00:10:00Z")
    assert (explained["verdict"], explained["executions"]) == ("not_due", [])


async def test_explaining_is_for_members_of_the_account(api: Api) -> None:
    job = await api.new_job()
    path = f"/api/jobs/{job['id']}/explain"
    assert (await api.get(f"{path}?at={START}", user="bob")).status == 403
    assert (await api.get(f"/api/jobs/{uuid.uuid4()}/explain?at={START}")).json["error_code"] == "JOB_NOT_FOUND"


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "at"), ("?at=noon", "at"), ("?at=2026-06-01T00:00:00", "at"), (f"?at={START}&from={START}", "from")],
)
async def test_a_refused_explanation_names_the_field(api: Api, query: str, field: str) -> None:
    job = await api.new_job()
    reply = await api.get(f"/api/jobs/{job['id']}/explain{query}")
    assert (reply.status, list(reply.errors)) == (400, [field])


async def test_a_pause_without_a_note_does_not_speak_with_that_of_an_older_one(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.patch(f"/api/jobs/{job['id']}/disable", {"note": "lunch"})
    await api.patch(f"/api/jobs/{job['id']}/enable")
    api.clock.advance(60)
    assert (await api.patch(f"/api/jobs/{job['id']}/disable")).json["note"] is None
    api.clock.advance(7200)
    assert "lunch" not in (await api.explain(job, "2026-06-01T01:00:00Z"))["detail"]


async def test_the_far_future_is_not_counted_through(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise AssertionError("this takes seconds")

    monkeypatch.setattr(Schedule, "count_between", refuse)
    for max_runs, then in ((5, "not_due"), (1_000_000, "due")):
        job = await api.new_job(schedule="0 9 * * *", timezone="Europe/Berlin", max_runs=max_runs, webhook=HOOK)
        assert await api.verdict(job, "9998-01-01T08:00:00Z") == then
