"""``scheduler token``: creates tokens signed with the secret of the installation, without a running service."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import click

from scheduler.cli import Failure
from scheduler.cli.config import config_option, data_dir_option, read_config
from scheduler.config.auth import AuthConfig
from scheduler.config.jwt_algorithms import SHORTEST_SECRET
from scheduler.domain.clock import SECOND, Instant, SystemClock, format_instant
from scheduler.ops.data_dir import read_jwt_secret
from scheduler.ops.start_error import ExitCode, StartError

_DAY_S = 86_400
DEFAULT_DAYS = 30


@click.group
def token() -> None:
    """Create tokens, without a running service."""


@token.command
@click.option("--user", default="admin", show_default=True, metavar="NAME", help="The user: claim sub.")
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    metavar="N",
    help=f"How long it is valid; default: {DEFAULT_DAYS}, or auth.max_token_age_s when that is shorter.",
)
@click.option("--audience", metavar="TEXT", help="Claim aud; default: auth.audience of the configuration.")
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with token, user and expires_at.")
def create(
    *, user: str, days: int | None, audience: str | None, data_dir: Path | None, config_file: Path | None, as_json: bool
) -> None:
    """Print a new token, and nothing else.

    It is signed with jwt.secret in the data directory, which is created if it does not exist. If tokens are verified
    with a public key (auth.algorithm), only the identity provider can sign them.
    """
    if not user.strip():
        raise click.UsageError("--user must not be empty")
    configuration = read_config(config_file, {"data_dir": data_dir})
    auth = configuration.auth
    if auth.algorithm not in SHORTEST_SECRET:
        raise Failure(
            f"with auth.algorithm {auth.algorithm} only your identity provider makes tokens; "
            "for a machine create an API key: POST /api/keys",
            exit_code=ExitCode.CONFIGURATION,
        )
    if days is not None and days * _DAY_S > auth.max_token_age_s:
        raise Failure(
            f"--days {days} is longer than auth.max_token_age_s allows, {auth.max_token_age_s:.0f} s",
            exit_code=ExitCode.USAGE,
        )
    made: list[str] = []
    try:
        secret = read_jwt_secret(configuration, made)
    except StartError as error:
        raise Failure(str(error), exit_code=error.exit_code) from None
    for name in made:
        click.echo(
            f"made {configuration.data_dir / name}: only a service with this data directory accepts the token", err=True
        )
    now = SystemClock().now()
    life_s = token_life_s(auth, days or DEFAULT_DAYS)
    text = issue_token(secret, auth, user=user, now=now, life_s=life_s, audience=audience)
    if as_json:
        expires_at = (now // SECOND + life_s) * SECOND
        text = json.dumps({"token": text, "user": user, "expires_at": format_instant(expires_at)})
    click.echo(text)


def token_life_s(auth: AuthConfig, days: int = DEFAULT_DAYS) -> int:
    """How long a token of ``days`` is valid, whole seconds, never longer than the service accepts."""
    return int(min(days * _DAY_S, auth.max_token_age_s))


def issue_token(
    secret: bytes, auth: AuthConfig, *, user: str, now: Instant, life_s: int, audience: str | None = None
) -> str:
    """A JWT with ``sub``, ``iat``, ``exp``, ``jti``, and with ``iss`` and ``aud`` where they are configured."""
    import jwt

    issued = now // SECOND
    claims: dict[str, Any] = {"sub": user, "iat": issued, "exp": issued + life_s, "jti": str(uuid.uuid4())}
    if auth.issuer:
        claims["iss"] = auth.issuer
    if audience or auth.audience:
        claims["aud"] = audience or auth.audience
    return jwt.encode(claims, secret, algorithm=auth.algorithm)
