"""Health and metrics over HTTP."""

from __future__ import annotations

import platform
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scheduler.config import Config
from scheduler.domain.events import LookedForDueJobs
from scheduler.domain.schedule.zones import zone_data
from tests.api.conftest import Api, Serve
from tests.conftest import OpenService
from tests.event_log import EventLog

SCRAPER = "a-token-of-a-scraper"


async def test_health_needs_no_token(api: Api) -> None:
    reply = await api.get("/health", user=None)
    assert (reply.status, reply.json) == (200, {"status": "healthy", "service": "scheduler"})
    assert (await api.get("/health/live", user=None)).status == 200


async def test_a_service_whose_loop_does_not_run_is_not_ready(api: Api) -> None:
    for path, word in (("/health/detailed", "unhealthy"), ("/health/ready", "not ready")):
        reply = await api.get(path, user=None)
        assert reply.status == 503
        body = reply.json
        assert (body["status"], body["database"], body["scheduler_service"]) == (word, "connected", "stopped")
        assert (body["error_code"], body["status_code"]) == ("SERVICE_UNAVAILABLE", 503)
        assert body["detail"]


@pytest.fixture
async def running(open_test_service: OpenService, config: Config, serve: Serve) -> AsyncIterator[Api]:
    """A client of a running service that has looked for due jobs once, and would again after a minute.

    Its database may take its time: other processes may have the machine meanwhile.
    """
    slow = replace(config, engine=replace(config.engine, tick_s=60))
    async with open_test_service(config=slow) as opened:
        service = replace(opened, health=replace(opened.health, database_timeout_s=60))
        looked = EventLog(service.events, LookedForDueJobs)
        await service.engine.start()
        await looked.wait_for()
        async with serve(service) as api:
            yield api
        if not service.engine.is_draining:
            await service.engine.stop()


async def test_a_running_service_is_ready_until_it_drains(running: Api) -> None:
    detailed = await running.get("/health/detailed", user=None)
    assert detailed.status == 200
    assert (detailed.json["status"], detailed.json["scheduler_service"]) == ("healthy", "running")
    assert "detail" not in detailed.json
    assert detailed.json["zone_data"] == {**zone_data().to_mapping(), "jobs_in_unknown_zones": 0}
    assert (await running.get("/health/ready", user=None)).status == 200
    await running.service.engine.stop()
    ready = await running.get("/health/ready", user=None)
    assert (ready.status, ready.json["draining"], ready.json["detail"]) == (503, True, "draining")


async def test_metrics_are_prometheus_text_by_default(
    open_test_service: OpenService, serve: Serve, config: Config
) -> None:
    guarded = replace(config, metrics=replace(config.metrics, token=SCRAPER))
    async with open_test_service(guarded) as service, serve(service) as api:
        job = await api.new_job()
        assert (await api.post(f"/api/jobs/{job['id']}/trigger", {})).status == 202
        totals = await api.get("/metrics", user=None, headers={"Authorization": f"Bearer {SCRAPER}"})
        assert totals.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {family.name for family in text_string_to_metric_families(totals.text)}
        assert {"scheduler_http_requests", "scheduler_executions", "scheduler_waiting_seconds"} <= families
        wrong = await api.get("/metrics", user=None, headers={"Authorization": f"Bearer {SCRAPER}x"})
        assert wrong.status == 401


async def test_metrics_of_a_user_have_the_figures_of_their_accounts_only(api: Api) -> None:
    job = await api.new_job()
    await api.post(f"/api/jobs/{job['id']}/trigger", {})
    figures = {
        user: {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families((await api.get("/metrics", user=user)).text)
            for sample in family.samples
        }
        for user in ("ann", "bob")
    }
    assert {name for name, *_ in figures["ann"]} == {
        *("scheduler_executions_total", "scheduler_queue_depth", "scheduler_executions_running"),
        "scheduler_dead_letters",
    }
    assert figures["ann"]["scheduler_executions_total", "failure"] == 1
    assert set(figures["bob"].values()) == {0}


