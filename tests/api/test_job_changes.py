"""Changes of jobs: what they move, what they leave alone and what they end."""

from __future__ import annotations

from tests.api.conftest import Api


async def test_a_change_of_the_schedule_counts_from_now(api: Api) -> None:
    job = await api.new_job()
    api.clock.advance(3600)
    changed = (await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 * * * *"})).json
    assert changed["next_run_at"] == "2026-06-01T01:30:00Z"
    assert changed["updated_at"] == "2026-06-01T01:00:00Z"
    assert changed["name"] == job["name"]
    moved = (await api.put(f"/api/jobs/{job['id']}", {"timezone": "Asia/Kolkata"})).json
    assert moved["next_run_at"] == "2026-06-01T02:00:00Z"


async def test_what_does_not_touch_the_schedule_does_not_move_the_next_run(api: Api) -> None:
    job = await api.new_job(schedule="@every 2h")
    api.clock.advance(600)
    same = await api.put(f"/api/jobs/{job['id']}", {"name": "new", "schedule": "@every 2h", "tags": ["a"]})
    assert same.json["next_run_at"] == job["next_run_at"]
    assert (same.json["name"], same.json["tags"]) == ("new", ["a"])


async def test_null_clears_what_may_be_null_and_nothing_else(api: Api) -> None:
    job = await api.new_job(note="why", starts_at="2026-06-10T00:00:00Z", ends_at="2026-07-10T00:00:00Z", max_runs=3)
    nullable = ("note", "starts_at", "ends_at", "max_runs")
    cleared = await api.put(f"/api/jobs/{job['id']}", dict.fromkeys(nullable))
    assert cleared.status == 200
    assert [cleared.json[name] for name in nullable] == [None] * 4
    assert cleared.json["next_run_at"] == "2026-06-01T02:00:00Z"
    for name in ("name", "schedule", "timezone", "enabled", "retry", "tags", "type", "anchor", "account_id"):
        refused = await api.put(f"/api/jobs/{job['id']}", {name: None})
        assert (refused.status, refused.json["error_code"]) == (400, "VALIDATION_ERROR"), name
        assert list(refused.errors) == [name]


async def test_a_job_is_paused_and_resumed(api: Api) -> None:
    job = await api.new_job(schedule="@every 2h")
    paused = await api.patch(f"/api/jobs/{job['id']}/disable", {"note": "ann: the receiver moves"})
    assert paused.status == 200
    assert (paused.json["enabled"], paused.json["next_run_at"], paused.json["next_runs"]) == (False, None, [])
    assert paused.json["note"] == "ann: the receiver moves"
    api.clock.advance(5 * 3600)
    resumed = (await api.patch(f"/api/jobs/{job['id']}/enable")).json
    assert (resumed["enabled"], resumed["next_run_at"]) == (True, "2026-06-01T06:00:00Z")
    assert resumed["note"] == "ann: the receiver moves"
    again = (await api.patch(f"/api/jobs/{job['id']}/enable", {"note": None})).json
    assert (again["next_run_at"], again["note"]) == ("2026-06-01T06:00:00Z", None)


async def test_enabled_can_be_changed_by_put(api: Api) -> None:
    job = await api.new_job(enabled=False)
    assert job["next_run_at"] is None
    assert (await api.put(f"/api/jobs/{job['id']}", {"enabled": True})).json["next_run_at"] == "2026-06-01T02:00:00Z"


async def test_a_job_that_is_through_cannot_be_enabled(api: Api) -> None:
    job = await api.new_job(ends_at="2026-06-02T00:00:00Z")
    api.clock.advance(86_400)
    await api.service.engine.firer.fire_due(api.clock.now())
    through = (await api.get(f"/api/jobs/{job['id']}")).json
    assert (through["enabled"], through["next_run_at"]) == (False, None)
    refused = await api.patch(f"/api/jobs/{job['id']}/enable")
    assert (refused.status, list(refused.errors)) == (400, ["ends_at"])
    longer = await api.put(f"/api/jobs/{job['id']}", {"ends_at": None, "enabled": True})
    assert (longer.json["next_run_at"], longer.json["disabled_reason"]) == ("2026-06-02T02:00:00Z", None)


async def test_a_bound_that_leaves_nothing_ends_the_job(api: Api) -> None:
    job = await api.new_job()
    ended = (await api.put(f"/api/jobs/{job['id']}", {"ends_at": "2026-06-01T00:00:01Z"})).json
    assert (ended["enabled"], ended["next_run_at"], ended["next_runs"]) == (False, None, [])
    assert ended["disabled_reason"].startswith("through")


async def test_what_was_due_before_a_change_still_fires(api: Api) -> None:
    job = await api.new_job(schedule="0 * * * *", webhook={"url": "https://example.com/hook"})
    api.clock.advance(3601)
    await api.put(f"/api/jobs/{job['id']}", {"schedule": "30 5 * * *"})
    await api.service.engine.firer.fire_due(api.clock.now())
    executions = (await api.get(f"/api/jobs/{job['id']}/executions")).json["items"]
    assert [execution["scheduled_at"] for execution in executions] == ["2026-06-01T01:00:00Z"]
    assert (await api.get(f"/api/jobs/{job['id']}")).json["next_run_at"] == "2026-06-01T05:30:00Z"


async def test_after_a_moment_has_passed_the_job_can_be_changed(api: Api) -> None:
    job = await api.new_job(schedule="0 5 * * *\n@in 10m")
    api.clock.advance(601)
    await api.service.engine.firer.fire_due(api.clock.now())
    path = f"/api/jobs/{job['id']}"
    assert (await api.put(path, {"timezone": "Asia/Tokyo"})).json["next_run_at"] == "2026-06-01T20:00:00Z"
    kept = (await api.put(path, {"schedule": job["schedule"].replace("0 5", "0 6")})).json
    assert kept["next_run_at"] == "2026-06-01T21:00:00Z"
    refused = await api.put(path, {"schedule": "0 5 * * *\n@at 2026-06-01T00:09:00Z"})
    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_CRON_EXPRESSION")
