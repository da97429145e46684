"""Another key for the secrets at rest, while the service is stopped.

It may be killed at any moment, because every moment leaves a key file that opens everything in the database: the file
gets the new key in front of the old one, then the secrets are sealed anew in one transaction, and then the old key
leaves the file. A start in between works with both; running it again goes on where it stopped.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.ops.data_dir import read_secret_keys, secret_key_path, write_secret_keys
from scheduler.ops.open_database import demand_key, open_database
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.store.database import Database, DatabaseInUseError
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.sealing import reseal
from scheduler.store.vault import Vault, WrongKeyError


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What a rotation came to."""

    key_id: str
    """Of the key that everything is sealed with now."""
    resealed: int
    """Values that had another key before."""
    resumed: bool
    """It finished what an earlier one had begun, and made no key of its own."""
    traces: str | None
    """Why replaced values may still be found in unused parts of the database file; ``None`` when they cannot."""


async def rotate_key_file(config: Config) -> Rotation:
    """Put a new key into ``secret.key`` and seal every secret with it. Raises ``StartError``."""
    async with _alone(config) as db:
        keys = _keys_of_file(config)
        await demand_key(db, Vault(*keys), config)
        resumed = len(keys) > 1
        if not resumed:
            keys = [secrets.token_bytes(32), *keys]
            write_secret_keys(config, keys)
        rotation = await _seal_anew(db, keys, resumed=resumed)
        write_secret_keys(config, keys[:1])
        return rotation


async def rotate_configured_key(config: Config, new_key: bytes) -> Rotation:
    """Seal every secret with ``new_key``, which takes the place of the configured one. Raises ``StartError``."""
    async with _alone(config) as db:
        keys = [new_key, *read_secret_keys(config)]
        await demand_key(db, Vault(*keys), config)
        return await _seal_anew(db, keys, resumed=False)


@asynccontextmanager
async def _alone(config: Config) -> AsyncIterator[Database]:
    """The database, for as long as the context is open this process's alone."""
    name = database_name(config)
    if database_dsn(config) is None and not database_path(config).exists():
        raise StartError(f"there is no database {name}: nothing is sealed yet", exit_code=ExitCode.CONFIGURATION)
    running = StartError(
        f"the service is running on {name}: stop it, rotate the key, start it again", exit_code=ExitCode.NOT_PERMITTED
    )
    try:
        db = await open_database(config, SystemClock())
    except StartError as error:
        if not isinstance(error.__cause__, DatabaseInUseError):
            raise
        raise running from None
    try:
        if db.is_shared and await NodeStore(db).alive():
            raise running
        yield db
    finally:
        await db.close()


def _keys_of_file(config: Config) -> list[bytes]:
    path = secret_key_path(config)
    if not path.exists():
        raise StartError(
            f"there is no {path}: put back the one that belongs to {database_name(config)}",
            exit_code=ExitCode.CONFIGURATION,
        )
    return read_secret_keys(config)


async def _seal_anew(db: Database, keys: list[bytes], *, resumed: bool) -> Rotation:
    vault = Vault(*keys)
    try:
        resealed = await reseal(db, vault)
    except WrongKeyError as error:
        raise StartError(
            f"nothing was sealed anew, both keys are kept: {error}", exit_code=ExitCode.CONFIGURATION
        ) from None
    except SchedulerError as error:
        raise StartError(
            f"nothing was sealed anew, both keys are kept: {error.message}", exit_code=ExitCode.FAILURE
        ) from None
    return Rotation(key_id=vault.key_id, resealed=resealed, resumed=resumed, traces=await _compact(db))


async def _compact(db: Database) -> str | None:
    """What the old key can open is not left behind in unused pages; a full disk is no reason to fail, though."""
    try:
        await db.compact()
    except SchedulerError as error:
        return error.message
    return None
