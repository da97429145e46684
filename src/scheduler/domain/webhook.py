"""A webhook says what a run delivers and where: the request, without the parts that change with every attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.domain.clock import Instant

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
MASK = "***"
"""What reading shows instead of a secret; writing it back keeps the stored value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One receiver of a job's runs. ``timeout_s`` is the total time for one attempt, in seconds."""

    id: str
    job_id: str
    url: str
    method: str = "POST"
    headers: Mapping[str, str] | None = None
    query_params: Mapping[str, str] | None = None
    body_template: str | None = None
    content_type: str = "application/json"
    timeout_s: float = 30
    signing_secret: str | None = None
    enabled: bool = True
    created_at: Instant
    updated_at: Instant
