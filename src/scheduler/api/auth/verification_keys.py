"""The keys that verify tokens: one from the configuration, or a set that an identity provider publishes (``jwks``)."""

from __future__ import annotations

from typing import Any, Protocol

from scheduler.config.auth import AuthConfig
from scheduler.config.jwt_algorithms import SHORTEST_SECRET, problem_with_secret_length
from scheduler.config.public_key import read_public_key


class TokenRefusedError(Exception):
    """Why a token or an API key is refused; for the log, never for the caller."""


class UnknownKeyError(TokenRefusedError):
    """The token names a verification key that is not in the set, or not yet."""


class VerificationKeys(Protocol):
    """The verification keys in force. A token chooses one by ``kid`` (RFC 7515, section 4.1.4), and by nothing else."""

    version: int
    """Changes whenever the keys change: tokens that were verified before must be verified again."""

    def find(self, kid: str | None) -> Any:
        """The key that ``kid`` names, or the only key. Raises ``TokenRefusedError``."""
        ...

    async def look_again(self) -> bool:
        """Called after ``UnknownKeyError``; returns whether another ``find`` may succeed."""
        ...


class ConfiguredKey:
    """The key of the configuration; it has a ``kid`` if ``auth.key_id`` is set."""

    version = 0

    def __init__(self, config: AuthConfig) -> None:
        """Raises ``ValueError`` for a key that the configured algorithm cannot use safely."""
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
        # a secret from a file may be any bytes; the configuration holds those that are no UTF-8 as surrogates
        secret = (config.jwt_secret or "").encode("utf-8", "surrogateescape")
        if problem := problem_with_secret_length(secret, config.algorithm):
            raise ValueError(f"auth.jwt_secret: {problem}")
        return secret
    if config.public_key_file is None:
        raise ValueError(f"auth.algorithm: {config.algorithm} needs auth.public_key_file or auth.jwks_url")
    try:
        return read_public_key(config.public_key_file.read_bytes(), config.algorithm)
    except (OSError, ValueError) as error:
        raise ValueError(f"auth.public_key_file: {config.public_key_file} {error}") from None
