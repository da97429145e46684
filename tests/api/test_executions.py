"""Executions and the dead letter over HTTP. Attempts end here as a test says, without a receiver."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from scheduler.domain.clock import SECOND
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import Outcome, settle
from tests.api.conftest import Api

OK = Outcome(response_code=204, response_headers={"Server": "x"}, response_body="fine")
GONE = Outcome(error_code=ErrorCode.HTTP, error_text="Gone", response_code=410, response_body="no", body_truncated=True)
BROKEN = Outcome(error_code=ErrorCode.HTTP, error_text="Internal Server Error", response_code=500)


async def run(api: Api, *outcomes: Outcome, **fields: Any) -> list[Any]:
    """A job with one webhook per outcome, run once, its attempts ended so; the executions, oldest first."""
    job = await api.new_job(**fields)
    for _ in outcomes:
        await api.new_webhook(job["id"])
    await api.post(f"/api/jobs/{job['id']}/trigger")
    await attempt(api, *outcomes)
    return (await api.get(f"/api/executions?job_id={job['id']}")).items[::-1]


async def attempt(api: Api, *outcomes: Outcome) -> None:
    """Claim what is ready and end it, a second later."""
    queue = api.service.stores.queue
    claims = await queue.claim(api.clock.now(), len(outcomes))
    assert len(claims) == len(outcomes)
    api.clock.advance(1)
    ended = [
        settle(claim.execution, outcome, api.clock.now(), policy=claim.policy)
        for claim, outcome in zip(claims, outcomes, strict=True)
    ]
    await queue.settle(ended, api.clock.now())


async def dead(api: Api, **fields: Any) -> Any:
    return (await run(api, GONE, **fields))[0]


async def test_what_was_odd_about_an_answer_is_shown(api: Api) -> None:
    odd = Outcome(response_code=200, warnings=['Header fields malformed were dropped: "X Y".', "é"])
    (execution,) = await run(api, odd)
    assert execution["warnings"] == ['Header fields malformed were dropped: "X Y".', "é"]


async def test_an_attempt_is_told_in_full(api: Api) -> None:
    (execution,) = await run(api, OK)
    assert execution == {
        "id": execution["id"],
        "run_id": execution["run_id"],
        "job_id": execution["job_id"],
        "account_id": execution["account_id"],
        "webhook_id": execution["webhook_id"],
        "status": "success",
        "attempt": 1,
        "trigger": "manual",
        "scheduled_at": "2026-06-01T00:00:00Z",
        "available_at": "2026-06-01T00:00:00Z",
        "created_at": "2026-06-01T00:00:00Z",
        "started_at": "2026-06-01T00:00:00Z",
        "finished_at": "2026-06-01T00:00:01Z",
        "duration_ms": 1000,
        "covers": 1,
        "covers_from": None,
        "reason": None,
        "worker_id": execution["worker_id"],
        "response_code": 204,
        "response_headers": {"Server": "x"},
        "response_body": "fine",
        "body_truncated": False,
        "warnings": None,
        "error": None,
    }
    assert {uuid.UUID(execution["id"]).version, uuid.UUID(execution["run_id"]).version} == {7}
    assert (await api.get(f"/api/executions/{execution['id']}")).json == execution


async def test_executions_are_filtered_and_newest_first(api: Api) -> None:
    first = (await run(api, OK))[0]
    api.clock.advance(10)
    second, third = (await run(api, BROKEN, OK))[:2]
    everything = (await api.get("/api/executions")).json
    ids = [item["id"] for item in everything["items"]]
    assert ids == sorted(ids, reverse=True)
    assert everything["total"] == len(ids) == 4  # the broken one waits for its retry

    async def listed(query: str) -> set[str]:
        return {item["id"] for item in (await api.get(f"/api/executions?{query}")).json["items"]}

    assert await listed("status=success") == {first["id"], third["id"]}
    assert await listed("status=failure") == {second["id"]}
    assert await listed(f"job_id={first['job_id']}") == {first["id"]}
    assert await listed(f"run_id={third['run_id']}") == {third["id"]}
    assert len(await listed(f"run_id={second['run_id']}")) == 2
    assert first["id"] not in await listed("since=2026-06-01T00:00:05Z")
    assert len(await listed("since=2026-06-01T00:00:05%2B00:00")) == 3
    assert await listed("status=dead_letter") == set()
    assert await listed("status=success&status=failure") == {first["id"], second["id"], third["id"]}
    assert await listed(f"webhook_id={third['webhook_id']}") == {third["id"]}
    assert await listed("until=2026-06-01T00:00:05Z") == {first["id"]}
    assert await listed("error=http_500") == await listed("error=http") == {second["id"]}
    assert await listed("error=http_503") == await listed("error=timeout") == set()
    await api.delete(f"/api/webhooks/{third['webhook_id']}")
    assert await listed(f"webhook_id={third['webhook_id']}") == {third["id"]}, "its executions stay"


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("error=broken", "error", "must be http_ and a status, such as http_503, or one of dns_failed, "),
        ("error=http_", "error", "http_ must be followed by a status of three digits"),
        ("error=http_abc", "error", "http_ must be followed by a status of three digits"),
        ("error=http_5", "error", "http_ must be followed by a status of three digits"),
        ("error=http_099", "error", "http_ must be followed by a status of three digits"),
        ("error=timeout_503", "error", "must be http_ and a status"),
        ("status=success&status=done", "status", "must be one of"),
        ("webhook_id=7", "webhook_id", "must be a UUID"),
        ("until=tomorrow", "until", "not an RFC 3339 time"),
        ("since=2026-06-01T00:00:00Z&since=2026-06-01T00:00:00Z", "since", "given more than once"),
    ],
)
async def test_a_filter_that_means_nothing_is_refused(api: Api, query: str, field: str, reason: str) -> None:
    reply = await api.get(f"/api/executions?{query}")
    assert (reply.status, reply.json["error_code"]) == (400, "VALIDATION_ERROR")
    assert reason in reply.json["errors"][field][0]


async def test_a_webhook_of_somebody_else_is_no_filter(api: Api) -> None:
    (execution,) = await run(api, OK)
    reply = await api.get(f"/api/executions?webhook_id={execution['webhook_id']}", user="stranger")
    assert (reply.status, reply.json["error_code"]) == (403, "FORBIDDEN")


async def test_large_answers_are_compressed_for_those_who_take_it(api: Api) -> None:
    await run(api, OK)
    assert "Content-Encoding" not in (await api.get("/api/executions", headers={"Accept-Encoding": "gzip"})).headers
    await run(api, *[OK] * 40)
    for refusing in ("identity, gzip;q=0", "gzip;q=0, *", "gzip;q=x"):
        plain = await api.get("/api/executions", headers={"Accept-Encoding": refusing})
        assert "Content-Encoding" not in plain.headers and plain.headers["Vary"] == "Accept-Encoding"
    for accepted in ("gzip", "br, gzip;q=0.5", "*", "GZIP ; q=1.0"):
        packed = await api.get("/api/executions", headers={"Accept-Encoding": accepted})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) * 3 < int(plain.headers["Content-Length"])
        assert packed.json == plain.json


async def test_a_run_that_was_given_up_can_be_tried_again(api: Api) -> None:
    letter = await dead(api)
    assert (letter["status"], letter["error"], letter["body_truncated"]) == ("dead_letter", "http_410 Gone", True)
    reply = await api.post(f"/api/executions/{letter['id']}/retry")
    assert reply.status == 202
    again = reply.json
    assert (again["run_id"], again["attempt"], again["status"]) == (letter["run_id"], 2, "queued")
    assert again["id"] != letter["id"]
    twice = await api.post(f"/api/executions/{letter['id']}/retry")
    assert (twice.status, twice.json["error_code"]) == (409, "CONFLICT")
    running = await api.post(f"/api/executions/{again['id']}/retry")
    assert (running.status, running.json["error_code"]) == (409, "CONFLICT")
    assert "queued" in running.json["detail"]


async def test_what_waits_or_runs_can_be_cancelled(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"})
    waiting, running = [(await api.post(f"/api/jobs/{job['id']}/trigger")).json["items"][0]["id"] for _ in range(2)]
    await api.service.stores.queue.claim(api.clock.now(), 1)
    for execution_id in (waiting, running):
        reply = await api.post(f"/api/executions/{execution_id}/cancel", {})
        assert reply.status == 200
        assert (reply.json["status"], reply.json["reason"]) == ("cancelled", "cancelled by ann")
        assert reply.json["finished_at"] == "2026-06-01T00:00:00Z"
        twice = await api.post(f"/api/executions/{execution_id}/cancel")
        assert (twice.status, twice.json["error_code"]) == (409, "CONFLICT")
    retried = await api.post(f"/api/executions/{waiting}/retry")
    assert (retried.status, retried.json["attempt"]) == (202, 2)


async def test_the_dead_letter_is_listed_and_filtered(api: Api) -> None:
    first = await dead(api)
    api.clock.advance(60)
    second = (await run(api, BROKEN, retry={"max_attempts": 1}))[0]
    await run(api, OK)

    async def listed(query: str = "") -> list[str]:
        return [item["id"] for item in (await api.get(f"/api/dead-letter?{query}")).json["items"]]

    assert await listed() == [second["id"], first["id"]]
    assert await listed("error=http_500") == [second["id"]]
    assert await listed("error=%25") == []
    assert await listed(f"job_id={first['job_id']}") == [first["id"]]
    assert await listed(f"account_id={first['account_id']}&limit=1") == [second["id"]]
    assert await listed("since=2026-06-01T00:00:30Z") == [second["id"]]
    assert await listed("until=2026-06-01T00:00:30Z") == [first["id"]]


@pytest.mark.parametrize("verb", ["redrive", "purge"])
async def test_dead_letters_are_counted_before_they_are_changed(api: Api, verb: str) -> None:
    letters = [await dead(api) for _ in range(3)]
    path = f"/api/dead-letter/{verb}"
    chosen = {"ids": [letters[0]["id"]]}
    assert (await api.post(path, {**chosen, "dry_run": True})).json == {"count": 1}
    assert (await api.get("/api/dead-letter")).json["total"] == 3
    reply = await api.post(path, chosen)
    assert (reply.status, reply.json) == (200, {"count": 1})
    assert (await api.get("/api/dead-letter")).json["total"] == 2
    assert (await api.post(path, {"filter": {"job_id": letters[1]["job_id"]}})).json == {"count": 1}
    assert (await api.post(path, {"filter": {"error": "http_500"}})).json == {"count": 0}
    assert (await api.post(path, {"filter": {}})).json == {"count": 1}
    assert (await api.get("/api/dead-letter")).json["total"] == 0


async def test_a_redriven_run_goes_on_counting(api: Api) -> None:
    letter = await dead(api)
    await api.post("/api/dead-letter/redrive", {"ids": [letter["id"]]})
    queued = (await api.get(f"/api/executions?run_id={letter['run_id']}&status=queued")).json["items"]
    assert [(item["attempt"], item["trigger"]) for item in queued] == [(2, "redrive")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": ["x"]}, "ids.0"),
        ({"ids": None}, "ids"),
        ({"ids": [str(uuid.uuid4())], "filter": {}}, "ids"),
        ({"ids": [str(uuid.uuid4())] * 1001}, "ids"),
        ({"filter": []}, "filter"),
        ({"filter": {"status": "failure"}}, "filter.status"),
        ({"filter": {"since": "now"}}, "filter.since"),
        ({"filter": {}, "dry_run": "yes"}, "dry_run"),
        ({"filter": {}, "force": True}, "force"),
    ],
)
async def test_a_selection_is_one_of_two(api: Api, body: Any, field: str) -> None:
    letter = await dead(api)
    for verb in ("redrive", "purge"):
        reply = await api.post(f"/api/dead-letter/{verb}", body)
        assert (reply.status, list(reply.errors)) == (400, [field])
    assert (await api.get("/api/dead-letter")).json["items"] == [letter]


async def test_metrics_follow_the_rows(api: Api) -> None:
    await run(api, OK, OK, OK)
    await dead(api)
    counts = (await api.get("/metrics", headers={"Accept": "application/json"})).json["executions"]
    assert (counts["total"], counts["success"], counts["dead_letter"]) == (4, 3, 1)
    assert (counts["success_rate"], counts["avg_duration_ms"]) == (75.0, 1000.0)


@pytest.mark.parametrize(
    ("overlap", "first", "second", "claimed", "last_run_at"),
    [
        ("allow", "queued", "queued", 2, "2026-06-01T00:00:01Z"),
        ("skip", "queued", "skipped", 1, "2026-06-01T00:00:00Z"),
        ("buffer_one", "queued", "queued", 1, "2026-06-01T00:00:01Z"),
        ("cancel_previous", "cancelled", "queued", 1, "2026-06-01T00:00:01Z"),
    ],
)
async def test_a_run_by_hand_chooses_its_own_overlap(
    api: Api, overlap: str, first: str, second: str, claimed: int, last_run_at: str
) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"}, overlap="skip")
    await api.post(f"/api/jobs/{job['id']}/trigger")
    api.clock.advance(1)
    reply = await api.post(f"/api/jobs/{job['id']}/trigger", {"overlap": overlap})
    assert (reply.status, reply.json["items"][0]["status"]) == (202, second)
    assert [row["status"] for row in await api.executions(job)] == [first, second]
    assert len(await api.service.stores.queue.claim(api.clock.now(), 10)) == claimed
    read = (await api.get(f"/api/jobs/{job['id']}")).json
    assert (read["overlap"], read["next_run_at"]) == ("skip", job["next_run_at"])
    assert read["last_run_at"] == last_run_at


async def test_a_paused_job_can_be_run_by_hand(api: Api) -> None:
    job = await api.new_job(webhook={"url": "https://example.com/hook"}, enabled=False)
    await api.post(f"/api/jobs/{job['id']}/trigger")
    assert len(await api.service.stores.queue.claim(api.clock.now() + SECOND, 10)) == 1
