"""Which tokens are accepted: the settings, and the rules that hold among several of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from scheduler.config.jwt_algorithms import (
    ALGORITHMS,
    PUBLIC_KEY_ALGORITHMS,
    SHORTEST_SECRET,
    problem_with_secret_length,
)
from scheduler.config.settings import Setting
from scheduler.config.sources import Found, Problem

_MOST_PEM_BYTES = 65_536


def problem_with_jwks_url(url: str) -> str | None:
    """What is wrong with this URL of a key set, or ``None``. Whether ``dev`` permits http is decided elsewhere."""
    parts = _parts_of(url)
    if parts is None or parts.username or parts.password or parts.fragment or not url.isascii() or " " in url:
        return "must be an address such as https://id.example.org/keys, without user and fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return None
    return "must begin with https://: a key that was replaced on its way here would accept forged tokens"


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Which tokens are accepted."""

    jwt_secret: Annotated[
        str | None,
        Setting(
            "The secret that tokens are signed with, 32 bytes or more (HS384: 48, HS512: 64). "
            "Default: the file jwt.secret in data_dir, created at the first start. Only with HS256, HS384 and HS512.",
            secret=True,
            example="at least 32 random bytes",
        ),
    ] = field(default=None, repr=False)
    algorithm: Annotated[
        str,
        Setting(
            "The one algorithm that is accepted in tokens. HS256, HS384 and HS512 are verified with jwt_secret, the "
            "others with the public key of an identity provider, from public_key_file or jwks_url.",
            choices=ALGORITHMS,
        ),
    ] = "HS256"
    public_key_file: Annotated[
        Path | None,
        Setting("PEM file with the public key of the identity provider.", example="/etc/scheduler/identity.pem"),
    ] = None
    jwks_url: Annotated[
        str | None,
        Setting(
            "Where the identity provider publishes its public keys (RFC 7517); https, or with dev http on loopback. "
            "Read every 300 s, and at most once a minute for a key that is not in it.",
            check=problem_with_jwks_url,
            example="https://id.example.org/.well-known/jwks.json",
        ),
    ] = None
    key_id: Annotated[
        str | None,
        Setting(
            "The kid that tokens may name, if there is a single verification key. Default: tokens with a kid are "
            "refused.",
            example="2027-01",
        ),
    ] = None
    issuer: Annotated[
        str | None, Setting("What the claim iss must be. Default: it is not checked.", example="https://id.example.org")
    ] = None
    audience: Annotated[
        str | None,
        Setting("What the claim aud must be. Default: tokens with this claim are refused.", example="scheduler"),
    ] = None
    max_token_age_s: Annotated[
        float, Setting("The longest life of an accepted token (exp - iat), seconds.", low=60, high=315_360_000)
    ] = 31_622_400
    leeway_s: Annotated[float, Setting("How far the clock of the issuer may be off, seconds.", low=0, high=60)] = 30
    hide_foreign: Annotated[
        bool, Setting("Answer 404 instead of 403 for what belongs to the account of somebody else.")
    ] = False


def auth_problems(found: Mapping[str, Found], refused: AbstractSet[str]) -> list[Problem]:
    """Contradictions among settings that are valid one by one; ``refused`` names those that are not valid."""
    if refused & {"auth.algorithm", "auth.public_key_file", "auth.jwks_url"}:
        return []  # the rules depend on the value that was meant there
    algorithm = found.get("auth.algorithm", _DEFAULT_ALGORITHM)
    if algorithm.value in SHORTEST_SECRET:
        return [*_secret_problems(found, algorithm.value), *_unused_sources(found, algorithm.value)]
    return [
        *_source_problems(found, algorithm),
        *_key_file_problems(found, algorithm.value),
        *_jwks_url_problems(found),
    ]


_DEFAULT_ALGORITHM = Found(value="HS256", origin="default", name="auth.algorithm")


def _secret_problems(found: Mapping[str, Found], algorithm: str) -> Iterator[Problem]:
    secret = _given(found, "auth.jwt_secret")
    if secret is not None and (problem := problem_with_secret_length(secret.value, algorithm)):
        yield _problem(secret, problem)


def _unused_sources(found: Mapping[str, Found], algorithm: str) -> Iterator[Problem]:
    for name in ("auth.public_key_file", "auth.jwks_url"):
        if (given := _given(found, name)) is not None:
            choices = ", ".join(PUBLIC_KEY_ALGORITHMS)
            yield _problem(given, f"is not used with {algorithm}: set auth.algorithm to one of {choices}, or remove it")


def _source_problems(found: Mapping[str, Found], algorithm: Found) -> Iterator[Problem]:
    """The verification key has exactly one source, and nothing is set that this source does not use."""
    file, url = _given(found, "auth.public_key_file"), _given(found, "auth.jwks_url")
    if file is None and url is None:
        yield _problem(algorithm, f"{algorithm.value} needs auth.public_key_file or auth.jwks_url")
    if file is not None and url is not None:
        yield _problem(url, "is set together with auth.public_key_file: keep one of them")
    if (secret := _given(found, "auth.jwt_secret")) is not None:
        yield _problem(secret, f"is not used with {algorithm.value}: remove it")
    if url is not None and (named := _given(found, "auth.key_id")) is not None:
        yield _problem(named, "is not used with auth.jwks_url, whose keys have their own names: remove it")


def _key_file_problems(found: Mapping[str, Found], algorithm: str) -> Iterator[Problem]:
    file = _given(found, "auth.public_key_file")
    if file is None:
        return
    from scheduler.config.public_key import read_public_key  # noqa: PLC0415 - slow to import, and few configurations need it

    try:
        with file.value.open("rb") as opened:
            read_public_key(opened.read(_MOST_PEM_BYTES), algorithm)
    except OSError as error:
        yield _problem(file, f"{file.value} cannot be read: {error.strerror}")
    except ValueError as error:
        yield _problem(file, f"{file.value} {error}")


def _jwks_url_problems(found: Mapping[str, Found]) -> Iterator[Problem]:
    url, dev = _given(found, "auth.jwks_url"), found.get("dev")
    if url is not None and not url.value.lower().startswith("https:") and not (dev and dev.value):
        yield _problem(url, "http on loopback is for development: set dev, or use https")


def _given(found: Mapping[str, Found], name: str) -> Found | None:
    one = found.get(name)
    return None if one is None or one.value is None else one


def _problem(found: Found, message: str) -> Problem:
    return Problem(origin=found.origin, setting=found.name, message=message)


def _parts_of(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if named else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
