"""Events: what happened, for the parts of one process that have to act on it or to report it.

The code that commits a transaction tells of it afterwards. What changes nothing on disk is told right after it
happened. ``tell`` calls the listeners one after the other before it returns; a listener neither blocks nor raises.

==================  ============================================  =================================================
event               told by (modules of scheduler)                listeners
==================  ============================================  =================================================
JobPlanned          store/jobs/jobs, engine/upkeep/replanner      trigger loop (looks in time), peers
WorkReady           store/jobs/jobs, store/queue/queue,           worker pool (claims)
                    store/executions/dead_letters
Fired               engine/firing                                 worker pool (claims), peers, telemetry
AttemptsSettled     store/queue/queue                             worker pool (claims retries), telemetry, kept bytes
ExecutionsEnded     store/jobs/jobs, store/jobs/webhooks,         telemetry
                    store/executions/executions, engine/firing
Disabled            store/queue/queue                             telemetry
CancelRequested     store/jobs/deletion, engine/firing,           worker pool (aborts the delivery), peers
                    store/executions/executions
WritingEnds         engine/recorder                               worker pool (claims into the slots that get free)
LookedForDueJobs    engine/firing                                 telemetry, clock watch
ExecutionsPruned    engine/upkeep/pruner                          telemetry
KeysRevoked         store/accounts/keys, store/accounts/members   key cache (reads them again)
AccountDeleted      store/jobs/deletion                           telemetry
DeletionBegun       store/jobs/deletion                           sweeper
RequestAnswered     api/http/middleware                           telemetry
Committed           store/sqlite/writer, store/postgres/database  telemetry
DatabaseBroken      store/sqlite/writer                           lifecycle (ends the process)
==================  ============================================  =================================================

Tests compare the tellers with the source, and the listeners with those of a service.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from scheduler.domain.accounts.audit import Actor
from scheduler.domain.clock import Instant
from scheduler.domain.jobs.auto_disable import DisabledItem
from scheduler.domain.runs.execution import Execution, Settlement, Status
from scheduler.domain.runs.firing import Firing

E = TypeVar("E")
PruneCause = Literal["age", "number", "dead_letters", "ended_jobs"]
"""Why executions are pruned: their age, the number of their job's, the number of their account's dead letters, or their
job, which is removed some time after its end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlanned:
    """A job that was created or changed is due at ``due_at``, perhaps already."""

    due_at: Instant


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkReady:
    """Executions became ready to start: they were queued again, or are held no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fired:
    """Jobs were turned into executions: because they were due, or because a person started a run."""

    firings: Sequence[Firing]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptsSettled:
    """Attempts ended. With ``rescued`` they were interrupted by the end of the process that made them."""

    settlements: Sequence[Settlement]
    rescued: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionsEnded:
    """``count`` executions ended without an attempt, by a change of them or of their job."""

    status: Status
    count: int
    cause: str
    """Why, in words: the ``reason`` of the rows."""
    executions: Sequence[Execution] = ()
    """The rows themselves, where they were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disabled:
    """The service disabled these jobs and webhooks by itself."""

    items: Sequence[DisabledItem]


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequested:
    """This execution was cancelled; its delivery, if one is under way in any process, is to be aborted."""

    execution_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingEnds:
    """The results of attempts are about to be written: a claim that is made now is committed with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookedForDueJobs:
    """Due jobs were looked for at ``at``: ``due`` of them were fired, in ``seconds``."""

    at: Instant
    due: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionsPruned:
    """``count`` executions that are not kept were deleted."""

    count: int
    cause: PruneCause


@dataclass(frozen=True, kw_only=True, slots=True)
class KeysRevoked:
    """These API keys are refused from now on."""

    key_ids: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountDeleted:
    """An account was deleted with all that it owned, its audit included."""

    account_id: str
    by: Actor


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionBegun:
    """A job or an account was deleted; its rows are still to be deleted, in slices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestAnswered:
    """The API answered; ``route`` is the pattern of the route, never the path of the request."""

    method: str
    route: str
    status: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The database committed a transaction, or a group of them, in ``seconds`` from its begin."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseBroken:
    """It is unknown which commits are on disk; nothing more is written, and the process ends."""

    why: str


class Events:
    """The listeners of one process, by the type of event."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)

    def listen(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Call ``listener`` with each event of exactly this type from now on."""
        self._listeners[kind].append(listener)

    def tell(self, event: object) -> None:
        """Call the listeners for ``event``, in the order in which they came. Raises nothing."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s: a defect of the service", type(event).__name__)

    def listeners(self) -> dict[type, list[Callable[[Any], None]]]:
        """The listeners by type of event; only tests read them."""
        return {kind: list(listeners) for kind, listeners in self._listeners.items()}