@pytest.mark.parametrize(
    ("headers", "is_json"),
    [
        ({}, False),
        ({"Accept": "*/*"}, False),
        ({"Accept": "text/plain"}, False),
        ({"Accept": "application/json"}, True),
        ({"Accept": "Application/JSON; charset=utf-8"}, True),
        ({"Accept": "application/json, */*;q=0.1"}, True),
        ({"Accept": "text/plain;q=0.5, application/json;q=0.4"}, False),
        ({"Accept": "text/plain, application/json"}, False),
        ({"Accept": "application/json;q=0"}, False),
        ({"Accept": "application/json;q=x"}, False),
        ({"Accept": "application/json;q=nan"}, False),
        ({"Accept": "application/json;q=2, text/plain;q=0.1"}, False),
        ({"Accept": "application/json;charset=utf-8;q=0.2, text/plain;q=0.1"}, True),
        ({"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}, False),
    ],
)
async def test_metrics_are_json_where_the_client_prefers_it(api: Api, headers: dict[str, str], is_json: bool) -> None:
    reply = await api.get("/metrics", headers=headers)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json") == is_json


async def test_json_metrics_count_what_is_mine(api: Api) -> None:
    async def metrics(user: str) -> Any:
        return (await api.get("/metrics", user=user, headers={"Accept": "application/json"})).json

    for user, enabled in (("ann", True), ("ann", False), ("bob", True)):
        job = await api.new_job(user=user, enabled=enabled)
        await api.post(f"/api/jobs/{job['id']}/trigger", user=user)
    mine = await metrics("ann")
    assert mine["timestamp"] == "2026-06-01T00:00:00Z"
    assert mine["jobs"] == {"total": 2, "enabled": 1, "disabled": 1}
    assert mine["executions"] == {
        "total": 2,
        "queued": 0,
        "running": 0,
        "success": 0,
        "failure": 2,
        "timed_out": 0,
        "dead_letter": 0,
        "skipped": 0,
        "cancelled": 0,
        "success_rate": 0.0,
        "avg_duration_ms": 0.0,
    }
    none = await metrics("carl")
    assert none["jobs"]["total"] == none["executions"]["total"] == 0
    assert none["executions"]["success_rate"] == 0.0


async def test_details_say_what_waits_and_name_no_host(api: Api) -> None:
    await api.new_job(schedule="* * * * *", webhook={"url": "https://example.com/"})
    api.clock.advance(90)
    await api.service.engine.firer.fire_due(api.clock.now())
    api.clock.advance(5)
    reply = await api.get("/health/detailed", user=None)
    queue = reply.json["queue"]
    assert (queue["ready"], queue["planned"], queue["in_lanes"]) == (1, 0, 0)
    assert queue["lag_s"] == 5.0 and queue["overdue_s"] == 0.0
    assert reply.json["database_version"].startswith("SQLite 3.")
    assert reply.json["storage"] == "ok" and reply.json["nodes"] == 1
    assert reply.json["last_backup_at"] is None and reply.json["last_tick_at"] is not None
    assert platform.node() not in reply.text and str(api.service.config.data_dir) not in reply.text


async def test_storage_that_is_nearly_full_is_not_ready(running: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await running.get("/health/ready", user=None)).status == 200
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))
    reply = await running.get("/health/ready", user=None)
    assert (reply.status, reply.json["storage"]) == (503, "full")
    assert "storage full" in reply.json["detail"] and reply.headers["Retry-After"] == "1"
    detailed = await running.get("/health/detailed", user=None)
    assert (detailed.status, detailed.json["status"]) == (503, "unhealthy")


async def test_a_loop_that_has_not_looked_for_ten_seconds_is_not_ready(running: Api) -> None:
    running.clock.advance(9.9)
    assert (await running.get("/health/ready", user=None)).status == 200
    running.clock.advance(0.1)
    reply = await running.get("/health/ready", user=None)
    assert (reply.status, reply.json["scheduler_service"]) == (503, "stopped")
    assert (await running.get("/health/live", user=None)).status == 200
