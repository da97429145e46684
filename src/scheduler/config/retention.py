"""How long executions, dead letters, one-off jobs and the audit are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from scheduler.config.settings import Setting


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """How long executions are kept; 0 is for ever. A run that has not ended is kept with all of its attempts."""

    executions_days: Annotated[
        float,
        Setting("Executions older than this are pruned, days. 0: never.", low=0, high=36_500, live=True),
    ] = 30
    executions_per_job: Annotated[
        int,
        Setting("How many executions of each job are kept, the newest. 0: all.", low=0, high=1_000_000_000, live=True),
    ] = 1000
    dead_letter_days: Annotated[
        float,
        Setting(
            "Dead letters, which the two above do not touch, are pruned after this, days. 0: never.",
            low=0,
            high=36_500,
            live=True,
        ),
    ] = 90
    ended_jobs_days: Annotated[
        float,
        Setting(
            "Jobs that run only at given moments (@at, @in) are removed, with their executions, this long after "
            "they have ended, days. 0: never.",
            low=0,
            high=36_500,
            live=True,
        ),
    ] = 30
    audit_days: Annotated[
        float,
        Setting("Entries of the audit are pruned after this, days. 0: never.", low=0, high=36_500, live=True),
    ] = 365
