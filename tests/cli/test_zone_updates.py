"""``scheduler serve`` over zone data that change between two starts."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_serve import ask, ending, serving, started_event
from tests.zones import compiled_zone, write_zone


def test_a_restart_after_an_update_runs_waiting_jobs_by_the_new_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones, data_dir = tmp_path / "zoneinfo", str(tmp_path / "data")
    monkeypatch.setenv("PYTHONTZPATH", str(zones))
    write_zone(zones, "America/Vancouver", compiled_zone(first=-8), version="2025b")
    token = ""
    with serving("--data-dir", data_dir) as process:
        url = started_event(process.stderr)["url"]
        token = ending("token", "create", "--data-dir", data_dir)[1].strip()
        wanted = {"name": "lunch", "schedule": "0 12 1 1 *", "timezone": "America/Vancouver"}
        job = ask(f"{url}/api/jobs", token=token, body=json.dumps(wanted).encode())[1]
        assert job["next_run_at"].endswith("-01-01T20:00:00Z")
        process.send_signal(signal.SIGTERM)
        process.communicate()
    write_zone(zones, "America/Vancouver", compiled_zone(first=-7), version="2026a")
    with serving("--data-dir", data_dir) as process:
        assert process.stderr is not None
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1]["message"] != "started":
            lines.append(json.loads(process.stderr.readline()))
        assert lines[-1]["zone_data"] == "2026a, from PYTHONTZPATH"
        (changed,) = [
            line for line in lines if line["message"] == "the time zone data changed: 1 jobs run at other times"
        ]
        assert changed["zones"] == "America/Vancouver"
        url = lines[-1]["url"]
        moved = ask(f"{url}/api/jobs/{job['id']}", token=token)[1]
        assert moved["next_run_at"] == job["next_run_at"].replace("T20", "T19")
        assert moved["next_runs"][0] == moved["next_run_at"]
        told = ask(f"{url}/api/jobs/{job['id']}/explain?at={job['next_run_at']}", token=token)[1]
        assert told["verdict"] == "not_due"
        assert "(zone data 2025b to 2026a)" in told["detail"]
        process.send_signal(signal.SIGTERM)
        process.communicate()
