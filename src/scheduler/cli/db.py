"""``scheduler db``: backs up, copies, upgrades and inspects the database."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scheduler.cli import Failure
from scheduler.cli.config import DATABASE_URL_HELP, config_option, data_dir_option, read_config
from scheduler.config.checks import problem_with_database_url, shown_url
from scheduler.domain.clock import format_instant
from scheduler.ops.start_error import ExitCode, StartError

if TYPE_CHECKING:
    from scheduler.ops.status import State

T = TypeVar("T")

database_url_option = click.option("--database-url", metavar="URL", help=DATABASE_URL_HELP)


@click.group()
def db() -> None:
    """Back up, copy, upgrade and inspect the database."""


@db.command()
@click.option(
    "--to", "target", type=click.Path(path_type=Path), metavar="FILE", required=True, help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@database_url_option
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with path, size and rows.")
def backup(
    *,
    target: Path,
    force: bool,
    database_url: str | None,
    data_dir: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Write the whole database to an SQLite file; the service may be running.

    FILE appears complete and checked, or not at all. To restore it, stop the service, move every file named
    scheduler.db* out of the data directory, and put FILE in place of scheduler.db; or copy it to another database
    with `scheduler db copy`.
    """
    config = read_config(config_file, {"data_dir": data_dir, "database.url": database_url})

    from scheduler.ops.backup import write_backup

    written = _run(write_backup(config, target.absolute(), force=force))
    if as_json:
        click.echo(json.dumps({**asdict(written), "path": str(written.path)}))
    else:
        jobs, executions = (written.rows.get(table, 0) for table in ("jobs", "executions"))
        click.echo(f"{written.path}: {written.size} bytes, {jobs} jobs, {executions} executions")
    click.echo("keep secret.key and jwt.secret with it: without them its secrets cannot be read", err=True)


@db.command()
@click.option("--from", "source", metavar="URL", required=True, help="The database to copy.")
@click.option("--to", "target", metavar="URL", required=True, help="The new database to copy it to.")
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with resumed, and rows and checksum by table.")
def copy(*, source: str, target: str, data_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Copy everything from one database to another, and compare the two.

    URL is sqlite:///RELATIVE, sqlite:////ABSOLUTE or postgresql://…; the service must be stopped. An interrupted copy
    continues where it stopped when the same command is run again.
    """
    config = read_config(config_file, {"data_dir": data_dir})
    for option, url in (("--from", source), ("--to", target)):
        if problem := problem_with_database_url(url):
            raise Failure(f"{option}: {problem}", exit_code=ExitCode.CONFIGURATION)

    from scheduler.ops.copy import copy_database

    with ExitStack() as stack:
        copied = _run(copy_database(config, source, target, lambda rows: _progress(stack, rows)))
    if as_json:
        click.echo(json.dumps(asdict(copied)))
    else:
        for table, one in copied.tables.items():
            click.echo(f"{table:<12} {one.rows:>10} rows  {one.checksum}")
    done = "finished an interrupted copy" if copied.resumed else "copied"
    click.echo(f"{done}: {shown_url(target)} has the same rows as {shown_url(source)}", err=True)
    click.echo("its secrets are encrypted with the same secret.key: use that data directory for it", err=True)


@db.command()
@database_url_option
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of the migrations that were applied.")
def migrate(*, database_url: str | None, data_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Upgrade the schema of the database.

    `scheduler serve` does the same when it starts.
    """
    config = read_config(config_file, {"data_dir": data_dir, "database.url": database_url})

    from scheduler.ops.status import bring_up_to_date

    applied = _run(bring_up_to_date(config))
    if as_json:
        click.echo(json.dumps(applied))
    else:
        click.echo("".join(f"applied {name}\n" for name in applied) or "nothing to do\n", nl=False)


@db.command()
@database_url_option
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with the same.")
def status(*, database_url: str | None, data_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Print version, schema, size and contents of the database.

    Reads only; the service may be running.
    """
    config = read_config(config_file, {"data_dir": data_dir, "database.url": database_url})

    from scheduler.ops.status import state_of

    state = _run(state_of(config))
    if as_json:
        backup_at = None if state.last_backup_at is None else format_instant(state.last_backup_at)
        click.echo(json.dumps({**asdict(state), "last_backup_at": backup_at}))
    else:
        for name, value in _lines(state):
            click.echo(f"{name:<12} {value}")


def _lines(state: State) -> list[tuple[str, str]]:
    pending = f", {len(state.pending)} migrations to apply (scheduler db migrate)" if state.pending else ""
    executions = ", ".join(f"{count} {status}" for status, count in state.executions.items()) or "none"
    return [
        ("database", f"{state.name} ({state.version})"),
        ("schema", f"{state.schema}{pending}"),
        ("size", f"{state.size} bytes"),
        ("in use by", f"{state.nodes} processes" if state.nodes != 1 else "1 process"),
        ("jobs", str(state.rows.get("jobs", 0))),
        ("executions", executions),
        ("last backup", "none" if state.last_backup_at is None else format_instant(state.last_backup_at)),
        *([("copy", f"unfinished, from {state.unfinished_copy}")] if state.unfinished_copy else []),
    ]


def _progress(stack: ExitStack, rows: int) -> Callable[[int], None]:
    """Shows a progress bar on a terminal and nothing elsewhere; returns what advances it by a number of rows."""
    if not sys.stderr.isatty():
        return lambda _: None
    bar = stack.enter_context(click.progressbar(length=rows, label="copying", file=sys.stderr))
    return bar.update


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(_until_stopped(work))
    except StartError as error:
        raise Failure(str(error), exit_code=error.exit_code) from None
    except asyncio.CancelledError:
        raise click.Abort from None


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """SIGTERM cancels the work, like Ctrl-C, so that it removes its drafts."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
