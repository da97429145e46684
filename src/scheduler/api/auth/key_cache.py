"""The keys of machines as requests bring them: each is read from the store once a second at most."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.api.auth.verification_keys import TokenRefusedError
from scheduler.domain.accounts.api_key import ApiKey, key_digest
from scheduler.domain.clock import SECOND, Clock, Instant
from scheduler.store.accounts.keys import KeyStore


@dataclass(frozen=True, slots=True)
class _Seen:
    key: ApiKey
    read_at: Instant


class KeyRing:
    """Who a key speaks for. What it remembers is younger than a second, so that a revocation counts everywhere.

    It remembers no more than ``room`` keys, those that were read last.
    """

    def __init__(self, keys: KeyStore, clock: Clock, *, room: int = 4096) -> None:
        self._keys = keys
        self._clock = clock
        self._room = room
        self._seen: dict[str, _Seen] = {}

    async def key_of(self, text: str) -> ApiKey:
        """The key that ``text`` is, if it counts at this moment; raises ``TokenRefusedError``."""
        digest = key_digest(text)
        if digest is None:
            raise TokenRefusedError("not the shape of a key")
        key = self._remembered(digest) or await self._read(digest)
        now = self._clock.now()
        if not key.is_valid_at(now):
            raise TokenRefusedError(f"{key.principal} is {'expired' if key.revoked_at is None else 'revoked'}")
        self._keys.used(key.id, now)
        return key

    def forget(self, key_id: str) -> None:
        """Read this key anew when it is next used."""
        self._seen = {digest: seen for digest, seen in self._seen.items() if seen.key.id != key_id}

    def _remembered(self, digest: str) -> ApiKey | None:
        seen = self._seen.get(digest)
        # a clock that was set back makes what is remembered old, not young
        return seen.key if seen is not None and 0 <= self._clock.now() - seen.read_at < SECOND else None

    async def _read(self, digest: str) -> ApiKey:
        read_at = self._clock.now()
        key = await self._keys.find(digest)
        self._seen.pop(digest, None)
        if key is None:
            raise TokenRefusedError("no such key")
        while len(self._seen) >= self._room:
            del self._seen[next(iter(self._seen))]
        self._seen[digest] = _Seen(key, read_at)
        return key
