"""Runs long computations in a thread, so that they do not delay other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aiohttp import web

P = ParamSpec("P")
T = TypeVar("T")

OFFLOAD_LOCK = web.AppKey("offload_lock", asyncio.Lock)
"""Locked by the computation that is running."""


async def offload(request: web.Request, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a pure computation in a thread. Only one runs at a time: several would starve the event loop."""
    async with request.app[OFFLOAD_LOCK]:
        return await asyncio.to_thread(compute, *args, **kwargs)
