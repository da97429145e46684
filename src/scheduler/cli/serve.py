"""``scheduler serve``: reads the configuration, opens the data directory and runs the service.

Each of them ends the command with one sentence when it fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from scheduler.cli import Failure
from scheduler.cli.banner import Started, banner, log_start, reachable_url
from scheduler.cli.config import DATABASE_URL_HELP, config_option, data_dir_option, read_config
from scheduler.cli.token import issue_token, token_life_s
from scheduler.config import Config, ConfigError, database_dsn, database_name, database_path, load_config
from scheduler.config.sources import Problem
from scheduler.domain.clock import SystemClock
from scheduler.ops.data_dir import DataDir, forget_address, open_data_dir, record_address
from scheduler.ops.start_error import StartError
from scheduler.ops.start_warnings import start_warnings

_USER = "admin"

log = logging.getLogger(__name__)


@click.command
@config_option
@click.option("--host", metavar="HOST", multiple=True, help="Address to listen on, repeatable; default: 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Port to listen on, 0 for any free one; default: 8000.",
)
@data_dir_option
@click.option("--database-url", metavar="URL", help=DATABASE_URL_HELP)
@click.option("--demo", is_flag=True, help="Add a receiver on loopback and three jobs, and print each delivery.")
@click.option("--dev", is_flag=True, help="Let webhooks reach loopback and private networks.")
def serve(
    *,
    config_file: Path | None,
    host: tuple[str, ...],
    port: int | None,
    data_dir: Path | None,
    database_url: str | None,
    demo: bool,
    dev: bool,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Nothing has to be prepared: the first start creates the data directory with the database and the secrets.
    """
    flags = {
        "server.host": host or None,
        "server.port": port,
        "data_dir": data_dir,
        "database.url": database_url,
        "dev": dev or None,
    }
    config = read_config(config_file, flags)

    def read_again() -> Config:
        file = config_file or Path(os.environ.get("SCHEDULER_CONFIG") or os.devnull)
        if file.is_fifo():  # waits for a writer, and is empty at its end
            raise ConfigError([Problem(origin=str(file), message="no regular file, which can be read again")])
        return load_config(path=config_file, environ=os.environ, flags=flags)

    try:
        raise SystemExit(_serve(config, demo=demo, read_config=read_again))
    except StartError as error:
        raise Failure(str(error), exit_code=error.exit_code) from None


def _serve(config: Config, *, demo: bool, read_config: Callable[[], Config]) -> int:
    opened = open_data_dir(config)
    path = database_path(config) if config.database.url is None else None
    made = () if path is None or path.exists() else (path.name,)

    from scheduler import app
    from scheduler.logs import LineWriter

    def on_ready(url: str, demo_url: str | None) -> None:
        record_address(config, url)
        _announce(_started(config, opened, url=url, demo_url=demo_url, created=made + opened.created))
        for warning in start_warnings(config, os.environ):
            log.warning(warning)

    report = LineWriter(sys.stdout).write if demo else None
    try:
        return _run(app.serve(config, opened, demo=demo, on_ready=on_ready, report=report, read_config=read_config))
    finally:
        forget_address(config)


def _started(config: Config, opened: DataDir, *, url: str, demo_url: str | None, created: tuple[str, ...]) -> Started:
    life_s, token = token_life_s(config.auth), None
    if opened.jwt_secret:
        token = issue_token(opened.jwt_secret, config.auth, user=_USER, now=SystemClock().now(), life_s=life_s)
    return Started(
        url=reachable_url(url, config.server.public_url),
        data_dir=str(opened.path),
        created=created,
        user=_USER,
        token=token,
        token_life_s=life_s,
        server=database_name(config) if database_dsn(config) else None,
        demo_url=demo_url,
        is_dev=config.dev,
    )


def _announce(started: Started) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(banner(started), err=True)
    else:
        log_start(started)


def _run(service: Coroutine[Any, Any, int]) -> int:
    """Run the service to its end on uvloop, or on the standard loop where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(service)
    return uvloop.run(service)
