"""Public reports of other schedulers about times of firing, each with the right answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.clock import format_instant, parse_instant
from scheduler.domain.schedule.text import parse_schedule

REPORTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "reported_schedules.json").read_text())


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: f"{report['schedule']} {report['timezone']}")
def test_what_others_got_wrong_fires_when_it_should(report: dict[str, Any]) -> None:
    ours = parse_schedule(
        report["schedule"],
        timezone=report["timezone"],
        anchor_at=0,
        dst_policy=report["dst_policy"],
        day_match=report["day_match"],
    )
    at, found = parse_instant(report["from"]), []
    for _ in report["fires"]:
        at = ours.next_after(at) or 0
        found.append(format_instant(at))
    assert found == report["fires"], report["report"]
