"""A cache of API keys: each is read from the store once a second at most."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.api.auth.verification_keys import TokenRefusedError
from scheduler.domain.accounts.api_key import ApiKey, key_digest
from scheduler.domain.clock import SECOND, Clock, Instant
from scheduler.domain.events import Events, KeysRevoked
from scheduler.store.accounts.keys import KeyStore


@dataclass(frozen=True, slots=True)
class _Cached:
    key: ApiKey
    read_at: Instant


class ApiKeyCache:
    """The API keys that requests carry: at most ``room``, those that were read last.

    A key that this process revokes is read again at once; after a second every key is, because another node may have
    revoked it.
    """

    def __init__(self, keys: KeyStore, clock: Clock, events: Events, *, room: int = 4096) -> None:
        self._keys = keys
        self._clock = clock
        self._room = room
        self._cached: dict[str, _Cached] = {}
        events.listen(KeysRevoked, self._on_keys_revoked)

    async def key_of(self, text: str) -> ApiKey:
        """The API key with this text. Raises ``TokenRefusedError`` when there is none that is valid now."""
        digest = key_digest(text)
        if digest is None:
            raise TokenRefusedError("not of the form of a key")
        key = self._lookup(digest) or await self._read(digest)
        now = self._clock.now()
        if not key.is_valid_at(now):
            raise TokenRefusedError(f"{key.principal} is {'expired' if key.revoked_at is None else 'revoked'}")
        self._keys.used(key.id, now)
        return key

    def _on_keys_revoked(self, event: KeysRevoked) -> None:
        revoked = set(event.key_ids)
        self._cached = {digest: cached for digest, cached in self._cached.items() if cached.key.id not in revoked}

    def _lookup(self, digest: str) -> ApiKey | None:
        cached = self._cached.get(digest)
        # an age below zero: the clock was set back, so the key counts as old
        return cached.key if cached is not None and 0 <= self._clock.now() - cached.read_at < SECOND else None

    async def _read(self, digest: str) -> ApiKey:
        read_at = self._clock.now()
        key = await self._keys.find(digest)
        self._cached.pop(digest, None)
        if key is None:
            raise TokenRefusedError("no such key")
        while len(self._cached) >= self._room:
            del self._cached[next(iter(self._cached))]
        self._cached[digest] = _Cached(key, read_at)
        return key
