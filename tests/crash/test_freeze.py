"""A process that stands still under load and goes on: SIGSTOP, SIGCONT.

``CRASH_FREEZE_S=60`` makes it stand still for a minute; by default it is a moment.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tests.crash.checker import chains_of, check
from tests.crash.episode import HELD, PROMPT, Episode
from tests.crash.evidence import Request
from tests.crash.oracle import SECOND
from tests.crash.receiver import Answer, now
from tests.crash.report import verdict

FREEZE_S = float(os.environ.get("CRASH_FREEZE_S") or 2)
JOBS = 40
HELD_AT_LEAST = 6


async def test_a_process_that_stood_still_goes_on_at_once(tmp_path: Path) -> None:
    """Receivers that gave up meanwhile get their request again, those that answered do not, and no time is lost."""
    async with Episode(tmp_path / "data") as episode:
        receiver, evidence = episode.receiver, episode.evidence
        is_loaded = True

        def script(request: Request) -> Answer:
            return HELD if is_loaded and request.run_id[-1] in "0123" else PROMPT

        receiver.script = script
        await episode.begin()
        await episode.add_jobs(*(body(receiver.url) for _ in range(JOBS)))
        await receiver.until(lambda: len(receiver.held) >= HELD_AT_LEAST)

        episode.service.signal(signal.SIGSTOP)
        stopped_at, is_loaded = now(), False
        patient = sorted(receiver.held)[::2]
        for execution_id, request in receiver.held.items():
            request.answer(200 if execution_id in patient else None)
        await asyncio.sleep(FREEZE_S)  # this is what is tested
        in_flight, arrived = set(receiver.held), len(evidence.requests)
        episode.service.signal(signal.SIGCONT)
        resumed_at = now()
        async with asyncio.timeout(30):
            await receiver.arrivals(arrived + 1)
        await episode.run_dry()

    violations = check(evidence)
    assert not violations, verdict(evidence, violations)
    assert not evidence.complaints
    chains = {chain.rows[0].id: chain for chain in chains_of(evidence).values()}
    for execution_id in patient:
        assert [row.status for row in chains[execution_id].rows] == ["success"]
    for execution_id in in_flight.difference(patient):
        failed, again = chains[execution_id].rows
        assert (failed.status, again.status) == ("failure", "success")
        assert (failed.error or "").split()[0] in ("connection_reset", "disconnected", "stale_connection")
    repeated = {first for first, chain in chains.items() if len(chain.requests) > 1}
    assert repeated == in_flight.difference(patient)

    first = evidence.requests[arrived]
    rows = {row.id: row for row in evidence.rows}
    assert rows[first.execution_id].scheduled_at <= resumed_at, "what came due meanwhile had to wait"
    late = [row for row in evidence.rows if stopped_at < row.scheduled_at <= resumed_at and row.attempt == 1]
    assert {row.job_id for row in late} == evidence.job_ids
    print(
        f"stood still for {(resumed_at - stopped_at) / SECOND:.1f} s with {len(in_flight)} requests in flight; "
        f"the next one came {(first.arrived_at - resumed_at) / 1000:.0f} ms after it went on"
    )


def body(url: str) -> dict[str, Any]:
    """A job of every second; its webhook waits longer for an answer than the process stands still."""
    return {
        "name": "job",
        "schedule": "* * * * * *",
        "spread_s": 0.9,
        "retry": {"max_attempts": 3, "delays": [0.2], "jitter": 0.1},
        "webhook": {"url": f"{url}/hook", "timeout_s": 300},
    }
