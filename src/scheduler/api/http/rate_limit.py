"""Limits how many requests a user may send. Counted in memory, before any other work is done for a request."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from scheduler.api.services import KEY, USER
from scheduler.domain.clock import SECOND, Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.rate_limiter import RateLimiter


def pacing(per_minute: int, clock: Clock) -> Middleware:
    """The middleware that refuses what is beyond ``per_minute`` requests of a user, or of all keys of one account.

    A minute's worth may come at once. Whoever needs no token is not counted.
    """
    limiter = RateLimiter(per_minute, burst=per_minute)

    @web.middleware
    async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
        who = _who(request)
        if who is not None:
            now = clock.now()
            wait = limiter.opens_at(who, now) - now
            if wait > 0:
                raise SchedulerError(
                    "RATE_LIMITED",
                    f"more than {per_minute} requests a minute (limits.api_requests_per_minute): Retry-After says when",
                    retry_after_s=-(-wait // SECOND),
                )
            limiter.take(who, now)
        return await handler(request)

    return limit_rate


def _who(request: web.Request) -> str | None:
    key = request.get(KEY)
    if key is not None:
        return f"account {key.account_id}"
    user = request.get(USER)
    return None if user is None else f"user {user}"
