"""``scheduler config``: checks the configuration, shows it with its origins, prints an example.

Also the options of all commands that read the configuration.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from scheduler.cli import Failure
from scheduler.config import SETTINGS, Config, ConfigError, Resolved, resolve_config
from scheduler.config.settings import PlacedSetting, limits_text
from scheduler.ops.start_error import ExitCode

DATABASE_URL_HELP = "The database: sqlite:///RELATIVE, sqlite:////ABSOLUTE or postgresql://USER:PASSWORD@HOST/DATABASE."

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file (TOML); default: the one that SCHEDULER_CONFIG names, if any.",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of the database and the secrets; default: scheduler-data.",
)


def read_config(path: Path | None, flags: Mapping[str, object] | None = None) -> Config:
    """The configuration from file, environment and ``flags``. Ends the command when there is a problem."""
    return _resolve(path, flags or {}).config


def _resolve(path: Path | None, flags: Mapping[str, object]) -> Resolved:
    try:
        return resolve_config(path=path, environ=os.environ, flags=flags)
    except ConfigError as error:
        raise Failure(str(error), exit_code=ExitCode.CONFIGURATION) from None


@click.group
def config() -> None:
    """Check the configuration, show it, or print an example."""


@config.command
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of problems with origin, key and message.")
def check(config_file: Path | None, as_json: bool) -> None:
    """Check the configuration file and the environment.

    Prints one line for each problem, beginning with FILE:LINE or VARIABLE, and exits with 3 if there is one.
    """
    try:
        resolve_config(path=config_file, environ=os.environ, flags={})
    except ConfigError as error:
        problems = [
            {"origin": one.origin, "key": one.setting or None, "message": one.message} for one in error.problems
        ]
        click.echo(json.dumps(problems, indent=2) if as_json else str(error))
        raise SystemExit(ExitCode.CONFIGURATION) from None
    click.echo("[]") if as_json else click.echo("no problems", err=True)


@config.command
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with the value of each setting and zone_data.")
def show(config_file: Path | None, as_json: bool) -> None:
    """Print the value of every setting and where it comes from, and which time zone data are in force.

    The output is a configuration file, except that secrets are shown as ***.
    """
    from scheduler.domain.schedule.zones import zone_data

    resolved = _resolve(config_file, {})
    values = {path: _shown(setting, attrgetter(path)(resolved.config)) for path, setting in SETTINGS.items()}
    if as_json:
        click.echo(json.dumps({**values, "zone_data": zone_data().to_mapping()}, indent=2))
        return
    click.echo(f"# time zone data {zone_data()}")
    for line in _document(
        lambda setting: _with_origin(setting, values[setting.path], resolved.origins.get(setting.path, "default"))
    ):
        click.echo(line)


@config.command
def init() -> None:
    """Print a commented file with every setting and its default."""
    click.echo(example_toml(), nl=False)


def example_toml() -> str:
    """``config.example.toml``: every setting with its meaning, unit, range, variable and default."""
    return "\n".join([*_EXAMPLE_HEAD, *_document(_explained)]) + "\n"


_EXAMPLE_HEAD = (
    "# Every setting with its default. A file holds only what differs: scheduler serve --config FILE",
    "# A flag goes before a variable, a variable before the file. Lists in variables are comma-separated.",
)


def _document(lines_of: Callable[[PlacedSetting], Iterator[str]]) -> Iterator[str]:
    """The settings as a TOML document, in sections, each written by ``lines_of``."""
    section = ""
    for path, setting in SETTINGS.items():
        here = path.rpartition(".")[0]
        if here != section:
            section = here
            yield from ("", f"[{section}]")
        yield from lines_of(setting)


def _explained(setting: PlacedSetting) -> Iterator[str]:
    limits = limits_text(setting)
    yield ""
    yield from textwrap.wrap(setting.meaning, 100, initial_indent="# ", subsequent_indent="# ")
    variables = [setting.variable, *([f"{setting.variable}_FILE"] if setting.secret else []), *setting.aliases]
    yield f"# {f'{limits}. ' if limits else ''}{', '.join(variables)}"
    if setting.live:
        yield "# Takes effect on SIGHUP as well."
    if setting.example:
        yield f"# {setting.name} = {_toml(setting.example)}"
    if setting.default is not None:
        yield f"{setting.name} = {_toml(setting.default)}"


def _with_origin(setting: PlacedSetting, value: Any, origin: str) -> Iterator[str]:
    yield f"# {setting.name} is not set" if value is None else f"{setting.name} = {_toml(value)}  # {origin}"


def _shown(setting: PlacedSetting, value: Any) -> Any:
    if setting.secret and value is not None:
        return "***"
    return str(value) if isinstance(value, Path) else value


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # a JSON string is a TOML string as well, once it is ASCII
    return json.dumps(str(value))
