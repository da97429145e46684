"""Long computations in a thread, by turns, so that they delay neither other requests nor deliveries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any, Final, TypeVar

from aiohttp import web

from scheduler.api.limits.rate_limit import caller_of
from scheduler.domain.errors import SchedulerError
from scheduler.domain.turns import Turns

T = TypeVar("T")
IsOver = Callable[[], bool]
"""Asked between two steps of a computation: must it end now?"""

COMPUTING: Final = web.AppKey("computing", Turns)
"""One computation at a time, since the threads of Python share one processor."""
LONGEST_S = 2.0
"""How long a computation may take, in seconds of processor time."""
LARGE_BODY = 8192
"""Bytes from which a body takes long to check: up to 2 ms for each KiB."""
_MOST_WAITING = 8
_LOOK_S = 0.1
"""How often to look whether the client is still there."""


def turns_at_computing() -> Turns:
    return Turns(at_once=1, at_once_per_user=1, most_waiting=_MOST_WAITING, what="computations")


async def offload(request: web.Request, compute: Callable[[IsOver], T]) -> T:
    """The result of a pure computation in a thread, when the turn of the caller has come.

    ``compute`` asks ``IsOver`` between its steps where it may take long; it is true after ``LONGEST_S`` or when the
    client is gone. Raises ``RATE_LIMITED`` when too many of the caller's wait, and as ``while_connected``.
    """
    return await while_connected(request, _in_turn(request, compute))


async def offload_large(request: web.Request, compute: Callable[[], T]) -> T:
    """The result of a computation over the body of a request: in a thread as by ``offload`` if the body is large."""
    if len(await request.read()) <= LARGE_BODY:
        return compute()
    return await offload(request, lambda _: compute())


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client closes the connection.

    Raises ``REQUEST_TIMEOUT`` then, for an answer that nobody reads.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
            if request.transport is None:
                raise SchedulerError("REQUEST_TIMEOUT", "the client closed the connection before it was answered")
        return task.result()
    finally:
        if not task.done():
            task.cancel()


async def _in_turn(request: web.Request, compute: Callable[[IsOver], T]) -> T:
    async with request.app[COMPUTING].turn(caller_of(request) or ""):
        given_up = Event()
        thread = asyncio.ensure_future(asyncio.to_thread(_run, compute, given_up))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            given_up.set()
            await asyncio.wait({thread})  # the turn ends with the thread
            raise


def _run(compute: Callable[[IsOver], T], given_up: Event) -> T:
    end_s = time.thread_time() + LONGEST_S
    return compute(lambda: given_up.is_set() or time.thread_time() > end_s)
