"""Three nodes, killed and frozen in the middle of deliveries: the same promises as for one, by the same checker."""

from __future__ import annotations

import os
from pathlib import Path

from tests.crash.checker import check, in_flight
from tests.crash.nodes import NodePlan, run_node_campaign, takeovers_s
from tests.crash.report import summary, verdict
from tests.postgres import Server


async def test_every_promise_is_kept_by_several_nodes(tmp_path: Path, postgres_server: Server) -> None:
    seed = int(os.environ.get("CRASH_SEED") or int.from_bytes(os.urandom(3)))
    print(f"seed {seed}: CRASH_SEED={seed} kills in the same order again")
    plan = NodePlan(seed=seed, kills=2, freezes=1, jobs=33, lease_s=1.5)
    evidence, blows = await run_node_campaign(plan, postgres_server, tmp_path / "data")
    violations = check(evidence)
    print(summary(evidence))
    assert not violations, verdict(evidence, violations)
    ended = [number for number, life in enumerate(evidence.lives) if life.killed_at is not None]
    assert any(in_flight(evidence, number) for number in ended)
    assert len(evidence.lives) > plan.nodes and [blow.kind for blow in blows].count("freeze") == 1
    assert takeovers_s(evidence), "no node had to take over"
