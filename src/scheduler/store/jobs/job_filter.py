"""Which jobs a list shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.store.sql import containing, escaped


class JobState(StrEnum):
    """What a list of jobs can be narrowed to. A job that is failing is in one of the other three states as well."""

    ACTIVE = "active"
    PAUSED = "paused"
    """By a person, or by the service because its runs failed or its schedule cannot be evaluated."""
    ENDED = "ended"
    """There is no time left within its bounds."""
    FAILING = "failing"
    """Runs have gone to the dead letter since the last success."""


_IN_STATE = {
    JobState.ACTIVE: "j.enabled = 1",
    JobState.PAUSED: f"j.enabled = 0 AND (j.disabled_by IS NULL OR j.disabled_by <> '{DisabledBy.THROUGH}')",
    JobState.ENDED: f"j.enabled = 0 AND j.disabled_by = '{DisabledBy.THROUGH}'",
    JobState.FAILING: "j.dead_count > 0",
}
_HOST_ENDS = ("", "/%", ":%", "?%", "#%")
"""What may stand behind the host of a URL."""
_MATCHES = " OR ".join(f"LOWER(w.url) LIKE :host{number} ESCAPE '!'" for number in range(len(_HOST_ENDS)))
_TO_HOST = f"EXISTS (SELECT 1 FROM webhooks w WHERE w.job_id = j.id AND ({_MATCHES}))"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs; a field that is ``None`` does not narrow."""

    account_id: str | None = None
    enabled: bool | None = None
    state: JobState | None = None
    name: str | None = None
    """A part of the name, in any case."""
    tag: str | None = None
    host: str | None = None
    """The host that a webhook of the job calls, as its URL has it."""

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        """The SQL conditions for the fields that are set, but for the account, and their parameters."""
        wanted: list[tuple[str, str, Any]] = [
            ("j.enabled = :enabled", "enabled", None if self.enabled is None else int(self.enabled)),
            ("LOWER(j.name) LIKE LOWER(:name) ESCAPE '!'", "name", self.name and containing(self.name)),
            ("j.tags LIKE :tag ESCAPE '!'", "tag", self.tag and containing(json.dumps(self.tag))),
        ]
        present = [(condition, name, value) for condition, name, value in wanted if value is not None]
        conditions = [condition for condition, _, _ in present]
        params = {name: value for _, name, value in present}
        if self.state is not None:
            conditions.append(_IN_STATE[self.state])
        if self.host is not None:
            conditions.append(_TO_HOST)
            host = escaped(self.host.lower())
            params |= {f"host{number}": f"%://{host}{end}" for number, end in enumerate(_HOST_ENDS)}
        return conditions, params
