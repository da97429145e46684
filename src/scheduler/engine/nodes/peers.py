"""What the nodes of one database tell each other, so that nothing waits for somebody's next look.

``due <instant>``: a job is now due then. ``ready``: one node queued more than it can deliver. ``cancel <execution>``:
abort it if it is in flight with you. Losing one costs up to a second, nothing else.
"""

from __future__ import annotations

from scheduler.engine.trigger_loop import TriggerLoop
from scheduler.engine.worker_pool import WorkerPool
from scheduler.store.database import Database


class Colleagues:
    """Hears the other nodes from ``listen`` on, and tells them what this one does."""

    def __init__(self, *, db: Database, trigger_loop: TriggerLoop, pool: WorkerPool) -> None:
        self._db = db
        self._trigger_loop = trigger_loop
        self._pool = pool

    def listen(self) -> None:
        """Begin to hear and to tell; needs a running event loop."""
        self._trigger_loop.announce = self._db.announce
        self._pool.cancel_elsewhere = lambda execution_id: self._db.announce(f"cancel {execution_id}")
        self._db.hear(self._heard)

    def _heard(self, notice: str) -> None:
        what, _, subject = notice.partition(" ")
        if what == "cancel":
            self._pool.cancel_here(subject)
        elif what == "due" and subject.isdecimal():
            self._trigger_loop.wake_here(int(subject))
        else:
            # "ready", or some notices were missed
            self._pool.wake()
            self._trigger_loop.wake_here(0)
