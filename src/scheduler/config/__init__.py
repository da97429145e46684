"""The configuration: frozen records with their defaults, read from a TOML file, the environment and flags.

Begin with ``load_config``. The annotation of a field has the meaning and the accepted values of a setting;
``config.example.toml``, the checks and the messages are generated from it. Imports ``domain``.

``settings``        what a setting is, and whether a value is one that it takes
``sources``         reading TOML, environment and flags
``checks``          which texts are an address, a database URL, a sealing key, a network
``auth``            which tokens are accepted; with ``jwt_algorithms`` and ``public_key``
``limits``, ``retention``  upper bounds for one account or host; how long executions are kept
``network``         where the service listens, and what webhooks may reach
``log``             what is logged
``live``            what of a configuration that is read again takes effect without a restart
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from scheduler.config.auth import AuthConfig, auth_problems
from scheduler.config.checks import (
    postgres_dsn,
    problem_with_database_url,
    problem_with_metrics_token,
    problem_with_secret_key,
    shown_url,
    sqlite_path,
)
from scheduler.config.limits import LimitsConfig
from scheduler.config.log import LogConfig
from scheduler.config.network import EgressConfig, ServerConfig
from scheduler.config.retention import RetentionConfig
from scheduler.config.settings import PlacedSetting, Setting
from scheduler.config.sources import Problem, Reading, read_environment, read_file, read_flags

_FLAGS = {
    "data_dir": "--data-dir",
    "dev": "--dev",
    "server.host": "--host",
    "server.port": "--port",
    "database.url": "--database-url",
}


class ConfigError(Exception):
    """Raised with every problem of a configuration, one line for each."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration with the origin of each setting that has one; the others have their default."""

    config: Config
    origins: Mapping[str, str]


