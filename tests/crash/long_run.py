"""The kill test by hand, for as long as you like.

    python -m tests.crash.long_run --kills 500 --seed 1

It exits with 1 when an invariant is violated. With ``--sabotage NAME`` (or ``all``) the service has a deliberate bug of
``tests.crash.broken_service``, and the exit code is 1 when the checker did not catch it:

    python -m tests.crash.long_run --kills 8 --sabotage all

Several nodes over one Postgres database, whose server crashes, too; some nodes freeze for longer than their lease:

    python -m tests.crash.long_run --database postgres --nodes 3 --kills 500 --freezes 25 --restarts 25
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

from tests.crash.broken_service import BUGS
from tests.crash.campaign import Plan, run_campaign
from tests.crash.checker import check
from tests.crash.nodes import NodePlan, run_node_campaign, takeovers_s
from tests.crash.report import summary, verdict
from tests.postgres import running_server


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the service again and again and check what it promised.")
    parser.add_argument("--kills", type=int, default=500, help="kills that hit requests in flight")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--nodes", type=int, default=3, help="processes over one Postgres database")
    parser.add_argument("--freezes", type=int, default=0, help="nodes that stand still for longer than their lease")
    parser.add_argument("--restarts", type=int, default=0, help="crashes of the Postgres server")
    parser.add_argument("--lease", type=float, default=10.0, help="seconds that a silent node keeps its executions")
    parser.add_argument("--sabotage", choices=[*BUGS, "all"], help="the deliberate bug to catch")
    chosen = parser.parse_args()
    if chosen.database == "postgres":
        plan = NodePlan(
            seed=chosen.seed,
            kills=chosen.kills,
            nodes=chosen.nodes,
            freezes=chosen.freezes,
            restarts=chosen.restarts,
            lease_s=chosen.lease,
            drain_s=60,
        )
        return 1 if _run_nodes(plan) else 0
    if chosen.sabotage is None:
        return 1 if _run(Plan(seed=chosen.seed, kills=chosen.kills)) else 0
    names = list(BUGS) if chosen.sabotage == "all" else [chosen.sabotage]
    missed = [name for name in names if not _caught(name, kills=chosen.kills, seed=chosen.seed)]
    print(f"not caught: {', '.join(missed)}" if missed else "every bug was caught by the invariant it breaks")
    return 1 if missed else 0


def _caught(name: str, *, kills: int, seed: int) -> bool:
    print(f"--- {name}: {BUGS[name].what}")
    program = ("-m", "tests.crash.broken_service", name)
    violated = _run(Plan(seed=seed, kills=kills, program=program, drain_s=8))
    return violated >= BUGS[name].breaks


def _run(plan: Plan) -> set[str]:
    """The invariants that a campaign found violated."""
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="scheduler-crash-") as directory:
        evidence = asyncio.run(run_campaign(plan, Path(directory)))
    violations = check(evidence)
    print(summary(evidence))
    print(verdict(evidence, violations), flush=True)
    return {violation.invariant for violation in violations}


def _run_nodes(plan: NodePlan) -> set[str]:
    print(f"seed {plan.seed}", flush=True)
    with running_server(durable=True) as server, tempfile.TemporaryDirectory(prefix="scheduler-crash-") as directory:
        evidence, blows = asyncio.run(run_node_campaign(plan, server, Path(directory)))
    violations = check(evidence)
    waits = takeovers_s(evidence) or [0.0]
    print(summary(evidence))
    print(f"blows        {dict(Counter(blow.kind for blow in blows))}, {len(evidence.lives)} epochs")
    print(f"takeover     median {median(waits):.1f} s, longest {waits[-1]:.1f} s, lease {plan.lease_s:g} s")
    print(verdict(evidence, violations), flush=True)
    return {violation.invariant for violation in violations}


if __name__ == "__main__":
    sys.exit(main())
