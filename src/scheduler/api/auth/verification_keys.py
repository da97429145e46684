"""The keys that tokens are verified with: one from the configuration, or a set that an identity provider publishes."""

from __future__ import annotations

from typing import Any, Protocol

from scheduler.config.auth import AuthConfig
from scheduler.config.jwt_algorithms import SHORTEST_SECRET, problem_with_secret_length
from scheduler.config.public_key import read_public_key


class TokenRefusedError(Exception):
    """Why a token does not count; for the log, never for the caller."""


class UnknownKeyError(TokenRefusedError):
    """The token names a key that is not known, or not yet."""


class KeySource(Protocol):
    """Where keys come from. A token may choose among them by ``kid``, and has no other say in it."""

    version: int
    """Another number whenever the keys are others: what was verified before has to be verified again."""

    def find(self, kid: str | None) -> Any:
        """The key that ``kid`` names, or the only one. Raises ``TokenRefusedError``."""
        ...

    async def look_again(self) -> bool:
        """After ``UnknownKeyError``: is it worth another ``find``?"""
        ...


class OneKey:
    """One key, which has a name only if the configuration gives it one."""

    version = 0

    def __init__(self, config: AuthConfig) -> None:
        """Raises ``ValueError`` for a key that the configured algorithm cannot safely be used with."""
        self._key = _configured_key(config)
        self._kid = config.key_id

    def find(self, kid: str | None) -> Any:
        if kid is not None and kid != self._kid:
            raise UnknownKeyError(
                "kid names another key than auth.key_id" if self._kid else "kid names a key, and auth.key_id is not set"
            )
        return self._key

    async def look_again(self) -> bool:
        return False


def _configured_key(config: AuthConfig) -> Any:
    if config.algorithm in SHORTEST_SECRET:
        # secrets from files may be any bytes; the configuration carries those that are no UTF-8 as surrogates
        secret = (config.jwt_secret or "").encode("utf-8", "surrogateescape")
        if wrong := problem_with_secret_length(secret, config.algorithm):
            raise ValueError(f"auth.jwt_secret: {wrong}")
        return secret
    if config.public_key_file is None:
        raise ValueError(f"auth.algorithm: {config.algorithm} needs auth.public_key_file or auth.jwks_url")
    try:
        return read_public_key(config.public_key_file.read_bytes(), config.algorithm)
    except (OSError, ValueError) as error:
        raise ValueError(f"auth.public_key_file: {config.public_key_file} {error}") from None
