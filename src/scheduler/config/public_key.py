"""Public keys that verify tokens: reading one, and whether an algorithm can use it.

A module of its own because ``cryptography`` is slow to import.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from scheduler.config.jwt_algorithms import CURVES

_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_RSA_BITS = range(2048, 8193)


def read_public_key(pem: bytes, algorithm: str) -> PublicKeyTypes:
    """The key of a PEM text (RFC 7468, ``PUBLIC KEY``). Raises ``ValueError`` when ``algorithm`` cannot use it."""
    if b"PRIVATE KEY-----" in pem:
        raise ValueError("holds a private key, which belongs to the issuer alone: give the public one")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no public key in PEM: -----BEGIN PUBLIC KEY-----") from None
    if problem := problem_with_public_key(key, algorithm):
        raise ValueError(f"does not fit: {problem}")
    return key


def problem_with_public_key(key: object, algorithm: str) -> str | None:
    """Why ``algorithm`` cannot, or should not, be used with this key, or ``None``."""
    if algorithm == "EdDSA":
        return None if isinstance(key, Ed25519PublicKey) else "EdDSA needs an Ed25519 key"
    if algorithm in CURVES:
        curve = _CURVE_NAMES.get(key.curve.name) if isinstance(key, EllipticCurvePublicKey) else None
        return None if curve == CURVES[algorithm] else f"{algorithm} needs a key on the curve {CURVES[algorithm]}"
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return None
    return f"{algorithm} needs an RSA key of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits"
