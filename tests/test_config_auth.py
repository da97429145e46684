"""The settings of tokens: secrets, keys of an identity provider, and combinations that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.configs import load, problems

SECRET = "s" * 32


def test_a_secret_is_as_long_as_its_algorithm_asks_and_never_shown(tmp_path: Path) -> None:
    text = '[auth]\nalgorithm = "HS512"\n'
    assert load(text, {"SCHEDULER_AUTH__JWT_SECRET": "s" * 64}, tmp_path=tmp_path).auth.algorithm == "HS512"
    told = problems(text, {"SCHEDULER_AUTH__JWT_SECRET": "s" * 63}, tmp_path=tmp_path)
    assert told == ["SCHEDULER_AUTH__JWT_SECRET: must be 64 bytes or more for HS512, not 63"]
    for wrong in ("[auth]\njwt_secret = 31337\n", "secret_key = 'hunter2'\n"):
        (line,) = problems(wrong, tmp_path=tmp_path)
        assert "31337" not in line
        assert "hunter2" not in line


def public_pem(curve: ec.EllipticCurve) -> bytes:
    """The public half of a new key on this curve."""
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_keys_of_an_identity_provider_are_configured_by_file_or_address(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(public_pem(ec.SECP256R1()))
    auth = load(
        environ={
            "SCHEDULER_AUTH__ALGORITHM": "ES256",
            "SCHEDULER_AUTH__PUBLIC_KEY_FILE": str(tmp_path / "key.pem"),
            "SCHEDULER_AUTH__KEY_ID": "2027-01",
        }
    ).auth
    assert (auth.algorithm, auth.public_key_file, auth.key_id) == ("ES256", tmp_path / "key.pem", "2027-01")
    url = "https://id.example.org/keys"
    auth = load(environ={"SCHEDULER_AUTH__ALGORITHM": "EdDSA", "SCHEDULER_AUTH__JWKS_URL": url}).auth
    assert (auth.algorithm, auth.jwks_url) == ("EdDSA", url)
    local = {"SCHEDULER_AUTH__ALGORITHM": "RS256", "SCHEDULER_AUTH__JWKS_URL": "http://127.0.0.1:9000/keys"}
    assert load(environ=local, flags={"dev": True}).auth.jwks_url == "http://127.0.0.1:9000/keys"


def test_settings_of_tokens_that_do_not_fit_together_are_told_at_once(tmp_path: Path) -> None:
    choices = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
    superfluous = f"is not used with HS256: set auth.algorithm to one of {choices}, or remove it"
    text = """[auth]
public_key_file = "key.pem"
jwks_url = "https://id.example.org/keys"
jwt_secret = "short"
"""
    assert problems(text, tmp_path=tmp_path) == [
        "scheduler.toml:4: auth.jwt_secret: must be 32 bytes or more for HS256, not 5",
        f"scheduler.toml:2: auth.public_key_file: {superfluous}",
        f"scheduler.toml:3: auth.jwks_url: {superfluous}",
    ]
    absent = tmp_path / "key.pem"
    text = f"""[auth]
algorithm = "RS256"
public_key_file = "{absent}"
jwks_url = "http://localhost/keys"
jwt_secret = "{SECRET}"
key_id = "a"
"""
    assert problems(text, tmp_path=tmp_path) == [
        "scheduler.toml:4: auth.jwks_url: is set together with auth.public_key_file: keep one of them",
        "scheduler.toml:5: auth.jwt_secret: is not used with RS256: remove it",
        "scheduler.toml:6: auth.key_id: is not used with auth.jwks_url, whose keys have their own names: remove it",
        "scheduler.toml:3: auth.public_key_file: key.pem cannot be read: No such file or directory",
        "scheduler.toml:4: auth.jwks_url: http on loopback is for development: set dev, or use https",
    ]
    assert problems(environ={"SCHEDULER_AUTH__ALGORITHM": "PS512"}) == [
        "SCHEDULER_AUTH__ALGORITHM: PS512 needs auth.public_key_file or auth.jwks_url"
    ]


def test_an_algorithm_that_is_none_is_the_only_problem_of_its_keys() -> None:
    environ = {"SCHEDULER_AUTH__ALGORITHM": "RS265", "SCHEDULER_AUTH__JWKS_URL": "https://id.example.org/keys"}
    (told,) = problems(environ=environ)
    assert told.startswith("SCHEDULER_AUTH__ALGORITHM: must be one of HS256, ")


@pytest.mark.parametrize(
    ("algorithm", "content", "wrong"),
    [
        ("RS256", public_pem(ec.SECP256R1()), "does not fit: RS256 needs an RSA key of 2048 to 8192 bits"),
        ("ES256", public_pem(ec.SECP384R1()), "does not fit: ES256 needs a key on the curve P-256"),
        ("EdDSA", public_pem(ec.SECP256R1()), "does not fit: EdDSA needs an Ed25519 key"),
        ("EdDSA", b"hello", "holds no public key in PEM: -----BEGIN PUBLIC KEY-----"),
    ],
)
def test_a_public_key_must_fit_its_algorithm(tmp_path: Path, algorithm: str, content: bytes, wrong: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    environ = {"SCHEDULER_AUTH__ALGORITHM": algorithm, "SCHEDULER_AUTH__PUBLIC_KEY_FILE": str(path)}
    assert problems(environ=environ) == [f"SCHEDULER_AUTH__PUBLIC_KEY_FILE: {path} {wrong}"]


@pytest.mark.parametrize(
    "url", ["http://id.example.org/keys", "id.example.org", "https://", "https://a:b@c/", "https://a/#b", "ftp://a/"]
)
def test_an_unsafe_address_of_a_key_set_is_refused(url: str) -> None:
    environ = {"SCHEDULER_AUTH__ALGORITHM": "RS256", "SCHEDULER_AUTH__JWKS_URL": url}
    (told,) = problems(environ=environ, flags={"dev": True})
    assert told.startswith("SCHEDULER_AUTH__JWKS_URL: must be")
