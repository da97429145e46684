"""All stores of one database."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.events import Events
from scheduler.store.accounts.accounts import AccountStore
from scheduler.store.accounts.audit import AuditStore
from scheduler.store.accounts.invitations import InvitationStore
from scheduler.store.accounts.kept_bytes import KeptBytesStore
from scheduler.store.accounts.keys import KeyStore
from scheduler.store.accounts.members import MemberStore
from scheduler.store.database import Database
from scheduler.store.executions.dead_letters import DeadLetterStore
from scheduler.store.executions.executions import ExecutionStore
from scheduler.store.executions.pruning import PruningStore
from scheduler.store.jobs.deletion import DeletionStore
from scheduler.store.jobs.due import DueJobStore
from scheduler.store.jobs.jobs import JobStore
from scheduler.store.jobs.one_offs import OneOffStore
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.jobs.zones import ZoneStore
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.queue.queue import ExecutionQueue
from scheduler.store.vault import Vault


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The stores of one service, over the same database."""

    db: Database
    accounts: AccountStore
    members: MemberStore
    invitations: InvitationStore
    keys: KeyStore
    jobs: JobStore
    due_jobs: DueJobStore
    deletions: DeletionStore
    one_offs: OneOffStore
    zones: ZoneStore
    webhooks: WebhookStore
    executions: ExecutionStore
    dead_letters: DeadLetterStore
    audit: AuditStore
    kept_bytes: KeptBytesStore
    queue: ExecutionQueue
    nodes: NodeStore
    pruning: PruningStore

    @classmethod
    def over(cls, db: Database, *, vault: Vault, worker_id: str, events: Events | None = None) -> Stores:
        """The stores over ``db``; ``worker_id`` names this process until it joins as a node.

        Without ``events`` their events have no listeners.
        """
        events = events or Events()
        webhooks = WebhookStore(db, vault, events)
        zones = ZoneStore(db)
        jobs = JobStore(db, webhooks, zones, events)
        queue = ExecutionQueue(db, webhooks, events, worker_id=worker_id)
        return cls(
            db=db,
            accounts=AccountStore(db),
            members=MemberStore(db, events),
            invitations=InvitationStore(db),
            keys=KeyStore(db, events),
            jobs=jobs,
            due_jobs=DueJobStore(db),
            deletions=DeletionStore(db, events),
            one_offs=OneOffStore(db),
            zones=zones,
            webhooks=webhooks,
            executions=ExecutionStore(db, events),
            dead_letters=DeadLetterStore(db, events),
            audit=AuditStore(db),
            kept_bytes=KeptBytesStore(db),
            queue=queue,
            nodes=NodeStore(db),
            pruning=PruningStore(db),
        )
