"""When will it run: preview, upcoming, and the next runs that answers about a job carry, over HTTP."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.conftest import Api, Reply

START = "2026-06-01T00:00:00Z"


async def preview(api: Api, **query: Any) -> Reply:
    return await api.get(f"/api/schedules/preview?{urlencode(query)}")


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


async def test_a_preview_of_an_interval_shows_what_a_job_made_now_would_run(api: Api) -> None:
    job = await api.new_job(schedule="@every 1h")
    for schedule in ("@every 1h", "@in 1h"):
        items = (await preview(api, schedule=schedule, count=1)).json["items"]
        assert items[0]["at"] == job["next_run_at"] == "2026-06-01T01:00:00Z"
    later = (await preview(api, schedule="@every 1h", count=1, **{"from": "2026-07-01T10:30:00Z"})).json["items"]
    assert later[0]["at"] == "2026-07-01T11:00:00Z"
    both = (await preview(api, schedule="@every 1h\n@hourly", count=1)).json["items"]
    assert both[0]["at"] == START


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
