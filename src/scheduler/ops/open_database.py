"""Opens the configured database: brings its schema up to date and checks the sealing key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import Clock
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import Events
from scheduler.ops.data_dir import sealing_key_path
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.store.copy import unfinished
from scheduler.store.database import Database, DatabaseUnusableError
from scheduler.store.migrate import MigrationError, migrate
from scheduler.store.sealing import require_key
from scheduler.store.vault import Vault, WrongKeyError

_LEAST_IDLE_S = 2.0
"""The shortest limit on how long a transaction may wait for its client: firing many missed runs takes time."""


async def open_database(config: Config, clock: Clock, *, events: Events | None = None) -> Database:
    """The configured database, its schema up to date; it tells ``events`` of its commits.

    Raises ``StartError``; while another process has it, with a ``DatabaseInUseError`` as its cause.
    """
    db = await connect(config, events=events)
    try:
        with sentences(config):
            await migrate(db, clock.now())
            await _require_whole(db, config)
    except StartError:
        await db.close()
        raise
    return db


async def connect(config: Config, *, events: Events | None = None) -> Database:
    """The configured database as it is, whatever its schema. Raises ``StartError`` like ``open_database``."""
    with sentences(config):
        if (dsn := database_dsn(config)) is not None:
            # an optional dependency, needed for PostgreSQL only
            from scheduler.store.postgres.database import PostgresDatabase  # noqa: PLC0415

            idle_limit_s = max(_LEAST_IDLE_S, config.engine.lease_s / 2)
            return await PostgresDatabase.open(
                dsn,
                pool_size=config.database.pool_size,
                idle_limit_s=idle_limit_s,
                events=events,
            )
        from scheduler.store.sqlite.database import SqliteDatabase  # noqa: PLC0415

        path = database_path(config).resolve()  # resolved, so that links to one file share one lock
        return await SqliteDatabase.open(path, durability=config.database.durability, events=events)


@contextmanager
def sentences(config: Config) -> Iterator[None]:
    """Turns the errors of the configured database into ``StartError``, one sentence for the operator each."""
    try:
        yield
    except DatabaseUnusableError as error:
        raise StartError(str(error), exit_code=ExitCode.NOT_PERMITTED) from error
    except MigrationError as error:
        raise StartError(str(error), exit_code=ExitCode.CONFIGURATION) from None
    except SchedulerError as error:
        sentence = f"the database {database_name(config)} cannot be used: {error.message}"
        raise StartError(sentence, exit_code=ExitCode.NOT_PERMITTED) from None
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        sentence = "PostgreSQL needs its driver: pip install 'scheduler[postgres]'"
        raise StartError(sentence, exit_code=ExitCode.CONFIGURATION) from None


async def _require_whole(db: Database, config: Config) -> None:
    if source := await unfinished(db):
        part = f"{database_name(config)} has only a part of {source}"
        raise StartError(
            f"{part}: run that `scheduler db copy` again, it goes on where it stopped", exit_code=ExitCode.CONFIGURATION
        )


async def require_sealing_key(db: Database, vault: Vault, config: Config) -> None:
    """Raises ``StartError`` when the secrets in ``db`` are not sealed with a key of ``vault``."""
    try:
        await require_key(db, vault)
    except WrongKeyError as error:
        given = "the configured secret_key" if config.secret_key else str(sealing_key_path(config))
        raise StartError(
            f"{given} is not the key of the secrets in {database_name(config)}: {error}",
            exit_code=ExitCode.CONFIGURATION,
        ) from None
