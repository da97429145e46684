"""The key set that an identity provider publishes (RFC 7517): fetched, checked, cached and refreshed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp
import jwt
import orjson
from aiohttp import hdrs, web

from scheduler.api.auth.verification_keys import TokenRefusedError, UnknownKeyError
from scheduler.config.auth import problem_with_jwks_url
from scheduler.config.jwt_algorithms import PUBLIC_KEY_ALGORITHMS
from scheduler.config.public_key import problem_with_public_key
from scheduler.domain.clock import SECOND, Clock, Instant

_FRESH_S = 300
_RETRY_S = 15
_UNKNOWN_KEY_S = 60
"""Tokens with an unknown ``kid`` cause one fetch in this time at most."""
_FETCH_S = 5
_MOST_BYTES = 262_144
_MOST_KEYS = 100
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
_KEY_TYPES: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

log = logging.getLogger(__name__)


class _UnusableError(Exception):
    """Why an answer is no usable key set."""


class KeySet:
    """The published keys of one URL that one algorithm can use. After a failed fetch the last good set stays in use.

    The set is fetched every 300 s while the application runs, so that no request waits for it; a token with an unknown
    ``kid`` causes a fetch in between, at most once a minute. All who wait share one fetch.
    """

    def __init__(self, url: str, *, algorithm: str, clock: Clock) -> None:
        """Raises ``ValueError`` for a URL or an algorithm that is not safe."""
        if algorithm not in PUBLIC_KEY_ALGORITHMS:
            raise ValueError(f"auth.algorithm: a published key cannot be one of {algorithm}")
        if problem := problem_with_jwks_url(url):
            raise ValueError(f"auth.jwks_url: {problem}")
        self.version = 0
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._documents: dict[str | None, Mapping[str, str]] = {}
        self._keys: dict[str | None, Any] = {}
        self._session: aiohttp.ClientSession | None = None
        self._fetching: asyncio.Task[bool] | None = None
        self._fetched_at: Instant | None = None

    def find(self, kid: str | None) -> Any:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if kid is None and self._keys:
            raise TokenRefusedError("no kid, and several keys to choose from")
        if kid not in self._keys:
            raise UnknownKeyError("kid is not in the key set" if self._keys else "no key set could be read yet")
        return self._keys[kid]

    async def look_again(self) -> bool:
        now = self._clock.now()
        if self._fetching is None:
            # the absolute value: a clock that was set back must not prevent fetches until it catches up
            if self._fetched_at is not None and abs(now - self._fetched_at) < _UNKNOWN_KEY_S * SECOND:
                return False
            self._fetched_at = now
        return await self.refresh()

    async def refresh(self) -> bool:
        """Fetch the set, or wait for the fetch under way; false when it failed."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew(), name="key-set")
            self._fetching.add_done_callback(self._on_fetched)
        return await asyncio.shield(self._fetching)

    async def open(self, _app: web.Application) -> AsyncIterator[None]:
        """Refresh the set for as long as the application runs; for its ``cleanup_ctx``."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_FETCH_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as session:
            self._session = session
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._keep_fresh(), name="key-set-keeper")]
            yield
            tasks += [self._fetching] if self._fetching else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._session = None

    async def _keep_fresh(self) -> None:
        while True:
            is_fresh = await self.refresh()
            await asyncio.sleep(_FRESH_S if is_fresh else _RETRY_S)

    def _on_fetched(self, _fetching: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _renew(self) -> bool:
        try:
            documents = _usable(await self._fetch(), self._algorithm)
        except (aiohttp.ClientError, TimeoutError, OSError, _UnusableError) as error:
            kept = f"the last good set of {len(self._keys)} stays in use" if self._keys else "no token can be verified"
            reason = str(error) or type(error).__name__
            log.warning("the key set could not be read: %s", kept, extra={"url": self._url, "reason": reason[:200]})
            return False
        if documents != self._documents:
            self._documents, self._keys = documents, {kid: _key(one) for kid, one in documents.items()}
            self.version += 1
            log.info("read %d keys of the identity provider", len(self._keys), extra={"url": self._url})
        return True

    async def _fetch(self) -> bytes:
        if self._session is None:
            raise _UnusableError("the application is not running")
        headers = {hdrs.ACCEPT: "application/jwk-set+json, application/json", hdrs.ACCEPT_ENCODING: "identity"}
        async with self._session.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise _UnusableError(f"answered {response.status}, not 200")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise _UnusableError(f"more than {_MOST_BYTES} bytes")
            return bytes(body)


def _usable(body: bytes, algorithm: str) -> dict[str | None, Mapping[str, str]]:
    """The public members of the keys that ``algorithm`` can use, by ``kid``; of two with the same ``kid`` the first."""
    try:
        document = orjson.loads(body)
    except ValueError:
        raise _UnusableError("not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise _UnusableError(f"no JSON object with a list of up to {_MOST_KEYS} keys")
    usable: dict[str | None, Mapping[str, str]] = {}
    for one in listed:
        if isinstance(one, dict) and _is_meant_for(one, algorithm) and one.get("kid") not in usable:
            public = {name: one[name] for name in _PUBLIC_MEMBERS if isinstance(one.get(name), str)}
            if _fits(public, algorithm):
                usable[one.get("kid")] = public
    if not usable:
        raise _UnusableError(f"none of {len(listed)} keys can be used with {algorithm}")
    return usable


def _is_meant_for(one: Mapping[str, Any], algorithm: str) -> bool:
    kid = one.get("kid")
    return (
        one.get("kty") == _KEY_TYPES[algorithm[:2]]
        and one.get("use", "sig") == "sig"
        and one.get("alg", algorithm) == algorithm
        and (kid is None or isinstance(kid, str))
    )


def _fits(public: Mapping[str, str], algorithm: str) -> bool:
    try:
        return problem_with_public_key(_key(public), algorithm) is None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return False  # one unreadable key does not exclude the others


def _key(public: Mapping[str, str]) -> Any:
    kinds: Mapping[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm,
        "EC": jwt.algorithms.ECAlgorithm,
        "OKP": jwt.algorithms.OKPAlgorithm,
    }
    return kinds[public["kty"]].from_jwk(dict(public))
