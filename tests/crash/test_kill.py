"""SIGKILL in the middle of deliveries, 25 times: no run is lost, and no row says what did not happen."""

from __future__ import annotations

import os
from pathlib import Path

from tests.crash.campaign import Plan, run_campaign
from tests.crash.checker import check, in_flight
from tests.crash.report import summary, verdict

KILLS = 25


async def test_every_promise_is_kept_over_kills_in_the_middle_of_deliveries(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED") or int.from_bytes(os.urandom(3)))
    print(f"seed {seed}: CRASH_SEED={seed} kills at the same points again")
    evidence = await run_campaign(Plan(seed=seed, kills=KILLS), tmp_path / "data")
    violations = check(evidence)
    print(summary(evidence))
    assert not violations, verdict(evidence, violations)
    assert not evidence.complaints
    hit = [life for life, one in enumerate(evidence.lives) if one.killed_at is not None and in_flight(evidence, life)]
    assert len(hit) >= KILLS
    statuses = {row.status for row in evidence.rows}
    assert statuses >= {"success", "failure", "dead_letter", "skipped", "cancelled"}, "the load has lost its variety"
    assert any(row.interrupted for row in evidence.rows)
