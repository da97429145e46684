"""The life of one attempt, from a claim to its settlement. Read this file first."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from scheduler import __version__
from scheduler.domain.accounts.kept_bytes import without_body
from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.error_code import ErrorCode
from scheduler.domain.runs.execution import INTERRUPTED, Outcome, settle, skip
from scheduler.domain.turns import Turns
from scheduler.domain.webhooks.claim import Claim
from scheduler.domain.webhooks.redaction import redact, takes_long_to_redact
from scheduler.domain.webhooks.request import Request, build_request, takes_long_to_build
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.engine.http.sender import Sender
from scheduler.engine.recorder import Recorder

P = ParamSpec("P")
T = TypeVar("T")

_DELETED = Outcome(
    error_code=ErrorCode.NO_WEBHOOK, error_text="the webhook was deleted after this attempt had been queued"
)
_OVERDUE = "missed: catchup_window_s had passed before it could start"
_DISABLED = Outcome(error_code=ErrorCode.NO_WEBHOOK, error_text="the webhook is disabled")

log = logging.getLogger(__name__)


class Deliverer:
    """Carries out claims: builds the request, sends it, decides about the answer, hands the settlement to the recorder.

    ``has_lease`` says whether this node still holds its lease, ``keeps_body`` whether the bodies of answers to an
    account are to be stored.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        recorder: Recorder,
        clock: Clock,
        has_lease: Callable[[], bool],
        keeps_body: Callable[[str], bool],
    ) -> None:
        self._sender = sender
        self._recorder = recorder
        self._clock = clock
        self._has_lease = has_lease
        self._keeps_body = keeps_body
        self._computing = Turns(at_once=1, at_once_per_user=1, most_waiting=sys.maxsize, what="deliveries")
        """What takes long is computed for one account after the other; the worker pool bounds how much waits."""

    def may_start(self) -> bool:
        """Whether an attempt may begin now: not without the lease, when other nodes take over the attempts."""
        return self._has_lease()

    def unwritten(self) -> set[str]:
        """The ids of the executions that were delivered and whose settlements are perhaps not on disk yet."""
        return self._recorder.unwritten()

    async def deliver(self, claim: Claim) -> None:
        """Make one attempt. Its row is ``running`` and on disk; when this returns the recorder has its settlement.

        Cancelling ends the attempt as ``interrupted``, or by the status of its answer if only the body is still to
        come, so that no row stays ``running``.
        """
        if claim.is_overdue(self._clock.now()):
            self._recorder.record(skip(claim.execution, self._clock.now(), reason=_OVERDUE))
            return
        try:
            outcome = await self._attempt(claim)
        except asyncio.CancelledError:
            outcome = INTERRUPTED
        if not self._keeps_body(claim.execution.account_id):
            outcome = without_body(outcome)
        settlement = settle(
            claim.execution,
            outcome,
            self._clock.now(),
            policy=claim.policy,
            at_most_once=claim.at_most_once,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        self._recorder.record(settlement)

    async def _request(self, claim: Claim) -> Request:
        now = self._clock.now()
        if takes_long_to_build(claim):
            account_id = claim.execution.account_id
            return await self._in_thread(account_id, build_request, claim, fired_at=now, version=__version__)
        return build_request(claim, fired_at=now, version=__version__)

    async def _attempt(self, claim: Claim) -> Outcome:
        if not self._has_lease():
            return INTERRUPTED  # the process stood still between the claim and now, and others have taken over
        if claim.unreadable is not None:
            return Outcome(error_code=ErrorCode.SECRET_UNREADABLE, error_text=claim.unreadable)
        if claim.webhook is None:
            return _DELETED
        if not claim.webhook.enabled:
            return _DISABLED
        try:
            request = await self._request(claim)
        except SchedulerError as error:
            return Outcome(error_code=ErrorCode.INVALID_REQUEST, error_text=error.message)
        except Exception as error:
            # what was valid when it was saved need not be so now; this ends the attempt, not the worker pool
            log.exception("the request of execution %s cannot be built", claim.execution.id)
            return Outcome(error_code=ErrorCode.INVALID_REQUEST, error_text=f"the request cannot be built: {error!r}")
        return await self._masked(await self._sender.send(request), claim.webhook, claim.execution.account_id, request)

    async def _masked(self, outcome: Outcome, webhook: Webhook, account_id: str, request: Request) -> Outcome:
        """The outcome without credentials; cancelling does not prevent it, since the answer is here."""
        if not takes_long_to_redact(outcome, webhook, request.headers):
            return redact(outcome, webhook, request.headers)
        masking = asyncio.ensure_future(self._in_thread(account_id, redact, outcome, webhook, request.headers))
        try:
            return await asyncio.shield(masking)
        except asyncio.CancelledError:
            return await masking

    async def _in_thread(self, account_id: str, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._computing.turn(account_id):
            return await asyncio.to_thread(compute, *args, **kwargs)
