"""Secrets at rest: AES-256-GCM, each value bound to its row and column, so that it is valid in no other."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class WrongKeyError(Exception):
    """A stored secret was sealed with another key, or was changed."""


def binding_of(table: str, row_id: str, column: str) -> str:
    """What a sealed text is bound to: the associated data of its encryption (AEAD)."""
    return f"{table}/{row_id}/{column}"


class Vault:
    """Seals texts with a 32-byte key, and opens those of this key and of ``older`` ones.

    A sealed text is ``<key id>.<base64 of nonce and ciphertext>``; the key id is the start of the key's SHA-256.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        self.key_id = _id_of(key)
        self._ciphers = {_id_of(one): AESGCM(one) for one in (key, *older)}
        # the secrets of busy webhooks are opened once; the limit keeps few plain texts in memory
        self._open = lru_cache(maxsize=4096)(self._decrypt)

    def seal(self, text: str, *, binding: str) -> str:
        """``text`` encrypted for ``binding``, see ``binding_of``."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self.key_id].encrypt(nonce, text.encode(), binding.encode())
        return f"{self.key_id}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, binding: str) -> str:
        """The text sealed for ``binding``. Raises ``WrongKeyError`` for another key or binding, or a changed text."""
        return self._open(sealed, binding)

    def is_current(self, sealed: str) -> bool:
        """Was it sealed with the current key, rather than an older one?"""
        return sealed.startswith(f"{self.key_id}.")

    def _decrypt(self, sealed: str, binding: str) -> str:
        key_id, _, payload = sealed.partition(".")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise WrongKeyError(
                f"{binding} was sealed with key {key_id}, at hand is {' and '.join(self._ciphers)}: "
                "give the service the secret.key that belongs to this database"
            )
        try:
            raw = base64.b64decode(payload)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], binding.encode()).decode()
        except (InvalidTag, ValueError):
            raise WrongKeyError(
                f"{binding} was changed, or sealed for another place: restore it from a backup"
            ) from None


def _id_of(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:8]
