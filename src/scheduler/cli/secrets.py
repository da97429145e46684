"""``scheduler secrets``: changes the sealing key, without a running service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli import Failure
from scheduler.cli.config import config_option, data_dir_option, read_config
from scheduler.config import Config
from scheduler.config.checks import decode_sealing_key
from scheduler.ops.start_error import ExitCode, StartError

if TYPE_CHECKING:
    from scheduler.ops.rotate_key import Rotation


@click.group()
def secrets() -> None:
    """Change the sealing key, which stored secrets are encrypted with."""


@secrets.command("rotate-key")
@click.option(
    "--new-key",
    "new_key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with the new sealing key, base64 of 32 bytes; needed if the configuration sets secret_key.",
)
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with key_id, resealed, resumed and traces.")
def rotate_key(*, new_key_file: Path | None, data_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Encrypt header values and signing secrets with a new sealing key.

    The service must be stopped. The new key replaces the old one in secret.key. The command may be interrupted at any
    point: the service can still start, and running the command again finishes the rotation.
    """
    config = read_config(config_file, {"data_dir": data_dir})
    new_key = _new_key(config, new_key_file)

    from scheduler.ops import rotate_key

    work = (
        rotate_key.rotate_sealing_key(config)
        if new_key is None
        else rotate_key.rotate_configured_sealing_key(config, new_key)
    )
    try:
        _report(asyncio.run(work), config, as_json=as_json)
    except StartError as error:
        raise Failure(str(error), exit_code=error.exit_code) from None


def _new_key(config: Config, file: Path | None) -> bytes | None:
    """The key in ``file``; ``None`` where ``secret.key`` has the sealing key and gets a random one."""
    if config.secret_key is None:
        if file is not None:
            raise click.UsageError("--new-key is for a key that the configuration sets; secret.key gets a random one")
        return None
    if file is None:
        raise Failure(
            "the sealing key is set by SCHEDULER_SECRET_KEY or SCHEDULER_SECRET_KEY_FILE, which this command cannot "
            "change: write a new key to a file (openssl rand -base64 32 > FILE), run this again with "
            "--new-key FILE, and configure that key before the next start",
            exit_code=ExitCode.CONFIGURATION,
        )
    try:
        return decode_sealing_key(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "must be base64 of exactly 32 bytes"
        raise Failure(f"{file}: {reason}", exit_code=ExitCode.CONFIGURATION) from None


def _report(rotation: Rotation, config: Config, *, as_json: bool) -> None:
    if as_json:
        fields = ("key_id", "resealed", "resumed", "traces")
        click.echo(json.dumps({name: getattr(rotation, name) for name in fields}))
    else:
        done = "finished the rotation that was begun before" if rotation.resumed else "rotated"
        click.echo(f"{done}: {rotation.resealed} values sealed anew, the key is {rotation.key_id}")
    if rotation.traces:
        click.echo(f"values sealed with the old key may remain in unused pages: {rotation.traces}", err=True)
    if config.secret_key is not None:
        click.echo("configure the new key before the next start: the old one is refused from now on", err=True)
    else:
        click.echo("copy secret.key to your backups; keep the old one with the backups made before", err=True)
