"""Jobs over HTTP: creating, reading, refusing, deleting, running."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.conftest import Api

NOWHERE = "018f4a3e-0000-7000-8000-000000000000"
ADDED: dict[str, Any] = {
    "dst_policy": "debian",
    "day_match": "or",
    "starts_at": None,
    "ends_at": None,
    "max_runs": None,
    "jitter_s": 0,
    "spread_s": 0,
    "catchup": "latest",
    "catchup_window_s": 86400,
    "catchup_limit": 100,
    "overlap": "allow",
    "delivery": "at_least_once",
    "auto_disable": True,
    "note": None,
    "tags": [],
    "disabled_reason": None,
}


async def test_a_job_of_two_fields_has_every_default(api: Api) -> None:
    reply = await api.post("/api/jobs", {"name": "nightly", "schedule": "0 2 * * *"})
    assert reply.status == 201
    job = reply.json
    account = (await api.get("/api/accounts")).json["items"][0]
    assert uuid.UUID(job["id"]).version == 7
    assert job["account_id"] == account["id"]
    assert (job["name"], job["schedule"], job["type"]) == ("nightly", "0 2 * * *", 1)
    assert (job["timezone"], job["enabled"], job["last_run_at"]) == ("UTC", True, None)
    assert job["next_run_at"] == "2026-06-01T02:00:00Z"
    assert job["created_at"] == job["updated_at"] == job["anchor"] == "2026-06-01T00:00:00Z"
    assert {name: job[name] for name in ADDED} == ADDED
    assert job["retry"] == {
        "max_attempts": 3,
        "backoff_seconds": 60,
        "backoff_type": "exponential",
        "delays": None,
        "max_backoff_seconds": 3600,
        "max_age_seconds": 86400,
        "jitter": 0.1,
        "retry_on": None,
    }
    assert job["next_runs"] == [f"2026-06-0{day}T02:00:00Z" for day in range(1, 6)]
    assert job["description"]
    assert "webhook" not in job


async def test_every_field_that_goes_in_comes_out(api: Api) -> None:
    account = (await api.post("/api/accounts", {"name": "team"})).json
    fields = {
        "account_id": account["id"],
        "name": "Überweisung",
        "schedule": "*/10 * * * * *",
        "type": 7,
        "timezone": "Europe/Paris",
        "enabled": False,
        "dst_policy": "literal",
        "day_match": "and",
        "anchor": "2026-01-01T00:00:00.5Z",
        "starts_at": "2026-07-01T00:00:00Z",
        "ends_at": "2027-07-01T00:00:00Z",
        "max_runs": 5,
        "jitter_s": 0.5,
        "spread_s": 60,
        "catchup": "all",
        "catchup_window_s": 10,
        "catchup_limit": 3,
        "overlap": "buffer_one",
        "delivery": "at_most_once",
        "auto_disable": False,
        "note": "until the move\nis over",
        "tags": ["red", "blue"],
    }
    retry = {
        "max_attempts": 5,
        "backoff_seconds": 0.5,
        "backoff_type": "linear",
        "delays": [1, 2.5],
        "max_backoff_seconds": 10,
        "max_age_seconds": 100,
        "jitter": 0,
        "retry_on": ["network", 408, "5xx"],
    }
    job = await api.new_job(**fields, retry=retry)
    assert {name: job[name] for name in fields} == fields
    assert job["retry"] == retry
    assert (await api.get(f"/api/jobs/{job['id']}")).json == job


async def test_a_webhook_can_be_created_with_its_job(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook", "method": "PUT"})
    webhook = job["webhook"]
    assert webhook["job_id"] == job["id"]
    assert (webhook["url"], webhook["method"]) == ("https://example.com/hook", "PUT")
    assert (await api.get(f"/webhooks?job_id={job['id']}")).json["items"] == [webhook]


async def test_a_refused_nested_webhook_stores_nothing(api: Api) -> None:
    body = {"name": "job", "schedule": "0 2 * * *", "webhook": {"url": "ftp://example.com/"}}
    reply = await api.post("/api/jobs", body)
    assert reply.status == 400
    assert list(reply.errors) == ["webhook.url"]
    assert (await api.get("/api/jobs")).json["total"] == 0
    assert (await api.get("/api/accounts")).json["total"] == 0


async def test_bulk_creates_all_or_none(api: Api) -> None:
    plain = {"name": "job", "schedule": "0 2 * * *"}
    reply = await api.post("/api/jobs/bulk", {"jobs": [plain, {**plain, "webhook": {"url": "https://example.com/"}}]})
    assert reply.status == 201
    first, second = reply.json["items"]
    assert "webhook" not in first
    assert second["webhook"]["job_id"] == second["id"]
    assert (await api.get("/api/jobs")).json["total"] == 2

    refused = await api.post("/api/jobs/bulk", {"jobs": [plain, plain, plain, {**plain, "schedule": "0 0 30 2 *"}]})
    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_CRON_EXPRESSION")
    assert list(refused.errors) == ["jobs.3.schedule"]
    misspelt = await api.post("/api/jobs/bulk", {"jobs": [plain, {**plain, "webhook": {"url": "https://a.b", "x": 1}}]})
    assert list(misspelt.errors) == ["jobs.1.webhook.x"]
    assert (await api.get("/api/jobs")).json["total"] == 2


@pytest.mark.parametrize("jobs", [[], [{"name": "job", "schedule": "0 2 * * *"}] * 1001, {}, None, "x"])
async def test_bulk_takes_one_to_a_thousand(api: Api, jobs: Any) -> None:
    reply = await api.post("/api/jobs/bulk", {"jobs": jobs})
    assert reply.status == 400
    assert list(reply.errors) == ["jobs"]


async def test_a_job_stays_in_its_account(api: Api) -> None:
    job = await api.new_job()
    other = (await api.post("/api/accounts", {"name": "other"})).json
    refused = await api.put(f"/api/jobs/{job['id']}", {"account_id": other["id"]})
    assert refused.status == 400
    assert list(refused.errors) == ["account_id"]
    assert (await api.put(f"/api/jobs/{job['id']}", {"account_id": job["account_id"]})).status == 200


async def test_deleting_takes_what_belongs_to_the_job(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"})
    execution = (await api.post(f"/api/jobs/{job['id']}/trigger")).json["items"][0]
    gone = await api.delete(f"/api/jobs/{job['id']}")
    assert (gone.status, gone.text) == (204, "")
    assert (await api.get(f"/api/jobs/{job['id']}")).json["error_code"] == "JOB_NOT_FOUND"
    assert (await api.get(f"/webhooks/{job['webhook']['id']}")).json["error_code"] == "WEBHOOK_NOT_FOUND"
    assert (await api.get(f"/api/executions/{execution['id']}")).json["error_code"] == "EXECUTION_NOT_FOUND"
    assert (await api.delete(f"/api/jobs/{job['id']}")).status == 404


async def test_trigger_runs_now_and_moves_nothing(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/one"})
    second = await api.new_webhook(job["id"], url="https://example.com/two")
    await api.new_webhook(job["id"], enabled=False)
    reply = await api.post(f"/api/jobs/{job['id']}/trigger")
    assert reply.status == 202
    items = reply.json["items"]
    assert [item["webhook_id"] for item in items] == [job["webhook"]["id"], second["id"]]
    assert {(item["status"], item["trigger"], item["attempt"]) for item in items} == {("queued", "manual", 1)}
    assert (await api.get(f"/api/jobs/{job['id']}")).json["next_run_at"] == job["next_run_at"]
    listed = (await api.get(f"/api/jobs/{job['id']}/executions")).json
    assert listed["items"] == items[::-1]
    assert (await api.get(f"/api/jobs/{job['id']}/executions?status=success")).json["total"] == 0


async def test_a_job_without_webhooks_fails_in_words(api: Api) -> None:
    job = await api.new_job()
    item = (await api.post(f"/api/jobs/{job['id']}/trigger", {})).json["items"][0]
    assert (item["status"], item["webhook_id"]) == ("failure", None)
    assert item["error"].startswith("no_webhook ")


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"schedule": "61 * * * *"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "0 0 30 2 *"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "@at 2020-01-01T00:00:00Z"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": ""}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "* " * 5000}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": "CRON_TZ=Europe/Paris 0 2 * * *", "timezone": "UTC"}, "schedule", "INVALID_CRON_EXPRESSION"),
        ({"schedule": 5}, "schedule", "VALIDATION_ERROR"),
        ({"timezone": "Mars/Base"}, "timezone", "VALIDATION_ERROR"),
        ({"timezone": "../../etc/passwd"}, "timezone", "VALIDATION_ERROR"),
        ({"timezone": ""}, "timezone", "VALIDATION_ERROR"),
        ({"name": ""}, "name", "VALIDATION_ERROR"),
        ({"name": "  "}, "name", "VALIDATION_ERROR"),
        ({"name": "n" * 256}, "name", "VALIDATION_ERROR"),
        ({"name": "a\u202eb"}, "name", "VALIDATION_ERROR"),
        ({"name": "a\nb"}, "name", "VALIDATION_ERROR"),
        ({"name": "a" + "\u0301" * 20}, "name", "VALIDATION_ERROR"),
        ({"name": "a\0b"}, "name", "VALIDATION_ERROR"),
        ({"note": "a\0b"}, "note", "VALIDATION_ERROR"),
        ({"type": "1"}, "type", "VALIDATION_ERROR"),
        ({"type": True}, "type", "VALIDATION_ERROR"),
        ({"type": 1.5}, "type", "VALIDATION_ERROR"),
        ({"type": 2**31}, "type", "VALIDATION_ERROR"),
        ({"enabled": "true"}, "enabled", "VALIDATION_ERROR"),
        ({"enabled": 1}, "enabled", "VALIDATION_ERROR"),
        ({"dst_policy": "none"}, "dst_policy", "VALIDATION_ERROR"),
        ({"anchor": "2026-01-01"}, "anchor", "VALIDATION_ERROR"),
        ({"anchor": "2026-02-30T00:00:00Z"}, "anchor", "VALIDATION_ERROR"),
        ({"anchor": "1969-12-31T23:59:59Z"}, "anchor", "VALIDATION_ERROR"),
        ({"ends_at": "2026-06-01T01:00:00Z"}, "ends_at", "VALIDATION_ERROR"),
        ({"max_runs": 0}, "max_runs", "VALIDATION_ERROR"),
        ({"jitter_s": -1}, "jitter_s", "VALIDATION_ERROR"),
        ({"jitter_s": False}, "jitter_s", "VALIDATION_ERROR"),
        ({"catchup_limit": 1001}, "catchup_limit", "VALIDATION_ERROR"),
        ({"overlap": ["allow"]}, "overlap", "VALIDATION_ERROR"),
        ({"tags": "red"}, "tags", "VALIDATION_ERROR"),
        ({"tags": [1]}, "tags.0", "VALIDATION_ERROR"),
        ({"tags": ["x" * 101]}, "tags.0", "VALIDATION_ERROR"),
        ({"tags": ["x"] * 51}, "tags", "VALIDATION_ERROR"),
        ({"retry": []}, "retry", "VALIDATION_ERROR"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "VALIDATION_ERROR"),
        ({"retry": {"max_attempts": 101}}, "retry.max_attempts", "VALIDATION_ERROR"),
        ({"retry": {"backoff_seconds": 1e9}}, "retry.backoff_seconds", "VALIDATION_ERROR"),
        ({"retry": {"jitter": 5}}, "retry.jitter", "VALIDATION_ERROR"),
        ({"retry": {"delays": []}}, "retry.delays", "VALIDATION_ERROR"),
        ({"retry": {"delays": [1, -1]}}, "retry.delays.1", "VALIDATION_ERROR"),
        ({"retry": {"retry_on": ["6xx"]}}, "retry.retry_on.0", "VALIDATION_ERROR"),
        ({"retry": {"retries": 1}}, "retry.retries", "VALIDATION_ERROR"),
        ({"webhook": None}, "webhook", "VALIDATION_ERROR"),
        ({"webhook": {}}, "webhook.url", "VALIDATION_ERROR"),
        ({"webhook": {"url": "https://example.com/", "job_id": NOWHERE}}, "webhook.job_id", "VALIDATION_ERROR"),
        ({"account_id": "mine"}, "account_id", "VALIDATION_ERROR"),
        ({"id": NOWHERE}, "id", "VALIDATION_ERROR"),
        ({"next_run_at": "2026-06-01T02:00:00Z"}, "next_run_at", "VALIDATION_ERROR"),
        ({"is_admin": True}, "is_admin", "VALIDATION_ERROR"),
    ],
)
async def test_a_refusal_names_the_field_and_stores_nothing(
    api: Api, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = await api.post("/api/jobs", {"name": "job", "schedule": "0 2 * * *", **fields})
    assert (reply.status, reply.json["error_code"]) == (400, code)
    assert list(reply.errors) == [field]
    assert field in reply.json["detail"]
    assert (await api.get("/api/jobs")).json["total"] == 0
    assert (await api.get("/api/accounts")).json["total"] == 0


async def test_every_missing_field_is_named(api: Api) -> None:
    assert set((await api.post("/api/jobs", {})).errors) == {"name", "schedule"}


async def test_a_zone_in_the_schedule_is_the_zone_of_the_job(api: Api) -> None:
    job = await api.new_job(schedule="CRON_TZ=Europe/Paris 0 2 * * *")
    assert (job["timezone"], job["next_run_at"]) == ("Europe/Paris", "2026-06-02T00:00:00Z")
    moved = (await api.put(f"/api/jobs/{job['id']}", {"schedule": "CRON_TZ=Asia/Tokyo 0 2 * * *"})).json
    assert (moved["timezone"], moved["next_run_at"]) == ("Asia/Tokyo", "2026-06-01T17:00:00Z")


async def test_next_runs_stop_where_the_job_does(api: Api) -> None:
    assert len((await api.new_job(max_runs=2))["next_runs"]) == 2
    assert len((await api.new_job(ends_at="2026-06-04T02:00:00Z"))["next_runs"]) == 3


async def test_a_run_by_hand_may_give_way_to_an_active_one(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"})
    path = f"/api/jobs/{job['id']}/trigger"
    assert (await api.post(path, {"overlap": "skip"})).json["items"][0]["status"] == "queued"
    second = await api.post(path, {"overlap": "skip"})
    assert (second.status, second.json["items"][0]["status"]) == (202, "skipped")
    assert (await api.post(path)).json["items"][0]["status"] == "queued"
    assert list((await api.post(path, {"overlap": "wait"})).errors) == ["overlap"]


async def test_rare_schedules_are_accepted_and_endless_ones_refused(api: Api) -> None:
    rare = await api.new_job(schedule="0 0 29 2 *")
    assert rare["next_run_at"] == "2028-02-29T00:00:00Z"
    bomb = ",".join(str(number % 60) for number in range(200_000)) + " * * * *"
    reply = await api.post("/api/jobs", {"name": "job", "schedule": bomb})
    assert (reply.status, reply.json["error_code"]) == (400, "INVALID_CRON_EXPRESSION")
    assert len(reply.text) < 1000


async def test_a_call_in_ten_minutes_is_stored_as_the_time_it_means(api: Api) -> None:
    job = await api.new_job(schedule="@in 10m", timezone="Asia/Tokyo")
    assert (job["schedule"], job["next_runs"]) == ("@at 2026-06-01T00:10:00Z", ["2026-06-01T00:10:00Z"])
    assert job["description"] == "once, at 2026-06-01 00:10:00 UTC"
    api.clock.advance(60)
    changed = (await api.put(f"/api/jobs/{job['id']}", {"schedule": "@in 1h"})).json
    assert changed["schedule"] == "@at 2026-06-01T01:01:00Z"
    sent_back = {name: changed[name] for name in ("name", "schedule", "timezone", "anchor", "enabled", "tags")}
    assert (await api.put(f"/api/jobs/{job['id']}", sent_back)).json["next_run_at"] == changed["next_run_at"]
    bulk = await api.post("/api/jobs/bulk", {"jobs": [{"name": "x", "schedule": f"@in {n}s"} for n in (1, 2)]})
    assert [one["next_run_at"] for one in bulk.json["items"]] == ["2026-06-01T00:01:01Z", "2026-06-01T00:01:02Z"]


async def test_an_interval_begins_at_the_start_of_its_job(api: Api) -> None:
    job = await api.new_job(schedule="@every 6h", starts_at="2026-06-01T04:30:00Z")
    assert (job["anchor"], job["next_run_at"]) == ("2026-06-01T04:30:00Z", "2026-06-01T04:30:00Z")
    assert job["description"] == "every 6 hours of elapsed time, counted from 2026-06-01 04:30:00 UTC"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"schedule": "0 10 * * ? *"}, "schedule", "write 0 10 * * *"),
        ({"schedule": "every 5 minutes"}, "schedule", "write @every 5m or */5 * * * *"),
        ({"schedule": "0 9 * * MON\u2013FRI"}, "schedule", "write 0 9 * * MON-FRI"),
        ({"schedule": "@every 1M"}, "schedule", "months (M), which are no fixed interval"),
        ({"schedule": "@daily", "timezone": "PST"}, "timezone", "write America/Los_Angeles"),
        ({"schedule": "@daily", "timezone": ""}, "timezone", "empty"),
    ],
)
async def test_a_refusal_says_what_to_write_here(api: Api, fields: dict[str, str], field: str, words: str) -> None:
    reply = await api.post("/api/jobs", {"name": "x", **fields})
    assert reply.status == 400
    assert words in reply.errors[field][0] and '""' not in reply.json["detail"]
