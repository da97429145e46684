"""The figures of a campaign, for people."""

from __future__ import annotations

from collections import Counter
from statistics import median

from tests.crash.checker import Violation, chains_of, duplicates, explain, in_flight
from tests.crash.evidence import Evidence
from tests.crash.oracle import SECOND

_SHOWN = 5


def summary(evidence: Evidence) -> str:
    """Kills, deliveries, duplicates, rows and recovery times, one line each."""
    chains = chains_of(evidence)
    open_at = [len(in_flight(evidence, life)) for life, one in enumerate(evidence.lives) if one.killed_at is not None]
    again = Counter(repeated.life for chain in chains.values() for repeated in duplicates(chain))
    statuses = Counter(row.status for row in evidence.rows)
    span_s = (evidence.lives[-1].started_at - evidence.lives[0].started_at) / SECOND
    kills, hits = len(open_at), sum(map(bool, open_at))
    counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    interrupted, unsettled_ms = sum(row.interrupted for row in evidence.rows), _longest_unsettled_ms(evidence)
    flight = f"median {median(open_at or [0]):g}, most {max(open_at, default=0)}"
    most = max(again.values(), default=0)
    lines = [
        f"kills        {kills}, {hits} of them with requests in flight ({flight})",
        f"deliveries   {len(evidence.requests)}, {_rate(len(evidence.requests), span_s)}/s over all lives but the last",
        f"duplicates   {again.total()}, {again.total() / max(1, kills):.1f} a kill, at most {most} by one",
        f"rows         {len(evidence.rows)} of {len(chains)} runs: {counts}",
        (
            f"interrupted  {interrupted}; answers lost up to {unsettled_ms:.0f} ms after they were given; "
            f"longest stall of this machine {max(life.stall for life in evidence.lives) / 1000:.0f} ms"
        ),
        f"recovery     start to first delivery: {_quantiles(_recoveries(evidence))}",
        *(f"logged       {line}" for line in evidence.complaints[:_SHOWN]),
    ]
    return "\n".join(lines)


def verdict(evidence: Evidence, violations: list[Violation]) -> str:
    """How many violations of which invariant, and the evidence of the first few."""
    if not violations:
        return "all invariants hold"
    counts = ", ".join(f"{name}: {count}" for name, count in sorted(Counter(v.invariant for v in violations).items()))
    first = {violation.invariant: violation for violation in reversed(violations)}
    shown = list(first.values()) + [violation for violation in violations if violation not in first.values()]
    return "\n".join([f"violations   {counts}", *(explain(evidence, violation) for violation in shown[:_SHOWN])])


def _recoveries(evidence: Evidence) -> list[float]:
    first: dict[int, int] = {}
    for request in evidence.requests:
        first.setdefault(request.life, request.arrived_at)
    return sorted((at - evidence.lives[life].started_at) / SECOND for life, at in first.items() if life)


def _longest_unsettled_ms(evidence: Evidence) -> float:
    answered = {(request.run_id, request.attempt): request for request in evidence.requests}
    longest = 0.0
    for row in evidence.rows:
        request = answered.get((row.run_id, row.attempt))
        if row.interrupted and request is not None and request.ended_at is not None:
            killed_at = evidence.lives[request.life].killed_at or request.ended_at
            longest = max(longest, (killed_at - request.ended_at) / 1000)
    return longest


def _quantiles(values: list[float]) -> str:
    if not values:
        return "none"
    return f"median {median(values):.2f} s, p99 {values[len(values) * 99 // 100]:.2f} s, longest {values[-1]:.2f} s"


def _rate(count: int, span_s: float) -> str:
    return f"{count / span_s:.0f}" if span_s else "?"
