"""Tokens that an identity provider signs: with one public key from a file, or with a set that it publishes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scheduler.api.auth.authenticator import Authenticator
from scheduler.api.auth.jwks import KeySet
from scheduler.api.auth.verification_keys import TokenRefusedError, UnknownKeyError
from scheduler.config import Config
from scheduler.config.auth import AuthConfig
from scheduler.domain.clock import SECOND
from tests.api.conftest import Serve
from tests.conftest import OpenService, Receiver, SetClock

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, PrivateKey] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED,
}
FORGED: dict[str, PrivateKey] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), OTHER),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
"""Keys of the right type that are not the configured ones."""


def pem(private: PrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(private: PrivateKey, kid: str | None = None, **members: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm, ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm}
    algorithm: Any = next(
        (found for one, found in kind.items() if isinstance(private, one)), jwt.algorithms.ECAlgorithm
    )
    made: dict[str, Any] = algorithm.to_jwk(private.public_key(), as_dict=True)
    return {**made, **({"kid": kid} if kid else {}), **members}


def token(clock: SetClock, private: PrivateKey, algorithm: str, *, headers: Any = None, **claims: Any) -> str:
    now_s = clock.now() // SECOND
    made = {"sub": "ann", "iat": now_s, "exp": now_s + 3600, **claims}
    return jwt.encode(made, private, algorithm=algorithm, headers=headers)


def from_file(tmp_path: Path, clock: SetClock, algorithm: str, content: bytes, **options: Any) -> Authenticator:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    return Authenticator(AuthConfig(algorithm=algorithm, public_key_file=path, **options), clock)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_key_from_a_file_verifies_its_own_algorithm_only(tmp_path: Path, clock: SetClock, algorithm: str) -> None:
    private = PRIVATE[algorithm]
    authenticator = from_file(tmp_path, clock, algorithm, pem(private))
    good = token(clock, private, algorithm)
    assert authenticator.user_of_token(good) == "ann"
    others = [
        token(clock, other_private, other)
        for other, other_private in PRIVATE.items()
        if other != algorithm or other_private is not private
    ]
    forged = token(clock, FORGED[algorithm], algorithm)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for bad in [*others, forged, f"{head}.{body}.{flipped}", f"{head}.{body}."]:
        with pytest.raises(TokenRefusedError):
            authenticator.user_of_token(bad)


def test_a_key_file_may_begin_with_a_byte_order_mark(tmp_path: Path, clock: SetClock) -> None:
    private = PRIVATE["ES256"]
    authenticator = from_file(tmp_path, clock, "ES256", b"\xef\xbb\xbf" + pem(private))
    assert authenticator.user_of_token(token(clock, private, "ES256")) == "ann"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_shared_secret(tmp_path: Path, clock: SetClock, algorithm: str) -> None:
    """The classic attack: HMAC with the public key, which is no secret, as its key."""
    public = pem(PRIVATE[algorithm])
    authenticator = from_file(tmp_path, clock, algorithm, public)
    now_s = clock.now() // SECOND
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "ann", "iat": now_s, "exp": now_s + 60}).encode())
    for alg in ("HS256", algorithm, "none", "nOnE"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": alg, "typ": "JWT"}).encode())
        message = header.rstrip(b"=") + b"." + claims.rstrip(b"=")
        for key in (public, public.strip(), b""):
            signature = base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).rstrip(b"=")
            with pytest.raises(TokenRefusedError):
                authenticator.user_of_token((message + b"." + signature).decode())


def test_keys_that_the_header_brings_are_not_used(tmp_path: Path, clock: SetClock) -> None:
    authenticator = from_file(tmp_path, clock, "RS256", pem(RSA))
    mine = rsa.generate_private_key(65537, 2048)
    for headers in ({"jwk": jwk(mine)}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x"}):
        with pytest.raises(TokenRefusedError):
            authenticator.user_of_token(token(clock, mine, "RS256", headers=headers))
        assert authenticator.user_of_token(token(clock, RSA, "RS256", headers=headers)) == "ann"


def test_kid_must_be_the_configured_one(tmp_path: Path, clock: SetClock) -> None:
    unnamed = from_file(tmp_path, clock, "RS256", pem(RSA))
    named = from_file(tmp_path, clock, "RS256", pem(RSA), key_id="2027")
    assert named.user_of_token(token(clock, RSA, "RS256", headers={"kid": "2027"})) == "ann"
    assert named.user_of_token(token(clock, RSA, "RS256")) == "ann"
    for kid in ("2026", "x' OR 1=1--", "../../key", ""):
        for authenticator in (unnamed, named):
            with pytest.raises(UnknownKeyError):
                authenticator.user_of_token(token(clock, RSA, "RS256", headers={"kid": kid}))


@pytest.mark.parametrize(
    ("algorithm", "content"),
    [
        ("RS256", pem(P256)),
        ("ES256", pem(RSA)),
        ("ES256", pem(P384)),
        ("EdDSA", pem(P256)),
        ("RS256", pem(rsa.generate_private_key(65537, 1024))),
        ("RS256", b""),
        ("RS256", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        (
            "RS256",
            RSA.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        ),
    ],
)
def test_a_key_that_does_not_fit_its_algorithm_is_refused(
    tmp_path: Path, clock: SetClock, algorithm: str, content: bytes
) -> None:
    with pytest.raises(ValueError, match=r"auth\.public_key_file"):
        from_file(tmp_path, clock, algorithm, content)


@asynccontextmanager
async def opened(receiver: Receiver, clock: SetClock, *keys: Any, **options: Any) -> AsyncIterator[Authenticator]:
    """An authenticator over the keys that ``receiver`` publishes, after its first look."""
    publish(receiver, *keys)
    config = AuthConfig(algorithm="RS256", jwks_url=f"{receiver.url}/keys")
    authenticator = Authenticator(replace(config, **options), clock)
    assert isinstance(authenticator.verification_keys, KeySet)
    life = authenticator.verification_keys.open(web.Application())
    await anext(life)
    await authenticator.verification_keys.refresh()
    yield authenticator
    with pytest.raises(StopAsyncIteration):
        await anext(life)


def publish(receiver: Receiver, *keys: Any) -> None:
    receiver.answer = lambda _: web.json_response({"keys": list(keys)})


async def test_kid_selects_from_the_published_set(receiver: Receiver, clock: SetClock) -> None:
    unusable = [
        {"kty": "oct", "kid": "s", "k": "c2VjcmV0"},
        jwk(P256, "e"),
        jwk(RSA, "enc", use="enc"),
        jwk(RSA, "ps", alg="PS256"),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": ["list"], **{name: jwk(RSA)[name] for name in "ne"}},
        "no key",
        None,
    ]
    async with opened(receiver, clock, *unusable, jwk(RSA, "a", use="sig", alg="RS256"), jwk(OTHER, "b")) as auth:
        assert auth.user_of_token(token(clock, RSA, "RS256", headers={"kid": "a"})) == "ann"
        assert auth.user_of_token(token(clock, OTHER, "RS256", headers={"kid": "b"}, sub="bob")) == "bob"
        for kid in ("b", "s", "e", "enc", "ps", "broken", "c", ""):
            with pytest.raises(TokenRefusedError):
                auth.user_of_token(token(clock, RSA, "RS256", headers={"kid": kid}))
        with pytest.raises(TokenRefusedError, match="several keys"):
            auth.user_of_token(token(clock, RSA, "RS256"))
        (asked,) = receiver.requests
        assert (asked.method, asked.path, asked.headers["accept-encoding"]) == ("GET", "/keys", "identity")
        assert "authorization" not in asked.headers


async def test_a_set_of_one_needs_no_kid(receiver: Receiver, clock: SetClock) -> None:
    async with opened(receiver, clock, jwk(RSA)) as auth:
        assert auth.user_of_token(token(clock, RSA, "RS256")) == "ann"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS512"])
async def test_a_set_may_have_keys_of_other_algorithms(receiver: Receiver, clock: SetClock, algorithm: str) -> None:
    private = PRIVATE[algorithm]
    async with opened(receiver, clock, jwk(private, "k"), jwk(P384, "x"), algorithm=algorithm) as auth:
        assert auth.user_of_token(token(clock, private, algorithm, headers={"kid": "k"})) == "ann"


async def test_a_private_key_that_is_published_by_mistake_verifies_all_the_same(
    receiver: Receiver, clock: SetClock
) -> None:
    leaked: Any = jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)
    async with opened(receiver, clock, {**leaked, "kid": "k"}) as auth:
        assert auth.user_of_token(token(clock, RSA, "RS256", headers={"kid": "k"})) == "ann"


async def test_an_unknown_kid_is_looked_for_once_a_minute(receiver: Receiver, clock: SetClock) -> None:
    async with opened(receiver, clock, jwk(RSA, "old")) as auth:
        publish(receiver, jwk(RSA, "old"), jwk(OTHER, "new"))
        fresh = token(clock, OTHER, "RS256", headers={"kid": "new"})
        users = await asyncio.gather(*(auth.user_of(fresh) for _ in range(20)))
        assert users == ["ann"] * 20
        assert len(receiver.requests) == 2  # the first look, and one for all twenty
        for number in range(20):
            with pytest.raises(UnknownKeyError):
                await auth.user_of(token(clock, OTHER, "RS256", headers={"kid": f"none {number}"}))
        assert len(receiver.requests) == 2
        clock.advance(60)
        with pytest.raises(UnknownKeyError):
            await auth.user_of(token(clock, OTHER, "RS256", headers={"kid": "none"}))
        assert len(receiver.requests) == 3
        for _ in range(20):
            await auth.user_of(fresh)
        assert len(receiver.requests) == 3


async def test_a_key_that_is_withdrawn_takes_its_tokens_along(receiver: Receiver, clock: SetClock) -> None:
    async with opened(receiver, clock, jwk(RSA, "a"), jwk(OTHER, "b")) as auth:
        ours = token(clock, RSA, "RS256", headers={"kid": "a"})
        theirs = token(clock, OTHER, "RS256", headers={"kid": "b"})
        assert (auth.user_of_token(ours), auth.user_of_token(theirs)) == ("ann", "ann")
        publish(receiver, jwk(RSA, "a"))
        assert isinstance(auth.verification_keys, KeySet)
        assert await auth.verification_keys.refresh()
        assert auth.user_of_token(ours) == "ann"
        with pytest.raises(UnknownKeyError):
            auth.user_of_token(theirs)
        publish(receiver, jwk(OTHER, "a"))  # another key under an old name
        assert await auth.verification_keys.refresh()
        with pytest.raises(TokenRefusedError):
            auth.user_of_token(ours)


BAD_ANSWERS: dict[str, Any] = {
    "an error": lambda: web.Response(status=500),
    "a redirect": lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    "no content": lambda: web.Response(status=204),
    "a page": lambda: web.Response(text="<html>"),
    "a list": lambda: web.json_response([]),
    "no keys": lambda: web.json_response({"keys": []}),
    "keys of another kind": lambda: web.json_response({"keys": [jwk(P256, "a")]}),
    "too many keys": lambda: web.json_response({"keys": [{}] * 101}),
    "too many bytes": lambda: web.json_response({"keys": [jwk(OTHER, "a", pad="x" * 262_144)]}),
    "a bomb": lambda: web.Response(body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}),
    "deep": lambda: web.Response(text="[" * 100_000),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
async def test_the_last_good_set_is_kept(
    receiver: Receiver, clock: SetClock, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(receiver, clock, jwk(RSA, "a")) as auth:
        receiver.answer = lambda _: BAD_ANSWERS[bad]()
        assert isinstance(auth.verification_keys, KeySet)
        with caplog.at_level(logging.WARNING, logger="scheduler.api.auth.jwks"):
            assert not await auth.verification_keys.refresh()
        assert caplog.records[0].__dict__["reason"]
        assert auth.user_of_token(token(clock, RSA, "RS256", headers={"kid": "a"})) == "ann"
        assert [request.path for request in receiver.requests] == ["/keys", "/keys"]


async def test_a_provider_that_comes_late_is_found(receiver: Receiver, clock: SetClock) -> None:
    async with opened(receiver, clock) as auth:
        publish(receiver, jwk(RSA, "a"))
        good = token(clock, RSA, "RS256", headers={"kid": "a"})
        assert await auth.user_of(good) == "ann"


async def test_an_address_without_a_listener_gives_no_keys(clock: SetClock) -> None:
    keys = KeySet("http://127.0.0.1:1/keys", algorithm="RS256", clock=clock)
    life = keys.open(web.Application())
    await anext(life)
    assert not await keys.refresh()
    with pytest.raises(UnknownKeyError, match="no key set"):
        keys.find("a")
    with pytest.raises(StopAsyncIteration):
        await anext(life)
    assert not await keys.refresh()


@pytest.mark.parametrize("url", ["http://id.example.org/keys", "ftp://x/", "https://", "https://u:p@id.example.org/"])
def test_an_address_that_is_not_safe_is_refused(clock: SetClock, url: str) -> None:
    with pytest.raises(ValueError, match=r"auth\.jwks_url"):
        Authenticator(AuthConfig(algorithm="RS256", jwks_url=url), clock)


async def test_the_service_reads_the_set_by_itself_and_not_for_each_request(
    open_test_service: OpenService, serve: Serve, config: Config, receiver: Receiver, clock: SetClock
) -> None:
    """Although no webhook could go there: the keys are the operator's choice and not a user's."""
    publish(receiver, jwk(P256, "k"))
    auth = AuthConfig(algorithm="ES256", jwks_url=f"{receiver.url}/keys", issuer="https://id.example", audience="us")
    strict = replace(config, auth=auth, egress=replace(config.egress, allow=()))
    claims = {"iss": "https://id.example", "aud": "us"}
    async with open_test_service(strict) as service, serve(service) as api:
        good = {"Authorization": f"Bearer {token(clock, P256, 'ES256', headers={'kid': 'k'}, **claims)}"}
        for _ in range(5):
            assert (await api.get("/api/jobs", user=None, headers=good)).status == 200
        assert len(receiver.requests) == 1
        for bad in (
            token(clock, P256, "ES256", headers={"kid": "k"}),
            token(clock, P256, "ES256", headers={"kid": "x"}, **claims),
            api.token(),
        ):
            reply = await api.get("/api/jobs", user=None, headers={"Authorization": f"Bearer {bad}"})
            assert (reply.status, reply.json["error_code"]) == (401, "UNAUTHORIZED")
        made = await api.post("/api/keys", {"name": "k", "scopes": ["read"]}, user=None, headers=good)
        key = {"Authorization": f"Bearer {made.json['key']}"}
        assert (await api.get("/api/jobs", user=None, headers=key)).status == 200
