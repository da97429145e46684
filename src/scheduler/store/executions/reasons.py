"""Why the attempts before a dead letter failed: stored once each, in its own row, and read when it is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from scheduler.domain.runs.execution import Execution, Status, with_earlier
from scheduler.store.database import Database
from scheduler.store.sql import in_list

_ATTEMPTS_AT_ONCE = 2_000
"""How many attempts one statement reads at most, but for those of one run."""


async def with_reasons(db: Database, executions: Sequence[Execution]) -> list[Execution]:
    """The executions as they are shown: a dead letter tells why the attempts before it failed, as far as they exist."""
    dead = [one for one in executions if one.status is Status.DEAD_LETTER and one.attempt > 1]
    if not dead:
        return list(executions)
    reasons: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for run_ids in _groups(dead):
        placeholders, params = in_list(run_ids)
        rows = await db.fetch_all(
            f"""
            SELECT run_id, attempt, error FROM executions WHERE run_id IN ({placeholders}) AND error IS NOT NULL
            ORDER BY run_id, attempt
            """,
            params,
        )
        for row in rows:
            reasons[row["run_id"]].append((row["attempt"], row["error"]))
    ids = {one.id for one in dead}
    return [
        replace(one, error=with_earlier(one.error, [had for had in reasons[one.run_id] if had[0] < one.attempt]))
        if one.id in ids
        else one
        for one in executions
    ]


def _groups(dead: Sequence[Execution]) -> Iterator[list[str]]:
    """The runs of these dead letters, in groups that have not too many attempts together."""
    attempts = {one.run_id: one.attempt for one in sorted(dead, key=lambda one: one.attempt)}
    group: list[str] = []
    count = 0
    for run_id, last in attempts.items():
        if group and count + last > _ATTEMPTS_AT_ONCE:
            yield group
            group, count = [], 0
        group.append(run_id)
        count += last
    yield group
