"""The algorithms that tokens may be signed with, and which keys fit each of them (RFC 7518, RFC 8037)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # cryptography is slow to import, and most commands need none of it
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SHORTEST_SECRET: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms of a shared secret, and its least bytes: the size of the hash (RFC 7518, section 3.2)."""
CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
"""The algorithms on elliptic curves, and the curve of each (RFC 7518, section 3.4)."""
PUBLIC_KEY_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA")
"""The algorithms whose tokens somebody else signs, with a private key that this service never sees."""
ALGORITHMS: Final = (*SHORTEST_SECRET, *PUBLIC_KEY_ALGORITHMS)

_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_RSA_BITS = range(2048, 8193)


def wrong_secret_length(secret: str | bytes, algorithm: str) -> str | None:
    """What is wrong with this secret as the HMAC key of ``algorithm``, in words."""
    size = len(secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret)
    needed = SHORTEST_SECRET[algorithm]
    return f"must be {needed} bytes or more for {algorithm}, not {size}" if size < needed else None


def read_public_key(pem: bytes, algorithm: str) -> PublicKeyTypes:
    """The key of a PEM text (RFC 7468, ``PUBLIC KEY``); ``ValueError`` says why it is none that ``algorithm`` can use."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in pem:
        raise ValueError("holds a private key, which belongs to the issuer alone: give the public one")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no public key in PEM: -----BEGIN PUBLIC KEY-----") from None
    if wrong := unfit_public_key(key, algorithm):
        raise ValueError(wrong)
    return key


def unfit_public_key(key: object, algorithm: str) -> str | None:
    """Why ``algorithm`` cannot, or should not, be used with this key, in words."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if algorithm == "EdDSA":
        return None if isinstance(key, Ed25519PublicKey) else "EdDSA needs an Ed25519 key"
    if algorithm in CURVES:
        curve = _CURVE_NAMES.get(key.curve.name) if isinstance(key, EllipticCurvePublicKey) else None
        return None if curve == CURVES[algorithm] else f"{algorithm} needs a key on the curve {CURVES[algorithm]}"
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return None
    return f"{algorithm} needs an RSA key of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits"
