"""Long computations step aside, so that they delay nobody who asks for less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aiohttp import web

P = ParamSpec("P")
T = TypeVar("T")

TURN = web.AppKey("turn", asyncio.Lock)
"""Held by the one computation that is under way."""


async def aside(request: web.Request, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a pure computation, made in a thread. One at a time: several would crowd out the event loop."""
    async with request.app[TURN]:
        return await asyncio.to_thread(compute, *args, **kwargs)
