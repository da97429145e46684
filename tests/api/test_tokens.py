"""Tokens: what counts as one, and that nothing else does. Every refusal is the same to the caller."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from dataclasses import replace
from typing import Any

import jwt
import pytest

from scheduler.api.auth.authenticator import Authenticator
from scheduler.api.auth.verification_keys import TokenRefusedError
from scheduler.config import Config
from scheduler.config.auth import AuthConfig
from scheduler.domain.clock import SECOND
from tests.api.conftest import Api, Serve
from tests.conftest import JWT_SECRET, OpenService, SetClock

SECRET = JWT_SECRET.decode()


def part(value: Any) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def signed(header: Any, claims: Any, *, key: bytes = JWT_SECRET, digest: str = "sha256") -> str:
    """A token put together by hand, so that any part of it may be malformed."""
    message = part(header) + b"." + part(claims)
    return (message + b"." + part(hmac.new(key, message, digest).digest())).decode()


@pytest.fixture
def authenticator(clock: SetClock) -> Authenticator:
    return Authenticator(AuthConfig(jwt_secret=SECRET), clock)


HS256 = {"alg": "HS256", "typ": "JWT"}


def claims(clock: SetClock, **changes: Any) -> dict[str, Any]:
    now_s = clock.now() // SECOND
    made = {"sub": "ann", "iat": now_s, "exp": now_s + 60, **changes}
    return {name: value for name, value in made.items() if value is not ...}


def test_a_token_speaks_for_its_sub(authenticator: Authenticator, clock: SetClock) -> None:
    assert authenticator.user_of_token(signed(HS256, claims(clock))) == "ann"
    assert authenticator.user_of_token(signed({"alg": "HS256"}, claims(clock, sub="bob"))) == "bob"
    assert authenticator.user_of_token(signed({"alg": "HS256", "typ": "at+jwt"}, claims(clock))) == "ann"
    pyjwt = jwt.encode(claims(clock, sub="ümit"), JWT_SECRET, algorithm="HS256")
    assert authenticator.user_of_token(pyjwt) == "ümit"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": ...},
        {"iat": ...},
        {"sub": ...},
        {"exp": None},
        {"exp": "4000000000"},
        {"exp": 1e300},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": True},
        {"exp": [1]},
        {"exp": 1},
        {"iat": "1"},
        {"iat": 0},
        {"iat": 1e300},
        {"nbf": 4_000_000_000},
        {"nbf": "soon"},
        {"nbf": None},
        {"aud": "another service"},
        {"sub": ""},
        {"sub": "   "},
        {"sub": 1},
        {"sub": None},
        {"sub": ["ann"]},
        {"sub": "a\0b"},
        {"sub": "a\nb"},
        {"sub": "x" * 256},
    ],
)
def test_claims_that_do_not_count(authenticator: Authenticator, clock: SetClock, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefusedError):
        authenticator.user_of_token(signed(HS256, claims(clock, **changes)))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "nOnE"},
        {"alg": "hs256"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": None},
        {"alg": ["HS256"]},
        {},
        [],
        "HS256",
        b"{",
        b"[" * 10_000,
        b'{"alg":"HS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}",
        {"alg": "HS256", "typ": "id+jwt"},
        {"alg": "HS256", "typ": 1},
        {"alg": "HS256", "kid": "x' OR 1=1--"},
        {"alg": "HS256", "kid": {"$ne": 1}},
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "pad": "x" * 8000},
    ],
)
def test_headers_that_do_not_count(authenticator: Authenticator, clock: SetClock, header: Any) -> None:
    with pytest.raises(TokenRefusedError):
        authenticator.user_of_token(signed(header, claims(clock)))


def test_signatures_that_do_not_count(authenticator: Authenticator, clock: SetClock) -> None:
    good = signed(HS256, claims(clock))
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    bad = [
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{good}=",
        f"{good}.{signature}",
        f"{head}.{part(claims(clock, sub='bob')).decode()}.{signature}",
        signed(HS256, claims(clock), key=b"another key that is long enough too"),
        signed({"alg": "HS512"}, claims(clock), digest="sha512"),
        "",
        "a.b",
        "ä.b.c",
    ]
    for token in bad:
        with pytest.raises(TokenRefusedError):
            authenticator.user_of_token(token)


def test_keys_in_the_header_are_ignored(authenticator: Authenticator, clock: SetClock) -> None:
    theirs = base64.urlsafe_b64encode(b"a key of the attacker, long enough").decode()
    for name, value in {"jku": "https://evil.example/keys", "jwk": {"kty": "oct", "k": theirs}, "x5u": "x"}.items():
        with pytest.raises(TokenRefusedError):
            token = signed({**HS256, name: value}, claims(clock), key=b"a key of the attacker, long enough")
            authenticator.user_of_token(token)
        assert authenticator.user_of_token(signed({**HS256, name: value}, claims(clock))) == "ann"


def test_a_token_that_was_seen_before_still_expires(authenticator: Authenticator, clock: SetClock) -> None:
    token = signed(HS256, claims(clock))
    clock.advance(89)  # 60 s of life and 30 s of leeway
    assert authenticator.user_of_token(token) == "ann"
    clock.advance(1)
    for _ in range(2):
        with pytest.raises(TokenRefusedError, match="expired"):
            authenticator.user_of_token(token)


def test_a_token_of_too_long_a_life_is_refused(clock: SetClock) -> None:
    authenticator = Authenticator(AuthConfig(jwt_secret=SECRET, max_token_age_s=3600), clock)
    now_s = clock.now() // SECOND
    assert authenticator.user_of_token(signed(HS256, claims(clock, exp=now_s + 3600)))
    with pytest.raises(TokenRefusedError, match="too long"):
        authenticator.user_of_token(signed(HS256, claims(clock, exp=now_s + 3601)))


def test_issuer_and_audience_count_when_they_are_configured(clock: SetClock) -> None:
    config = AuthConfig(jwt_secret=SECRET, issuer="us", audience="scheduler")
    authenticator = Authenticator(config, clock)
    assert authenticator.user_of_token(signed(HS256, claims(clock, iss="us", aud="scheduler"))) == "ann"
    assert authenticator.user_of_token(signed(HS256, claims(clock, iss="us", aud=["x", "scheduler"]))) == "ann"
    for changes in (
        {},
        {"iss": "us"},
        {"aud": "scheduler"},
        {"iss": "them", "aud": "scheduler"},
        {"iss": "us", "aud": "x"},
    ):
        with pytest.raises(TokenRefusedError):
            authenticator.user_of_token(signed(HS256, claims(clock, **changes)))


@pytest.mark.parametrize(
    ("algorithm", "length"), [("HS256", 31), ("HS384", 47), ("HS512", 63), ("none", 64), ("RS256", 64)]
)
def test_a_key_that_is_too_short_is_no_key(clock: SetClock, algorithm: str, length: int) -> None:
    with pytest.raises(ValueError, match=r"auth\."):
        Authenticator(AuthConfig(jwt_secret="k" * length, algorithm=algorithm), clock)


def test_a_key_may_be_any_bytes(clock: SetClock) -> None:
    key = hashlib.sha256(b"some").digest()
    authenticator = Authenticator(AuthConfig(jwt_secret=key.decode("utf-8", "surrogateescape")), clock)
    assert authenticator.user_of_token(signed(HS256, claims(clock), key=key)) == "ann"


def test_no_more_tokens_are_remembered_than_there_is_room_for(clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    decode = jwt.PyJWT.decode_complete

    def decode_and_count(self: jwt.PyJWT, token: str, **options: Any) -> Any:
        verified.append(token)
        return decode(self, token, **options)

    monkeypatch.setattr(jwt.PyJWT, "decode_complete", decode_and_count)
    authenticator = Authenticator(AuthConfig(jwt_secret=SECRET), clock, room=3)
    tokens = [signed(HS256, claims(clock, sub=f"user {number}")) for number in range(5)]
    for token in [*tokens, *tokens[2:]]:
        authenticator.user_of_token(token)
    assert verified == tokens
    authenticator.user_of_token(tokens[1])
    assert verified == [*tokens, tokens[1]]


async def test_every_refusal_is_the_same_and_the_log_says_which(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scheduler.api.auth.authenticator")
    good = api.token()
    given: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {good[:-2]}"},
        {"Authorization": f"Bearer {api.token(exp=1)}"},
        {"Authorization": f"Bearer {good} {good}"},
        {"Authorization": good},
    ]
    replies = [await api.get("/api/jobs", user=None, headers=headers) for headers in given]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.text for reply in replies}) == 1
    assert replies[0].json["error_code"] == "UNAUTHORIZED"
    assert {reply.headers["WWW-Authenticate"] for reply in replies} == {"Bearer"}
    assert len(caplog.records) == len(given)
    assert all(record.__dict__["reason"] and record.__dict__["from"] == "127.0.0.1" for record in caplog.records)
    assert good not in caplog.text


async def test_ten_refusals_a_minute_are_logged_and_the_others_counted(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="scheduler.api.auth.authenticator")
    for _ in range(25):
        assert (await api.get("/api/jobs", user=None)).status == 401
    assert [record.__dict__["unlogged_before"] for record in caplog.records] == [0] * 10
    api.clock.advance(60)
    await api.get("/api/jobs", user=None)
    assert [record.__dict__["unlogged_before"] for record in caplog.records[10:]] == [15]


async def test_the_scheme_is_written_in_any_case(api: Api) -> None:
    assert (await api.get("/api/jobs", user=None, headers={"Authorization": f"bEARER {api.token()}"})).status == 200


async def test_a_token_in_the_query_is_not_read(api: Api) -> None:
    assert (await api.get(f"/api/jobs?access_token={api.token()}", user=None)).status == 401


async def test_two_authorization_headers_are_none(api: Api) -> None:
    headers = [("Authorization", f"Bearer {api.token()}"), ("Authorization", f"Bearer {api.token('bob')}")]
    async with api.session.get("/api/jobs", headers=headers) as response:
        assert response.status == 401


async def test_the_token_is_looked_at_before_the_request(api: Api) -> None:
    for method, path in (("POST", "/api/jobs"), ("PUT", "/api/jobs/x"), ("GET", "/metrics"), ("GET", "/api/jobs?x=1")):
        assert (await api.call(method, path, raw=b"{", user=None)).status == 401


async def test_metrics_may_be_public(open_test_service: OpenService, serve: Serve, config: Config) -> None:
    open_config = replace(config, metrics=replace(config.metrics, public=True))
    async with open_test_service(open_config) as service, serve(service) as api:
        assert (await api.get("/metrics", user=None)).status == 200
        assert (await api.get("/metrics", user=None, headers={"Accept": "application/json"})).status == 401
