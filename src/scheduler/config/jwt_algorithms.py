"""The algorithms that tokens may be signed with (RFC 7518, RFC 8037), and the least length of their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SHORTEST_SECRET: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least bytes of the shared secret, by HMAC algorithm: the size of its hash (RFC 7518, section 3.2)."""
CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
"""The curve of the key, by ECDSA algorithm (RFC 7518, section 3.4)."""
PUBLIC_KEY_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA")
"""The algorithms whose tokens an identity provider signs with a private key that this service does not have."""
ALGORITHMS: Final = (*SHORTEST_SECRET, *PUBLIC_KEY_ALGORITHMS)


def problem_with_secret_length(secret: str | bytes, algorithm: str) -> str | None:
    """What is wrong with the length of this secret as the HMAC key of ``algorithm``, or ``None``."""
    size = len(secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret)
    needed = SHORTEST_SECRET[algorithm]
    return f"must be {needed} bytes or more for {algorithm}, not {size}" if size < needed else None
