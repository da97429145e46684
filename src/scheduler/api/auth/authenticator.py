"""Authentication of requests: bearer tokens (RFC 6750) that are JWTs (RFC 7519) or API keys."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from scheduler.api.auth.client_address import address_of
from scheduler.api.auth.jwks import KeySet
from scheduler.api.auth.key_cache import ApiKeyCache
from scheduler.api.auth.verification_keys import ConfiguredKey, TokenRefusedError, UnknownKeyError, VerificationKeys
from scheduler.api.http.errors import unauthorized
from scheduler.api.services import KEY, REQUEST_ID, SERVICES, USER
from scheduler.config.auth import AuthConfig
from scheduler.config.jwt_algorithms import ALGORITHMS
from scheduler.domain.accounts.api_key import KEY_MARK, is_principal_of_key
from scheduler.domain.accounts.audit import SERVICE
from scheduler.domain.clock import SECOND, Clock, Instant
from scheduler.domain.rate_limiter import RateLimiter

log = logging.getLogger(__name__)

_LOGGED_PER_MINUTE = 10

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_LONGEST_TOKEN = 8192
_LONGEST_USER = 255


@dataclass(frozen=True, slots=True)
class _Grant:
    user: str
    until_at: Instant


class Authenticator:
    """Verifies JWTs with the configured keys and algorithm; one that names another algorithm is refused."""

    def __init__(self, config: AuthConfig, clock: Clock, *, room: int = 4096) -> None:
        """Up to ``room`` verified tokens are cached. Raises ``ValueError`` for a configuration that cannot be safe."""
        if config.algorithm not in ALGORITHMS:
            raise ValueError(f"auth.algorithm: one of {', '.join(ALGORITHMS)}, not {config.algorithm}")
        self.verification_keys: VerificationKeys = (
            ConfiguredKey(config)
            if config.jwks_url is None
            else KeySet(config.jwks_url, algorithm=config.algorithm, clock=clock)
        )
        self._version = self.verification_keys.version
        self._config = config
        self._clock = clock
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})
        self._room = room
        self._granted: dict[bytes, _Grant] = {}

    async def user_of(self, token: str) -> str:
        """``user_of_token``, with the key set fetched anew when the token names a key that is not known yet."""
        try:
            return self.user_of_token(token)
        except UnknownKeyError:
            if not await self.verification_keys.look_again():
                raise
            return self.user_of_token(token)

    def user_of_token(self, token: str) -> str:
        """The user of a token that is valid now. Raises ``TokenRefusedError``."""
        if self._version != self.verification_keys.version:
            self._granted.clear()  # a token is valid no longer than the key that verified it
            self._version = self.verification_keys.version
        if len(token) > _LONGEST_TOKEN or not _SHAPE.fullmatch(token):
            raise TokenRefusedError("not three base64url parts")
        # The signature is checked once for each token; what changes with time is checked each time.
        key = hashlib.sha256(token.encode()).digest()
        grant = self._granted.get(key)
        if grant is None:
            grant = self._verify(token)
            while len(self._granted) >= self._room:
                del self._granted[next(iter(self._granted))]
            self._granted[key] = grant
        if grant.until_at <= self._clock.now():
            self._granted.pop(key, None)
            raise TokenRefusedError("expired")
        return grant.user

    def _verify(self, token: str) -> _Grant:
        try:
            # of the header only kid is used: jku, jwk, x5u and x5c would let the token bring its own key
            key = self.verification_keys.find(jwt.get_unverified_header(token).get("kid"))
            decoded = self._jwt.decode_complete(
                token,
                key=key,
                algorithms=[self._config.algorithm],
                audience=self._config.audience,
                issuer=self._config.issuer,
                # the times are compared in _grant, with the clock of the service
                options={
                    "require": ["exp", "iat", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except TokenRefusedError:
            raise
        except Exception as error:  # any exception of the library means that the token is malformed
            raise TokenRefusedError(f"{type(error).__name__}: {str(error)[:200]}") from None
        _check_header(decoded["header"])
        return self._grant(decoded["payload"])

    def _grant(self, claims: Mapping[str, Any]) -> _Grant:
        user = claims["sub"]
        if not isinstance(user, str) or not user.strip() or len(user) > _LONGEST_USER or not user.isprintable():
            raise TokenRefusedError("sub is not a printable text of 1 to 255 characters")
        if is_principal_of_key(user):
            raise TokenRefusedError("sub is the name of an API key")
        if user == SERVICE:
            raise TokenRefusedError("sub is the name of the service in the audit log")
        now_s = self._clock.now() / SECOND
        leeway_s = self._config.leeway_s
        expires_s, issued_s = _time(claims, "exp"), _time(claims, "iat")
        if expires_s - issued_s > self._config.max_token_age_s:
            raise TokenRefusedError("exp is too long after iat")
        if issued_s > now_s + leeway_s:
            raise TokenRefusedError("iat is in the future")
        if "nbf" in claims and _time(claims, "nbf") > now_s + leeway_s:
            raise TokenRefusedError("nbf is in the future")
        return _Grant(user, round((expires_s + leeway_s) * SECOND))


def authentication(
    authenticator: Authenticator, api_key_cache: ApiKeyCache, needs_token: Callable[[web.Request], bool]
) -> Middleware:
    """The middleware that answers 401 to a request that needs a valid token and has none.

    Ten refusals a minute are logged, with the number of those before that were not.
    """
    pace = RateLimiter(_LOGGED_PER_MINUTE, burst=_LOGGED_PER_MINUTE)
    unlogged = 0

    def log_refusal(request: web.Request, reason: str) -> None:
        nonlocal unlogged
        now = request.app[SERVICES].clock.now()
        if not pace.room("", now):
            unlogged += 1
            return
        pace.take("", now)
        about = {"reason": reason, "from": address_of(request), "request_id": request[REQUEST_ID]}
        log.info("token refused", extra={**about, "unlogged_before": unlogged})
        unlogged = 0

    async def identify(request: web.Request) -> None:
        token = _bearer_token(request)
        if token.startswith(KEY_MARK):
            key = request[KEY] = await api_key_cache.key_of(token)
            request[USER] = key.principal
        else:
            request[USER] = await authenticator.user_of(token)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if needs_token(request):
            try:
                await identify(request)
            except TokenRefusedError as refused:
                log_refusal(request, str(refused))
                raise unauthorized() from None
        return await handler(request)

    return authenticate


def _bearer_token(request: web.Request) -> str:
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(given) != 1:
        raise TokenRefusedError("no Authorization header" if not given else "several Authorization headers")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefusedError("the scheme is not Bearer")
    return token.strip()


def _check_header(header: Mapping[str, Any]) -> None:
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefusedError("typ is neither JWT nor at+jwt: a token of another kind")


def _time(claims: Mapping[str, Any], claim: str) -> float:
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15 or math.isnan(value):
        raise TokenRefusedError(f"{claim} is not a time in seconds")
    return float(value)
