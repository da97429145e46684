"""Stored values that the present rules would refuse can still be read, paused, explained and deleted."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from scheduler.service import Service
from scheduler.store.database import Transaction
from tests.api.conftest import Api
from tests.conftest import Receiver, both_databases
from tests.factories import fire_and_deliver

ODD_JOBS: dict[str, dict[str, Any]] = {
    "a zone that is unknown now": {"timezone": "Mars/Base"},
    "a zone that is no name": {"timezone": "../../etc/passwd"},
    "an offset as zone (Cronicle 571)": {"timezone": "+05:30"},
    "an abbreviation as zone (taskiq 668)": {"timezone": "UTC+3"},
    "the zone of some machine (FlexGet 360)": {"timezone": "local"},
    "no zone": {"timezone": ""},
    "a schedule that is refused now": {"schedule": "every full moon"},
    "a schedule that contradicts its zone": {"schedule": "CRON_TZ=Asia/Tokyo 0 2 * * *"},
    "values beyond all limits": {"name": "x" * 5000, "jitter_s": 1e9, "catchup_limit": 10**6, "note": "n" * 9000},
    "a policy beyond all limits": {"retry": json.dumps({"max_attempts": 10**6, "backoff_seconds": -1, "jitter": 9})},
    "a policy of another version": {"retry": json.dumps({"max_attempts": 2, "backoff_type": "odd", "budget": 7})},
    "a policy that cannot be read": {"retry": "[]"},
    "tags that cannot be read": {"tags": "{"},
    "tags beyond all limits": {"tags": json.dumps(["t" * 1000] * 100)},
}
ODD_WEBHOOKS: dict[str, dict[str, Any]] = {
    "an address of another kind": {"url": "ftp://example.com/file"},
    "an address that is refused now": {"url": "http://user:password@[bad/ \\"},
    "a host that is no name": {"url": f"http://{'a' * 70}.example/"},
    "a method that is refused now": {"method": "TRACE"},
    "a template with an unknown name": {"body_template": '{"a": "{{ job.colour }}"}'},
    "a template that is not closed": {"body_template": "{{ job.id"},
    "a rule of success that cannot be read": {"success": "{"},
    "a rule of success of another version": {"success": '{"statuses": 7, "json": {"path": "$.ok"}}'},
    "values beyond all limits": {"timeout_s": 1e7, "content_type": "no media type", "query_params": '{"": "\\ud800"}'},
}


async def _store(service: Service, table: str, row_id: str, values: dict[str, Any]) -> None:
    """Write values straight into the database."""
    assignments = ", ".join(f"{name} = :{name}" for name in values)

    async def write(tx: Transaction) -> None:
        await tx.execute(f"UPDATE {table} SET {assignments} WHERE id = :id", {**values, "id": row_id})

    await service.stores.db.transaction(write)


@both_databases
@pytest.mark.parametrize("values", ODD_JOBS.values(), ids=ODD_JOBS)
async def test_a_job_with_odd_stored_values_can_be_read_paused_explained_and_deleted(
    api: Api, values: dict[str, Any]
) -> None:
    job, webhook = await api.new_job(), None
    webhook = await api.new_webhook(job["id"])
    other = await api.new_job(schedule="0 3 * * *")
    await _store(api.service, "jobs", job["id"], values)
    path = f"/api/jobs/{job['id']}"
    calls = [
        ("GET", path, None),
        ("GET", "/api/jobs", None),
        ("GET", f"{path}/executions", None),
        ("GET", f"{path}/explain?at=2026-06-03T02:00:00Z", None),
        ("GET", f"{path}/explain?at=2026-05-03T02:00:00Z", None),
        ("GET", "/api/upcoming", None),
        ("GET", f"/webhooks?job_id={job['id']}", None),
        ("GET", "/api/executions", None),
        ("PUT", path, {"note": "odd"}),
        ("PUT", path, {"name": "named anew"}),
        ("PATCH", f"{path}/disable", {"note": "since it is odd"}),
        ("GET", path, None),
        ("GET", f"{path}/explain?at=2026-06-03T02:00:00Z", None),
        ("PATCH", f"{path}/enable", None),
        ("PATCH", f"{path}/disable", None),
    ]
    for method, where, body in calls:
        reply = await api.call(method, where, body)
        assert reply.status == 200, (method, where, reply.text)
    assert (await api.post(f"{path}/trigger")).status == 202
    upcoming = (await api.get("/api/upcoming")).json
    assert {item["job_id"] for item in upcoming["items"]} == {other["id"]}
    assert (await api.delete(f"/webhooks/{webhook['id']}")).status == 204
    assert (await api.delete(path)).status == 204
    assert [item["id"] for item in (await api.get("/api/jobs")).items] == [other["id"]]


@both_databases
async def test_answers_say_which_jobs_are_left_out_and_why(api: Api) -> None:
    job, other = await api.new_job(), await api.new_job(schedule="0 3 * * *")
    assert (await api.get("/api/upcoming")).json["warnings"] is None
    await _store(api.service, "jobs", job["id"], {"timezone": "Mars/Base"})
    problem = 'its time zone "Mars/Base" is not in the time zone data ('
    read = (await api.get(f"/api/jobs/{job['id']}")).json
    assert read["enabled"] is True
    assert [warning.startswith(problem) for warning in read["warnings"]] == [True]
    assert read["description"].startswith(f"unknown: {problem}")
    assert read["next_runs"] == [read["next_run_at"]]
    listed = {item["id"]: item["warnings"] for item in (await api.get("/api/jobs")).items}
    assert listed == {job["id"]: read["warnings"], other["id"]: None}
    upcoming = (await api.get("/api/upcoming")).json
    assert upcoming["total"] == len(upcoming["items"]) == 1
    assert upcoming["warnings"] == [f"1 job left out: {read['warnings'][0]}"]
    told = (await api.get(f"/api/jobs/{job['id']}/explain?at=2026-06-09T02:00:00Z")).json
    assert (told["verdict"], problem in told["detail"]) == ("unknown", True)
    await api.service.engine.replanner.count_unknown()
    assert (await api.get("/health/detailed", user=None)).json["zone_data"]["jobs_in_unknown_zones"] == 1


@both_databases
async def test_health_and_the_hours_to_come_count_the_jobs_that_wait(api: Api) -> None:
    job = await api.new_job()
    await _store(api.service, "jobs", job["id"], {"timezone": "Mars/Base"})
    api.clock.set("2026-06-01T02:00:00Z")
    await api.service.engine.firer.fire_due(api.clock.now())
    read = (await api.get(f"/api/jobs/{job['id']}")).json
    assert (read["enabled"], read["next_run_at"], read["next_runs"], read["disabled_reason"]) == (True, None, [], None)
    assert len(read["warnings"]) == 1
    upcoming = (await api.get("/api/upcoming")).json
    assert upcoming["warnings"] == ["1 job without a next time left out: see the warnings of the job"]
    assert (await api.get("/health/detailed", user=None)).json["queue"]["jobs_waiting"] == 1


@both_databases
@pytest.mark.parametrize("values", ODD_WEBHOOKS.values(), ids=ODD_WEBHOOKS)
async def test_a_webhook_with_odd_stored_values_can_be_read_changed_and_deleted(
    api: Api, values: dict[str, Any]
) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    await _store(api.service, "webhooks", webhook["id"], values)
    path = f"/webhooks/{webhook['id']}"
    for method, where, body in [
        ("GET", path, None),
        ("GET", f"/webhooks?job_id={job['id']}", None),
        ("PUT", path, {"enabled": False}),
        ("PUT", path, {"enabled": True, "headers": {"X-Team": "a"}}),
        ("POST", f"{path}/rotate-secret", None),
        ("GET", path, None),
    ]:
        reply = await api.call(method, where, body)
        assert reply.status == 200, (method, where, reply.text)
    assert (await api.delete(path)).status == 204


@both_databases
async def test_odd_stored_values_end_their_own_attempts_and_no_others(api: Api, receiver: Receiver) -> None:
    webhook = {"url": f"{receiver.url}/odd"}
    for values in [*ODD_WEBHOOKS.values(), {"query_params": "{"}]:
        odd = await api.new_job(schedule="* * * * *", webhook=webhook, retry={"max_attempts": 1})
        await _store(api.service, "webhooks", odd["webhook"]["id"], values)
    for values in ODD_JOBS.values():
        odd = await api.new_job(schedule="* * * * *", webhook=webhook)
        await _store(api.service, "jobs", odd["id"], values)
    good = await api.new_job(schedule="* * * * *", webhook={"url": receiver.url})
    for _ in range(2):
        api.clock.advance(60)
        await fire_and_deliver(api.service)
    runs = (await api.get(f"/api/jobs/{good['id']}/executions")).items
    assert [run["status"] for run in runs] == ["success", "success"]
    everything = (await api.get("/api/executions?limit=1000")).items
    assert not [run for run in everything if run["status"] == "running"]
    failed = [run["error"] for run in everything if run["status"] == "dead_letter"]
    assert failed
    assert all(error and not error.startswith("interrupted") for error in failed)


async def test_words_that_this_version_does_not_know_stop_neither_their_job_nor_others(api: Api) -> None:
    """The checks of the database are off, as if it were that of another version."""
    unknown = {"overlap": "queue", "catchup": "some", "delivery": "exactly_once", "disabled_by": "mood"}
    jobs = [await api.new_job(schedule="* * * * *") for _ in unknown]
    good = await api.new_job(schedule="* * * * *")
    with sqlite3.connect(api.service.config.data_dir / "scheduler.db", isolation_level=None) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        for job, (name, word) in zip(jobs, unknown.items(), strict=True):
            raw.execute(f"UPDATE jobs SET {name} = ? WHERE id = ?", (word, job["id"]))
    raw.close()
    api.clock.advance(60)
    await api.service.engine.firer.fire_due(api.clock.now())
    for job in (*jobs, good):
        assert (await api.get(f"/api/jobs/{job['id']}/executions")).json["total"] == 1
        assert (await api.call("GET", f"/api/jobs/{job['id']}/explain?at=2026-06-01T00:01:00Z")).status == 200
    assert (await api.patch(f"/api/jobs/{jobs[-1]['id']}/disable")).status == 200
    assert (await api.delete(f"/api/jobs/{jobs[-1]['id']}")).status == 204
