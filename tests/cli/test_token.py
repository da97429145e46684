"""``scheduler token create``: a token and nothing else, signed with what the service would use."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from scheduler.cli.token import issue_token, token, token_life_s
from scheduler.config.auth import AuthConfig
from scheduler.domain.clock import SECOND

DAY_S = 86_400


def create(*arguments: str, data_dir: Path, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(token, ["create", "--data-dir", str(data_dir), *arguments], env=environ)


def claims_of(text: str, data_dir: Path, **checks: Any) -> dict[str, Any]:
    key = (data_dir / "jwt.secret").read_bytes().strip()
    options: Any = {"require": ["exp", "iat", "sub", "jti"], "enforce_minimum_key_length": True}
    return jwt.PyJWT(options=options).decode(text, key, algorithms=["HS256"], **checks)


def test_prints_one_token_for_admin_and_thirty_days(tmp_path: Path) -> None:
    before = int(time.time())
    result = create(data_dir=tmp_path / "new")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert f"made {tmp_path / 'new' / 'jwt.secret'}" in result.stderr
    assert create(data_dir=tmp_path / "new").stderr == ""
    claims = claims_of(result.stdout.strip(), tmp_path / "new")
    assert claims["sub"] == "admin"
    assert claims["exp"] - claims["iat"] == 30 * DAY_S
    assert before <= claims["iat"] <= time.time()
    assert set(claims) == {"sub", "iat", "exp", "jti"}


def test_the_secret_stays_the_same_and_every_token_is_another(tmp_path: Path) -> None:
    first, second = (create("--user", "eve", "--days", "1", data_dir=tmp_path).stdout.strip() for _ in range(2))
    assert first != second
    assert {claims_of(text, tmp_path)["sub"] for text in (first, second)} == {"eve"}


def test_a_token_has_the_audience_and_issuer_of_the_configuration(tmp_path: Path) -> None:
    environ = {"SCHEDULER_AUTH__ISSUER": "https://id.example", "SCHEDULER_AUTH__AUDIENCE": "ours"}
    text = create(data_dir=tmp_path, environ=environ).stdout.strip()
    assert claims_of(text, tmp_path, issuer="https://id.example", audience="ours")["aud"] == "ours"
    text = create("--audience", "theirs", data_dir=tmp_path, environ=environ).stdout.strip()
    assert claims_of(text, tmp_path, audience="theirs")["aud"] == "theirs"


def test_a_secret_of_the_configuration_is_used_and_no_file_made(tmp_path: Path) -> None:
    environ = {"SCHEDULER_AUTH__JWT_SECRET": "k" * 48, "SCHEDULER_AUTH__ALGORITHM": "HS384"}
    text = create(data_dir=tmp_path / "none", environ=environ).stdout.strip()
    assert jwt.decode(text, "k" * 48, algorithms=["HS384"])["sub"] == "admin"
    assert not (tmp_path / "none").exists()


def test_no_token_lives_longer_than_would_be_accepted(tmp_path: Path) -> None:
    environ = {"SCHEDULER_AUTH__MAX_TOKEN_AGE_S": "7200"}
    result = create("--days", "1", data_dir=tmp_path, environ=environ)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "--days 1 is longer than auth.max_token_age_s allows, 7200 s\n"
    claims = claims_of(create(data_dir=tmp_path, environ=environ).stdout.strip(), tmp_path)
    assert claims["exp"] - claims["iat"] == 7200


@pytest.mark.parametrize("arguments", [["--days", "0"], ["--days", "367"], ["--days", "x"], ["--user", " "]])
def test_arguments_that_make_no_token(arguments: list[str], tmp_path: Path) -> None:
    result = create(*arguments, data_dir=tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert arguments[0] in result.stderr


def test_a_bad_configuration_and_a_bad_directory_are_refused(tmp_path: Path) -> None:
    result = create(data_dir=tmp_path, environ={"SCHEDULER_AUTH__JWT_SECRET": "short"})
    assert (result.exit_code, result.stdout) == (3, "")
    (tmp_path / "jwt.secret").write_text("short")
    result = create(data_dir=tmp_path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"{tmp_path / 'jwt.secret'}: must be 32 bytes or more for HS256, not 5\n"
    result = create(data_dir=tmp_path / "jwt.secret")
    assert (result.exit_code, result.stdout) == (4, "")


def test_the_token_is_json_on_request(tmp_path: Path) -> None:
    answer = json.loads(create("--json", "--days", "2", "--user", "eve", data_dir=tmp_path).stdout)
    assert set(answer) == {"token", "user", "expires_at"}
    assert claims_of(answer["token"], tmp_path)["sub"] == answer["user"] == "eve"


def test_a_token_counts_from_the_second_it_is_made() -> None:
    auth = AuthConfig()
    text = issue_token(b"k" * 32, auth, user="eve", now=1_000 * SECOND + 999_999, life_s=token_life_s(auth, 1))
    claims = jwt.decode(text, b"k" * 32, algorithms=["HS256"], options={"verify_exp": False})
    assert (claims["iat"], claims["exp"]) == (1_000, 1_000 + DAY_S)


def test_tokens_of_an_identity_provider_are_not_ours_to_make(tmp_path: Path) -> None:
    environ = {"SCHEDULER_AUTH__ALGORITHM": "RS256", "SCHEDULER_AUTH__JWKS_URL": "https://id.example.org/keys"}
    result = create(data_dir=tmp_path / "new", environ=environ)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "only your identity provider makes tokens" in result.stderr
    assert not (tmp_path / "new").exists()
