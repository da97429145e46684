"""Previews and upcoming runs as JSON documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from scheduler.api.http.answers import Document
from scheduler.domain.clock import Instant, format_instant
from scheduler.domain.jobs.forecast import Plan, PreviewedRun
from scheduler.domain.jobs.job import Job
from scheduler.domain.schedule.schedule import Schedule


def preview_document(schedule: Schedule, runs: Sequence[PreviewedRun]) -> Document:
    items = [{"at": format_instant(run.at), "local": run.local, "transition": run.transition} for run in runs]
    return {"description": schedule.describe(), "items": items}


def upcoming_warnings(left_out: Sequence[tuple[str, Plan]], *, waiting: int) -> list[str]:
    """Which jobs are left out, and why: those of plans that cannot be computed now, and ``waiting`` others."""
    counts: Counter[str] = Counter()
    for problem, plan in left_out:
        counts[problem] += plan.jobs
    warnings = [f"{_jobs(count)} left out: {problem}" for problem, count in counts.items()]
    if waiting:
        warnings.append(f"{_jobs(waiting)} without a next time left out: see the warnings of the job")
    return warnings


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"


def upcoming_document(
    from_at: Instant,
    to_at: Instant,
    runs: Sequence[tuple[Instant, Job]],
    load: Mapping[Instant, int],
    *,
    complete: bool,
    warnings: Sequence[str],
) -> Document:
    """The runs from ``from_at`` to ``to_at``: the first ones, and how many there are in each minute."""
    return {
        "from": format_instant(from_at),
        "to": format_instant(to_at),
        "total": sum(load.values()),
        "complete": complete,
        "warnings": list(warnings) or None,
        "items": [{"at": format_instant(at), "job_id": job.id, "name": job.name} for at, job in runs],
        "per_minute": [{"minute": format_instant(minute), "count": count} for minute, count in sorted(load.items())],
    }