def load_config(*, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """The configuration: a flag before a variable before the file before the default.

    ``path`` is the TOML file, ``None``: the one that ``SCHEDULER_CONFIG`` names, if any. ``flags`` maps the path of a
    setting (``server.port``) to its value or, not given, ``None``. Raises ``ConfigError`` with every problem of all
    sources.
    """
    return resolve_config(path=path, environ=environ, flags=flags).config


def resolve_config(*, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Resolved:
    """``load_config``, and the origin of each value."""
    if path is None and environ.get("SCHEDULER_CONFIG"):
        path = Path(environ["SCHEDULER_CONFIG"])
    given = {path: value for path, value in flags.items() if value is not None}
    file = Reading() if path is None else read_file(path, SETTINGS)
    environment = read_environment(environ, SETTINGS, skip=given)
    flagged = read_flags(given, SETTINGS, _FLAGS)
    found = file.found | environment.found | flagged.found
    problems = [*file.problems, *environment.problems, *flagged.problems]
    problems += auth_problems(found, file.refused | environment.refused)
    if problems:
        raise ConfigError(problems)
    values = {name: one.value for name, one in found.items()}
    return Resolved(config=_build(values), origins={name: one.origin for name, one in found.items()})


def _build(values: Mapping[str, Any]) -> Config:
    chosen: dict[str, Any] = {}
    for part in fields(Config):
        if is_dataclass(part.default) and not isinstance(part.default, type):
            inner = {
                name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{part.name}.")
            }
            chosen[part.name] = type(part.default)(**inner)
        elif part.name in values:
            chosen[part.name] = values[part.name]
    return Config(**chosen)


def database_dsn(config: Config) -> str | None:
    """The address of the PostgreSQL database, for its driver; ``None`` when SQLite is configured."""
    return postgres_dsn(config.database.url) if config.database.url else None


def database_path(config: Config) -> Path:
    """The file of the SQLite database; a relative one counts from the working directory.

    Raises ``ValueError`` when PostgreSQL is configured.
    """
    return sqlite_path(config.database.url) if config.database.url else config.data_dir / "scheduler.db"


def database_name(config: Config) -> str:
    """The name of the database for messages: its file, or its URL without the password."""
    return shown_url(config.database.url or "") if database_dsn(config) else str(database_path(config))


@dataclass(frozen=True, kw_only=True)
class DatabaseConfig:
    """Where jobs and executions are kept."""

    url: Annotated[
        str | None,
        Setting(
            "sqlite:///RELATIVE, sqlite:////ABSOLUTE or postgresql://USER:PASSWORD@HOST/DATABASE. "
            "Default: scheduler.db in data_dir.",
            check=problem_with_database_url,
            secret=True,
            aliases=("DATABASE_URL",),
            example="sqlite:////var/lib/scheduler/scheduler.db",
        ),
    ] = None
    durability: Annotated[
        str,
        Setting(
            "full: a commit survives a power cut; normal: only the death of the process.",
            choices=("full", "normal"),
        ),
    ] = "full"
    pool_size: Annotated[
        int, Setting("Connections of each node to PostgreSQL at most; SQLite has three.", low=2, high=1000)
    ] = 10


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Firing and delivering."""

    concurrency: Annotated[int, Setting("Webhooks in flight at most.", low=1, high=10_000)] = 64
    drain_s: Annotated[float, Setting("How long a stop waits for webhooks in flight, seconds.", low=0, high=3600)] = 20
    lease_s: Annotated[
        float,
        Setting(
            "How long a node on PostgreSQL keeps its executions without renewing its lease, seconds.", low=1, high=3600
        ),
    ] = 10
    tick_s: Annotated[
        float,
        Setting(
            "The longest pause between two looks for due jobs, seconds.",
            low=0.01,
            high=60,
            aliases=("SCHEDULER_TICK_INTERVAL",),
        ),
    ] = 1
    batch_size: Annotated[
        int,
        Setting("Due jobs fired in one transaction at most.", low=1, high=10_000, aliases=("SCHEDULER_BATCH_SIZE",)),
    ] = 500
    response_body_limit: Annotated[
        int, Setting("Bytes of a response body that are stored.", low=0, high=16_777_216)
    ] = 65_536


@dataclass(frozen=True, kw_only=True)
class MetricsConfig:
    """Who may read the metrics."""

    public: Annotated[
        bool,
        Setting(
            "Let anybody read the Prometheus text of /metrics, the totals of all accounts. Otherwise it needs "
            "metrics.token; with the token of a user or an API key it has the figures of their accounts."
        ),
    ] = False
    token: Annotated[
        str | None,
        Setting(
            "The bearer token with which scrapers read the Prometheus text of /metrics, 16 characters or more.",
            check=problem_with_metrics_token,
            secret=True,
            example="at least 16 random characters",
        ),
    ] = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that can be set."""

    data_dir: Annotated[
        Path,
        Setting(
            "Directory of scheduler.db, jwt.secret and secret.key, created at the first start. "
            "A relative path begins at the working directory of the process."
        ),
    ] = Path("scheduler-data")
    secret_key: Annotated[
        str | None,
        Setting(
            "The sealing key, which header values and signing secrets are encrypted with: 32 bytes in base64. "
            "Default: the file secret.key in data_dir, created at the first start.",
            check=problem_with_secret_key,
            secret=True,
            example="what `openssl rand -base64 32` prints",
        ),
    ] = field(default=None, repr=False)
    dev: Annotated[bool, Setting("Let webhooks reach loopback and private networks, for development.")] = False
    server: ServerConfig = ServerConfig()  # noqa: RUF009 - as frozen as the others
    database: DatabaseConfig = DatabaseConfig()
    engine: EngineConfig = EngineConfig()
    auth: AuthConfig = AuthConfig()  # noqa: RUF009 - as frozen as the others
    egress: EgressConfig = EgressConfig()  # noqa: RUF009 - as frozen as the others
    limits: LimitsConfig = LimitsConfig()  # noqa: RUF009 - as frozen as the others
    retention: RetentionConfig = RetentionConfig()  # noqa: RUF009 - as frozen as the others
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()  # noqa: RUF009 - as frozen as the others


def _settings_of(record: type, prefix: str = "") -> dict[str, PlacedSetting]:
    settings: dict[str, PlacedSetting] = {}
    hints = get_type_hints(record, include_extras=True)
    for part in fields(record):
        if is_dataclass(part.default):
            settings |= _settings_of(type(part.default), f"{part.name}.")
            continue
        annotation, setting = get_args(hints[part.name])
        kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
        path = prefix + part.name
        settings[path] = PlacedSetting(
            path=path,
            kind=tuple if annotation == tuple[str, ...] else kinds[0],
            optional=type(None) in get_args(annotation),
            default=part.default,
            **vars(setting),
        )
    return settings


SETTINGS: Mapping[str, PlacedSetting] = _settings_of(Config)
"""Every setting by its path, in the order of the records."""
