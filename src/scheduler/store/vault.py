"""Secrets at rest: AES-256-GCM, each value bound to its place, so that a sealed text works in no other row."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class WrongKeyError(Exception):
    """A stored secret was sealed with another key than the one at hand."""


class Vault:
    """Seals and opens texts with one 32-byte key.

    A sealed text is ``<key id>.<base64 of nonce and ciphertext>``; the key id is the start of the key's SHA-256.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.key_id = hashlib.sha256(key).hexdigest()[:8]
        # The same few webhooks are opened again and again; the bound keeps the plain texts in memory few.
        self._open = lru_cache(maxsize=4096)(self._decrypt)

    def seal(self, text: str, *, place: str) -> str:
        """``text`` encrypted for ``place``, which names table, row and column."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), place.encode())
        return f"{self.key_id}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, place: str) -> str:
        """The text sealed for ``place``. Raises ``WrongKeyError`` for another key, another place or a changed text."""
        return self._open(sealed, place)

    def _decrypt(self, sealed: str, place: str) -> str:
        key_id, _, payload = sealed.partition(".")
        raw = base64.b64decode(payload)
        try:
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode()
        except InvalidTag:
            raise WrongKeyError(
                f"a secret in {place} was sealed with key {key_id}, the key at hand is {self.key_id}: "
                "give the service the secret.key that belongs to this database"
            ) from None
