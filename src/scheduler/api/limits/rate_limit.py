"""Limits how many requests a user may send. Counted in memory, before any other work for a request."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from scheduler.api.services import KEY, USER
from scheduler.domain.clock import SECOND, Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.rate_limiter import RateLimiter


def rate_limit(per_minute: int, clock: Clock) -> Middleware:
    """The middleware that allows each user, and all API keys of one account together, ``per_minute`` requests.

    ``per_minute`` requests may come at once; for more it raises ``RATE_LIMITED`` with the seconds to wait. Requests
    that need no token are not counted.
    """
    limiter = RateLimiter(per_minute, burst=per_minute)

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        caller = caller_of(request)
        if caller is not None:
            now = clock.now()
            wait = limiter.opens_at(caller, now) - now
            if wait > 0:
                raise SchedulerError(
                    "RATE_LIMITED",
                    f"more than {per_minute} requests a minute (limits.api_requests_per_minute): Retry-After says when",
                    retry_after_s=-(-wait // SECOND),
                )
            limiter.take(caller, now)
        return await handler(request)

    return limit


def caller_of(request: web.Request) -> str | None:
    """Whom the use is counted for: the user, or the account of an API key; ``None`` where no token is needed."""
    key = request.get(KEY)
    if key is not None:
        return f"account {key.account_id}"
    user = request.get(USER)
    return None if user is None else f"user {user}"
