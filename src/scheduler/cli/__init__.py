"""The command line: one module for each command, ``scheduler.cli.<command>``. May import every other package.

Data goes to standard output, everything else to standard error. Only the command that runs is imported, so ``--help``
and completion are fast. The commands are ``serve`` (with ``banner``, what it prints once it listens), ``token``,
``secrets``, ``db``, ``cron``, ``config``, ``healthcheck`` and ``openapi``.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from scheduler import __version__
from scheduler.ops.start_error import ExitCode

_COMMANDS = {
    "serve": "Run the service.",
    "token": "Create tokens, without a running service.",
    "secrets": "Change the sealing key, which stored secrets are encrypted with.",
    "db": "Back up, copy, upgrade and inspect the database.",
    "cron": "Show what a schedule means and when it runs.",
    "config": "Check the configuration, show it, or print an example.",
    "healthcheck": "Check whether a running service is ready.",
    "openapi": "Print the OpenAPI document.",
}


class Failure(click.ClickException):
    """Ends a command: its text goes to standard error as it is, line by line."""

    def __init__(self, message: str, *, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), file=file or sys.stderr)


class _LazyGroup(click.Group):
    """Commands by name; the module ``scheduler.cli.<name>`` holds the command ``<name>``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"scheduler.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage, 3 wrong configuration, 4 not permitted.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def _scheduler() -> None:
    """Run webhooks on schedule, with retries and a record of every delivery."""


def main() -> None:
    """The entry point of ``scheduler`` and ``python -m scheduler``."""
    _open_standard_streams()
    try:
        _scheduler(prog_name="scheduler", color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError:
        # the reader of a pipe has closed it (``scheduler openapi | head``): avoids a trace when the interpreter exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _open_standard_streams() -> None:
    """Open those of the three standard descriptors that are closed, or a socket would get one of them.

    libuv ends the process when it is to close such a socket.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
