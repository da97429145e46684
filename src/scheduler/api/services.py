"""The stores and parts of the engine that handlers call, and the keys of values that are attached to a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from scheduler.config import Config
from scheduler.domain.accounts.api_key import ApiKey
from scheduler.domain.clock import Clock
from scheduler.domain.events import Events
from scheduler.engine.firing import Firer
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.tls import TlsContexts
from scheduler.engine.upkeep.kept_bytes import KeptBytes
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.accounts.accounts import AccountStore
from scheduler.store.accounts.audit import AuditStore
from scheduler.store.accounts.invitations import InvitationStore
from scheduler.store.accounts.keys import KeyStore
from scheduler.store.accounts.members import MemberStore
from scheduler.store.executions.dead_letters import DeadLetterStore
from scheduler.store.executions.executions import ExecutionStore
from scheduler.store.jobs.deletion import DeletionStore
from scheduler.store.jobs.jobs import JobStore
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The health of the process at one moment."""

    ready: bool
    """May a load balancer send requests here? Not while draining, without the database or with a stalled loop."""
    database: Literal["connected", "disconnected"]
    scheduler_service: Literal["running", "stopped"]
    draining: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    """More for operators, as JSON values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What handlers call."""

    config: Config
    clock: Clock
    accounts: AccountStore
    members: MemberStore
    invitations: InvitationStore
    keys: KeyStore
    jobs: JobStore
    deletions: DeletionStore
    webhooks: WebhookStore
    executions: ExecutionStore
    dead_letters: DeadLetterStore
    audit: AuditStore
    egress: Egress
    tls: TlsContexts
    events: Events
    telemetry: Telemetry
    firer: Firer
    kept_bytes: KeptBytes
    worker_pool: WorkerPool
    health: Callable[[], Awaitable[Health]]


SERVICES = web.AppKey("services", Services)
USER = web.RequestKey("user", str)
"""The caller: the ``sub`` claim of the token, or the principal of an API key."""
KEY = web.RequestKey("key", ApiKey)
"""The API key of the request; absent when it has the token of a user."""
REQUEST_ID = web.RequestKey("request_id", str)
FORM = web.RequestKey("form", dict[str, Any])
"""The checked body with domain values; only the fields that the caller has given."""
QUERY = web.RequestKey("query", dict[str, Any])
"""The checked query parameters with domain values and defaults."""
