"""When will it run, why did it run, why did it not run: preview, upcoming, explain, backfill, over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import pytest

from scheduler.domain.clock import SECOND, parse_instant
from scheduler.domain.schedule.schedule import Schedule
from scheduler.store.database import Transaction
from tests.api.conftest import Api, Reply
from tests.factories import deliver_ready

HOOK = {"url": "https://example.com/hook"}
START = "2026-06-01T00:00:00Z"


async def preview(api: Api, **query: Any) -> Reply:
    return await api.get(f"/api/schedules/preview?{urlencode(query)}")


async def explain(api: Api, job: Any, at: str) -> Any:
    reply = await api.get(f"/api/jobs/{job['id']}/explain?{urlencode({'at': at})}")
    assert reply.status == 200, reply.text
    return reply.json


async def verdict(api: Api, job: Any, at: str) -> str:
    said: str = (await explain(api, job, at))["verdict"]
    return said


async def backfill(api: Api, job: Any, from_: str, to: str, **fields: Any) -> Reply:
    return await api.post(f"/api/jobs/{job['id']}/backfill", {"from": from_, "to": to, **fields})


async def executions(api: Api, job: Any) -> list[Any]:
    return (await api.get(f"/api/jobs/{job['id']}/executions?limit=1000")).items[::-1]


async def look(api: Api, seconds: float = 0) -> None:
    """Move the clock and let the trigger loop look once."""
    api.clock.advance(seconds)
    await api.service.engine.firer.fire_due(api.clock.now())


# Preview


async def test_a_preview_describes_and_lists(api: Api) -> None:
    reply = await preview(api, schedule="30 2 * * *", timezone="Europe/Berlin", count=2, **{"from": START})
    assert reply.status == 200
    assert reply.json["items"] == [
        {"at": "2026-06-01T00:30:00Z", "local": "2026-06-01T02:30:00+02:00", "transition": None},
        {"at": "2026-06-02T00:30:00Z", "local": "2026-06-02T02:30:00+02:00", "transition": None},
    ]
    assert "Europe/Berlin" in reply.json["description"]
    both_days = (await preview(api, schedule="0 0 13 * FRI")).json["description"]
    assert " or " in both_days


async def test_a_preview_counts_from_now_and_includes_its_start(api: Api) -> None:
    items = (await preview(api, schedule="@hourly")).json["items"]
    assert len(items) == 10 and items[0]["at"] == START
    later = (await preview(api, schedule="@hourly", **{"from": "2026-06-01T00:00:00.000001Z"})).json["items"]
    assert later[0]["at"] == "2026-06-01T01:00:00Z"
    by_offset = (await preview(api, schedule="@hourly", count=1, **{"from": "2026-06-01T05:00:00+02:00"})).json
    assert by_offset["items"][0]["at"] == "2026-06-01T03:00:00Z"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("debian", [("2026-03-29T01:00:00Z", "gap"), ("2026-10-25T00:30:00Z", "overlap")]),
        ("skip", [("2026-10-25T00:30:00Z", "overlap")]),
        ("literal", [("2026-10-25T00:30:00Z", "overlap"), ("2026-10-25T01:30:00Z", "overlap")]),
    ],
)
async def test_a_preview_marks_what_a_change_of_the_clocks_touched(
    api: Api, policy: str, expected: list[tuple[str, str]]
) -> None:
    asked = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "dst_policy": policy, "count": 1000}
    items = (await preview(api, **asked, **{"from": "2026-01-01T00:00:00Z"})).json["items"]
    touched = [(item["at"], item["transition"]) for item in items if item["transition"] and item["at"] < "2027"]
    assert touched == expected


async def test_a_preview_goes_up_to_a_thousand_and_ends_with_its_schedule(api: Api) -> None:
    items = (await preview(api, schedule="* * * * * *", count=1000)).json["items"]
    assert len({item["at"] for item in items}) == 1000
    assert items[-1]["at"] == "2026-06-01T00:16:39Z"
    once = (await preview(api, schedule="@at 2026-12-24T18:00:00Z\n@at 2026-12-25T18:00:00Z", count=50)).json["items"]
    assert [item["at"] for item in once] == ["2026-12-24T18:00:00Z", "2026-12-25T18:00:00Z"]


async def test_a_preview_aligns_intervals_to_the_anchor(api: Api) -> None:
    items = (await preview(api, schedule="@every 1h", count=2, anchor="2026-05-01T00:07:00Z")).json["items"]
    assert [item["at"] for item in items] == ["2026-06-01T00:07:00Z", "2026-06-01T01:07:00Z"]
    assert (await preview(api, schedule="@every 1h", count=1)).json["items"][0]["at"] == START


async def test_a_preview_takes_the_zone_from_the_schedule(api: Api) -> None:
    items = (await preview(api, schedule="CRON_TZ=Asia/Tokyo 0 9 * * *", count=1)).json["items"]
    assert items[0]["local"] == "2026-06-01T09:00:00+09:00"
    both = await preview(api, schedule="0 0 13 * FRI", day_match="and", count=1)
    assert both.json["items"][0]["at"] == "2026-11-13T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({}, "schedule", "VALIDATION_ERROR"),
        ({"schedule": "61 * * * *"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "0 0 30 2 *"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": ""}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "@at 2020-01-01T00:00:00Z"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "CRON_TZ=Asia/Tokyo 0 9 * * *", "timezone": "UTC"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "@daily", "timezone": "Mars/Base"}, "timezone", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "dst_policy": "none"}, "dst_policy", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "day_match": "xor"}, "day_match", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "count": "0"}, "count", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "count": "1001"}, "count", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "from": "yesterday"}, "from", "VALIDATION_ERROR"),
        ({"schedule": "@daily", "until": START}, "until", "VALIDATION_ERROR"),
    ],
)
async def test_a_refused_preview_names_the_field(api: Api, query: dict[str, str], field: str, code: str) -> None:
    reply = await preview(api, **query)
    assert (reply.status, reply.json["error_code"], list(reply.errors)) == (400, code, [field])


async def test_a_refused_schedule_says_what_would_be_right(api: Api) -> None:
    assert '"61" in minute: 0 to 59' in (await preview(api, schedule="61 * * * *")).errors["schedule"][0]


async def test_a_preview_needs_a_token_and_stores_nothing(api: Api) -> None:
    assert (await api.get("/api/schedules/preview?schedule=@daily", user=None)).status == 401
    await preview(api, schedule="@daily")
    assert (await api.get("/api/jobs")).json["total"] == (await api.get("/api/accounts")).json["total"] == 0


# The same on create, read and update


async def test_answers_about_a_job_carry_its_words_and_its_next_runs(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *")
    assert job["next_runs"] == [f"2026-06-0{day}T02:00:00Z" for day in range(1, 6)]
    read = (await api.get(f"/api/jobs/{job['id']}")).json
    assert (read["description"], read["next_runs"]) == (job["description"], job["next_runs"])
    changed = (await api.put(f"/api/jobs/{job['id']}", {"schedule": "0 0 1 * MON"})).json
    assert " or " in changed["description"]
    assert changed["next_runs"][:3] == ["2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z", "2026-06-22T00:00:00Z"]
    listed = (await api.get("/api/jobs")).json["items"][0]
    assert "next_runs" not in listed and "description" not in listed


# Upcoming


async def test_upcoming_lists_what_will_fire_and_shows_pile_ups(api: Api) -> None:
    nightly = [await api.new_job(name=f"nightly {n}", schedule="0 2 * * *") for n in range(3)]
    often = await api.new_job(name="often", schedule="30 * * * *")
    await api.new_job(name="paused", schedule="* * * * *", enabled=False)
    await api.new_job(name="next year", schedule="0 0 1 1 *")
    reply = (await api.get("/api/upcoming?hours=3")).json
    assert (reply["from"], reply["to"]) == (START, "2026-06-01T03:00:00Z")
    assert (reply["total"], reply["complete"]) == (6, True)
    assert [(item["at"], item["name"]) for item in reply["items"]] == [
        ("2026-06-01T00:30:00Z", "often"),
        ("2026-06-01T01:30:00Z", "often"),
        *[("2026-06-01T02:00:00Z", f"nightly {n}") for n in range(3)],
        ("2026-06-01T02:30:00Z", "often"),
    ]
    assert {item["job_id"] for item in reply["items"]} == {often["id"], *(job["id"] for job in nightly)}
    assert reply["per_minute"] == [
        {"minute": "2026-06-01T00:30:00Z", "count": 1},
        {"minute": "2026-06-01T01:30:00Z", "count": 1},
        {"minute": "2026-06-01T02:00:00Z", "count": 3},
        {"minute": "2026-06-01T02:30:00Z", "count": 1},
    ]


async def test_upcoming_counts_all_and_lists_a_thousand(api: Api) -> None:
    await api.new_job(schedule="* * * * * *")
    await api.new_job(schedule="@every 7s")
    await api.new_job(schedule="* * * * *", starts_at="2026-06-01T12:00:00Z")
    reply = (await api.get("/api/upcoming")).json
    assert len(reply["items"]) == 1000
    assert [item["at"] for item in reply["items"]] == sorted(item["at"] for item in reply["items"])
    # the schedules count from behind the creation: a second, seven seconds, and exactly at noon
    assert reply["total"] == (86_400 - 1) + 86_399 // 7 + 720 == sum(item["count"] for item in reply["per_minute"])
    counts = Counter(item["count"] for item in reply["per_minute"])
    assert max(counts) == 60 + 9 + 1


async def test_upcoming_heeds_where_a_job_ends(api: Api) -> None:
    await api.new_job(name="twice", schedule="*/10 * * * *", max_runs=2)
    await api.new_job(name="ends", schedule="*/10 * * * *", ends_at="2026-06-01T00:30:00Z")
    await api.new_job(name="dense", schedule="* * * * * *", max_runs=90)
    reply = (await api.get("/api/upcoming?hours=1")).json
    names = Counter(item["name"] for item in reply["items"])
    assert names == {"twice": 2, "ends": 2, "dense": 90}
    assert reply["per_minute"][:3] == [
        {"minute": START, "count": 59},
        {"minute": "2026-06-01T00:01:00Z", "count": 31},
        {"minute": "2026-06-01T00:10:00Z", "count": 2},
    ]


async def test_upcoming_looks_ahead_only(api: Api) -> None:
    """A job that is overdue is not listed with times that have passed."""
    await api.new_job(schedule="0 * * * *")
    api.clock.advance(2 * 3600 + 1800)
    reply = (await api.get("/api/upcoming?hours=2")).json
    assert [item["at"] for item in reply["items"]] == ["2026-06-01T03:00:00Z", "2026-06-01T04:00:00Z"]
    assert reply["total"] == 2


async def test_upcoming_is_the_callers_own_and_narrows_to_an_account(api: Api) -> None:
    mine = await api.new_job(schedule="@hourly")
    other = (await api.post("/api/accounts", {"name": "other"})).json
    await api.new_job(schedule="@hourly", account_id=other["id"])
    theirs = await api.new_job(schedule="@hourly", user="bob")
    assert (await api.get("/api/upcoming")).json["total"] == 46
    assert (await api.get(f"/api/upcoming?account_id={mine['account_id']}")).json["total"] == 23
    assert (await api.get(f"/api/upcoming?account_id={theirs['account_id']}")).status == 403
    assert (await api.get(f"/api/upcoming?account_id={uuid.uuid4()}")).json["error_code"] == "ACCOUNT_NOT_FOUND"


@pytest.mark.parametrize("query", ["hours=0", "hours=169", "hours=1.5", "account_id=mine", "limit=5"])
async def test_a_refused_upcoming_names_the_field(api: Api, query: str) -> None:
    reply = await api.get(f"/api/upcoming?{query}")
    assert (reply.status, list(reply.errors)) == (400, [query.partition("=")[0]])


# Explain


async def test_what_ran_is_explained_by_its_execution(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await look(api, 600)
    pending = await explain(api, job, "2026-06-01T00:10:00Z")
    assert (pending["verdict"], pending["executions"][0]["status"]) == ("pending", "queued")
    await deliver_ready(api.service)
    ran = await explain(api, job, "2026-06-01T00:10:00Z")
    (execution,) = ran["executions"]
    assert ran["verdict"] == "pending" and "queued with attempt 2" in ran["detail"]
    assert execution["scheduled_at"] == "2026-06-01T00:10:00Z"
    await api.service.stores.executions.cancel(execution["id"], api.clock.now(), reason="by ann")
    assert (await explain(api, job, "2026-06-01T00:10:00Z"))["detail"] == "by ann"


async def test_every_webhook_has_its_fate(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await api.new_webhook(job["id"])
    await look(api, 600)
    explained = await explain(api, job, "2026-06-01T00:10:00Z")
    assert len(explained["executions"]) == 2
    assert "for 2 webhooks: 2 queued with attempt 1" in explained["detail"]


async def test_a_job_without_a_webhook_ran_in_vain(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *")
    await look(api, 600)
    explained = await explain(api, job, "2026-06-01T00:10:00Z")
    assert (explained["verdict"], explained["executions"][0]["status"]) == ("ran", "failure")
    assert "failure" in explained["detail"]


async def test_what_was_merged_names_the_run_it_went_into(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await look(api, 3600)
    merged = await explain(api, job, "2026-06-01T00:20:00Z")
    assert merged["verdict"] == "merged"
    assert "2026-06-01T01:00:00Z" in merged["detail"] and "6 due times" in merged["detail"]
    assert (merged["previous_at"], merged["next_at"]) == ("2026-06-01T00:10:00Z", "2026-06-01T00:30:00Z")
    assert await verdict(api, job, "2026-06-01T01:00:00Z") == "pending"
    assert await verdict(api, job, "2026-06-01T01:00:01Z") == "not_due"


async def test_what_was_skipped_says_by_what(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK, catchup="none")
    await look(api, 3601)
    for minute in ("00:10", "00:30", "01:00"):
        skipped = await explain(api, job, f"2026-06-01T{minute}:00Z")
        assert (skipped["verdict"], "catchup is none" in skipped["detail"]) == ("skipped", True)
    busy = await api.new_job(schedule="*/10 * * * *", webhook=HOOK, overlap="skip")
    await api.post(f"/api/jobs/{busy['id']}/trigger")
    await look(api, 599)
    assert "overlap" in (await explain(api, busy, "2026-06-01T01:10:00Z"))["detail"]


async def test_what_was_not_due_shows_the_nearest_times(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", timezone="Europe/Berlin", ends_at="2026-06-05T00:00:00Z")
    api.clock.advance(3 * 86_400)
    explained = await explain(api, job, "2026-06-02T12:00:00Z")
    assert explained["verdict"] == "not_due" and "0 2 * * *" in explained["detail"]
    assert (explained["previous_at"], explained["next_at"]) == ("2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z")
    ended = await explain(api, job, "2026-06-10T00:00:00Z")
    assert ended["verdict"] == "not_due" and "ended at 2026-06-05T00:00:00Z" in ended["detail"]
    assert (ended["previous_at"], ended["next_at"]) == ("2026-06-04T00:00:00Z", None)
    waits = await api.new_job(schedule="0 2 * * *", starts_at="2026-07-01T00:00:00Z")
    early = await explain(api, waits, "2026-06-10T02:00:00Z")
    assert early["verdict"] == "not_due" and "starts only at" in early["detail"]
    assert early["next_at"] == "2026-07-01T02:00:00Z"


async def test_before_creation_there_was_no_job(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *")
    explained = await explain(api, job, "2026-05-01T02:00:00Z")
    assert explained["verdict"] == "before_creation" and START in explained["detail"]
    assert (explained["previous_at"], explained["next_at"]) == (None, "2026-06-01T02:00:00Z")
    at_once = await api.new_job(schedule="* * * * *")
    assert await verdict(api, at_once, START) == "before_creation"


async def test_a_pause_names_who_and_why(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(1800)
    await api.patch(f"/api/jobs/{job['id']}/disable", {"note": "the receiver moves"})
    await look(api, 3 * 3600)
    await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 * * * *"})  # still the same pause
    await look(api, 3600)
    for at in ("2026-06-01T02:00:00Z", "2026-06-01T04:30:00Z", "2026-06-01T05:30:00Z"):
        paused = await explain(api, job, at)
        assert paused["verdict"] == "paused", at
        assert "by ann at 2026-06-01T00:30:00Z: the receiver moves" in paused["detail"]
    await api.patch(f"/api/jobs/{job['id']}/enable", {"note": None})
    assert "the receiver moves" in (await explain(api, job, "2026-06-01T02:00:00Z"))["detail"]
    assert await verdict(api, job, "2026-06-01T05:30:00Z") == "due"
    assert (await explain(api, job, "2026-06-01T02:10:00Z"))["next_at"] == "2026-06-01T05:30:00Z"


async def test_a_job_that_was_created_paused(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", enabled=False, note="not yet")
    api.clock.advance(7200)
    assert "by ann at 2026-06-01T00:00:00Z: not yet" in (await explain(api, job, "2026-06-01T01:00:00Z"))["detail"]


async def test_what_is_to_come_is_due(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", max_runs=3)
    due = await explain(api, job, "2026-06-03T02:00:00Z")
    assert (due["verdict"], due["next_at"]) == ("due", None)
    beyond = await explain(api, job, "2026-06-04T02:00:00Z")
    assert beyond["verdict"] == "not_due" and "3 runs" in beyond["detail"]


async def test_what_is_due_but_not_yet_fired_is_pending(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(3600)
    assert await verdict(api, job, "2026-06-01T01:00:00Z") == "pending"


async def test_old_times_are_explained_by_the_schedule_that_held_then(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await look(api, 3600)
    await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 * * * *", "timezone": "Asia/Kolkata"})
    await look(api, 3600)
    assert await verdict(api, job, "2026-06-01T01:00:00Z") == "pending"
    old = await explain(api, job, "2026-06-01T00:30:00Z")
    assert old["verdict"] == "not_due" and "'0 * * * *'" in old["detail"]
    assert old["next_at"] == "2026-06-01T01:00:00Z"
    new = await explain(api, job, "2026-06-01T01:30:00Z")
    assert new["verdict"] == "not_due" and "'30 * * * *' in Asia/Kolkata" in new["detail"]
    assert (new["previous_at"], new["next_at"]) == ("2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")


async def test_a_job_that_is_through_had_no_further_times(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, max_runs=2, catchup="all")
    await look(api, 5 * 3600)
    assert [row["scheduled_at"] for row in await executions(api, job)] == [
        "2026-06-01T01:00:00Z",
        "2026-06-01T02:00:00Z",
    ]
    through = await explain(api, job, "2026-06-01T03:00:00Z")
    assert through["verdict"] == "not_due" and "through after 2026-06-01T02:00:00Z" in through["detail"]
    assert (through["previous_at"], through["next_at"]) == ("2026-06-01T02:00:00Z", None)
    assert await verdict(api, job, "2026-06-01T02:00:00Z") == "pending"
    assert await verdict(api, job, "2026-06-09T02:00:00Z") == "not_due"


async def test_a_purged_record_is_said_to_be_gone(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await look(api, 3600)
    (row,) = await executions(api, job)

    async def prune(tx: Transaction) -> None:
        await tx.execute("DELETE FROM executions WHERE id = :id", {"id": row["id"]})

    await api.service.stores.db.transaction(prune)
    gone = await explain(api, job, "2026-06-01T01:00:00Z")
    assert gone["verdict"] == "unrecorded" and "purged" in gone["detail"]


async def test_a_run_by_hand_stands_for_no_due_time(api: Api) -> None:
    job = await api.new_job(schedule="0 2 * * *", webhook=HOOK)
    api.clock.advance(600)
    await api.post(f"/api/jobs/{job['id']}/trigger")
    explained = await explain(api, job, "2026-06-01T00:10:00Z")
    assert (explained["verdict"], explained["executions"]) == ("not_due", [])


async def test_explaining_is_for_members(api: Api) -> None:
    job = await api.new_job()
    path = f"/api/jobs/{job['id']}/explain"
    assert (await api.get(f"{path}?at={START}", user="bob")).status == 403
    assert (await api.get(f"/api/jobs/{uuid.uuid4()}/explain?at={START}")).json["error_code"] == "JOB_NOT_FOUND"
    for query in ("", "?at=noon", "?at=2026-06-01T00:00:00", f"?at={START}&from={START}"):
        reply = await api.get(path + query)
        assert (reply.status, list(reply.errors)) == (400, ["from" if "from" in query else "at"])


# Backfill


async def test_a_backfill_includes_its_start_and_not_its_end(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    reply = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    assert (reply.status, reply.json["count"]) == (202, 3)
    times = [f"2026-05-31T10:{minute}:00Z" for minute in ("00", "10", "20")]
    assert [item["scheduled_at"] for item in reply.json["items"]] == times
    assert {(item["status"], item["trigger"], item["covers"]) for item in reply.json["items"]} == {
        ("queued", "manual", 1)
    }
    assert await executions(api, job) == reply.json["items"]
    name = uuid.UUID(reply.json["items"][0]["webhook_id"])
    assert reply.json["items"][0]["run_id"] == str(uuid.uuid5(name, times[0]))
    assert (await api.get(f"/api/jobs/{job['id']}")).json["next_run_at"] == job["next_run_at"]


async def test_a_dry_run_only_counts(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    dry = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z", dry_run=True)
    assert (dry.status, dry.json) == (200, {"count": 6, "items": []})
    assert await executions(api, job) == []
    await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:20:00Z")
    rest = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z", dry_run=True)
    assert rest.json["count"] == 4


async def test_a_backfill_twice_is_a_backfill_once(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    before = await executions(api, job)
    again = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:30:00Z")
    assert (again.status, again.json) == (202, {"count": 0, "items": []})
    more = await backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T10:40:00Z")
    assert [item["scheduled_at"] for item in more.json["items"]] == ["2026-05-31T10:30:00Z"]
    assert await executions(api, job) == [*before, *more.json["items"]]


async def test_two_backfills_at_once_are_one(api: Api) -> None:
    job = await api.new_job(schedule="*/10 * * * *", webhook=HOOK)
    both = await asyncio.gather(*(backfill(api, job, "2026-05-31T10:00:00Z", "2026-05-31T11:00:00Z") for _ in range(2)))
    assert sorted(reply.json["count"] for reply in both) == [0, 6]
    assert len(await executions(api, job)) == 6


async def test_what_ran_by_itself_is_not_run_again(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await look(api, 3600)
    await look(api, 3 * 3600)  # three times merged into the run of 04:00
    assert [row["covers"] for row in await executions(api, job)] == [1, 3]
    reply = await backfill(api, job, "2026-06-01T00:00:00Z", "2026-06-01T04:00:00Z")
    filled = ["2026-06-01T00:00:00Z", "2026-06-01T02:00:00Z", "2026-06-01T03:00:00Z"]
    assert [item["scheduled_at"] for item in reply.json["items"]] == filled
    assert await verdict(api, job, "2026-06-01T02:00:00Z") == "pending"


async def test_a_skipped_time_gets_its_run(api: Api) -> None:
    """The record stands for many times under the identity of the newest; that one can be run like the others."""
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, catchup="none")
    await look(api, 3 * 3600 + 1)
    (record,) = await executions(api, job)
    assert (record["status"], record["covers"]) == ("skipped", 3)
    reply = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:00Z")
    assert reply.json["count"] == 2
    newest = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:01Z")
    (item,) = newest.json["items"]
    assert (item["run_id"], item["attempt"], item["status"]) == (record["run_id"], 2, "queued")
    for hour in (1, 2, 3):
        assert await verdict(api, job, f"2026-06-01T0{hour}:00:00Z") == "pending"
    assert (await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T03:00:01Z")).json["count"] == 0


async def test_the_other_times_of_a_record_stay_skipped(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK, catchup="none")
    await look(api, 3 * 3600 + 1)
    await backfill(api, job, "2026-06-01T03:00:00Z", "2026-06-01T03:00:01Z")
    assert await verdict(api, job, "2026-06-01T03:00:00Z") == "pending"
    assert await verdict(api, job, "2026-06-01T02:00:00Z") == "skipped"


async def test_what_is_due_by_itself_comes_before_a_backfill(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    api.clock.advance(3 * 3600)
    reply = await backfill(api, job, START, "2026-06-01T03:00:00Z")
    assert reply.json["count"] == 3
    rows = await executions(api, job)
    assert (rows[0]["trigger"], rows[0]["covers"], rows[0]["scheduled_at"]) == ("catchup", 3, "2026-06-01T03:00:00Z")


async def test_a_pause_can_be_filled(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.patch(f"/api/jobs/{job['id']}/disable")
    api.clock.advance(5 * 3600)
    await api.patch(f"/api/jobs/{job['id']}/enable")
    assert await executions(api, job) == []
    reply = await backfill(api, job, "2026-06-01T01:00:00Z", "2026-06-01T05:00:00Z")
    assert reply.json["count"] == 4
    assert await verdict(api, job, "2026-06-01T02:00:00Z") == "pending"
    assert await verdict(api, job, "2026-06-01T05:00:00Z") == "paused"


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
    assert {row["status"] for row in await executions(api, job)} == {"failure"}


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
    assert await executions(api, job) == []


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
    assert await executions(api, job) == []


async def test_a_backfill_is_for_editors_of_the_account(api: Api) -> None:
    job = await api.new_job(schedule="* * * * *")
    body = {"from": "2026-05-31T00:00:00Z", "to": "2026-05-31T01:00:00Z"}
    assert (await api.post(f"/api/jobs/{job['id']}/backfill", body, user="bob")).status == 403
    assert (await api.post(f"/api/jobs/{uuid.uuid4()}/backfill", body)).status == 404


# Trigger with an overlap of its own


@pytest.mark.parametrize(
    ("overlap", "first", "second"),
    [
        ("allow", "queued", "queued"),
        ("skip", "queued", "skipped"),
        ("buffer_one", "queued", "queued"),
        ("cancel_previous", "cancelled", "queued"),
    ],
)
async def test_a_run_by_hand_chooses_its_own_overlap(api: Api, overlap: str, first: str, second: str) -> None:
    job = await api.new_job(webhook=HOOK, overlap="skip")
    await api.post(f"/api/jobs/{job['id']}/trigger")
    api.clock.advance(1)
    reply = await api.post(f"/api/jobs/{job['id']}/trigger", {"overlap": overlap})
    assert (reply.status, reply.json["items"][0]["status"]) == (202, second)
    assert [row["status"] for row in await executions(api, job)] == [first, second]
    claims = await api.service.stores.queue.claim(api.clock.now(), 10)
    assert len(claims) == {"allow": 2, "skip": 1, "buffer_one": 1, "cancel_previous": 1}[overlap]
    read = (await api.get(f"/api/jobs/{job['id']}")).json
    assert (read["overlap"], read["next_run_at"]) == ("skip", job["next_run_at"])
    assert read["last_run_at"] == (START if overlap == "skip" else "2026-06-01T00:00:01Z")


async def test_a_paused_job_can_be_run_by_hand(api: Api) -> None:
    job = await api.new_job(webhook=HOOK, enabled=False)
    await api.post(f"/api/jobs/{job['id']}/trigger")
    assert len(await api.service.stores.queue.claim(api.clock.now() + SECOND, 10)) == 1


async def test_a_pause_without_a_note_does_not_speak_with_that_of_an_older_one(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)
    await api.patch(f"/api/jobs/{job['id']}/disable", {"note": "lunch"})
    await api.patch(f"/api/jobs/{job['id']}/enable")
    api.clock.advance(60)
    assert (await api.patch(f"/api/jobs/{job['id']}/disable")).json["note"] is None
    api.clock.advance(7200)
    assert "lunch" not in (await explain(api, job, "2026-06-01T01:00:00Z"))["detail"]


async def test_the_far_future_is_not_counted_through(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise AssertionError("this takes seconds")

    monkeypatch.setattr(Schedule, "count_between", refuse)
    for max_runs, then in ((5, "not_due"), (1_000_000, "due")):
        job = await api.new_job(schedule="0 9 * * *", timezone="Europe/Berlin", max_runs=max_runs, webhook=HOOK)
        assert await verdict(api, job, "9998-01-01T08:00:00Z") == then


async def test_nobody_speaks_in_the_name_of_the_service(api: Api) -> None:
    assert (await api.get("/api/jobs", user="scheduler")).status == 401
    account = (await api.post("/api/accounts", {"name": "a"})).json
    reply = await api.post(f"/api/accounts/{account['id']}/members", {"user": "scheduler", "role": "editor"})
    assert reply.status == 400 and "user" in reply.errors


async def test_a_backfill_into_pruned_times_is_refused(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook=HOOK)

    async def mark(tx: Transaction) -> None:
        pruned = {"id": job["id"], "at": parse_instant("2026-05-31T12:00:00Z")}
        await tx.execute("UPDATE jobs SET pruned_until_at = :at WHERE id = :id", pruned)

    await api.service.stores.db.transaction(mark)
    for dry_run in (True, False):
        reply = await backfill(api, job, "2026-05-31T12:00:00Z", "2026-05-31T15:00:00Z", dry_run=dry_run)
        assert reply.status == 400 and "2026-05-31T12:00:00Z" in reply.json["errors"]["from"][0]
    assert await executions(api, job) == []
    assert (await backfill(api, job, "2026-05-31T12:00:01Z", "2026-05-31T15:00:00Z")).json["count"] == 2
