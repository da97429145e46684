"""Notices between the nodes of one database, so that they act at once and not at their next look.

``due <instant>``: a job is now due then. ``ready``: one node queued more than it can deliver. ``cancel <execution>``:
abort its delivery if it is in flight. A lost notice delays that by up to a second.
"""

from __future__ import annotations

from scheduler.domain.events import CancelRequested, Events, Fired, JobPlanned
from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.database import Database


class Peers:
    """Sends notices to the other nodes and acts on theirs, from ``start`` on."""

    def __init__(self, *, db: Database, trigger_loop: TriggerLoop, pool: WorkerPool, events: Events) -> None:
        self._db = db
        self._trigger_loop = trigger_loop
        self._pool = pool
        events.listen(JobPlanned, lambda event: db.notify(f"due {event.due_at}"))
        events.listen(Fired, self._on_fired)
        events.listen(CancelRequested, self._on_cancel_requested)

    def start(self) -> None:
        """Begin to exchange notices; needs a running event loop."""
        self._db.subscribe(self._on_notice)

    def _on_fired(self, event: Fired) -> None:
        if sum(len(firing.executions) for firing in event.firings) > self._pool.size - self._pool.in_use:
            self._db.notify("ready")

    def _on_cancel_requested(self, event: CancelRequested) -> None:
        if not self._pool.is_delivering(event.execution_id):
            self._db.notify(f"cancel {event.execution_id}")

    def _on_notice(self, notice: str) -> None:
        what, _, subject = notice.partition(" ")
        if what == "cancel":
            self._pool.cancel(subject)
        elif what == "due" and subject.isdecimal():
            self._trigger_loop.look_by(int(subject))
        else:
            # "ready", or an empty notice: some may have been lost
            self._pool.wake()
            self._trigger_loop.look_by(0)
