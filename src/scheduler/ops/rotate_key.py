"""``scheduler secrets rotate-key``: seals every secret in the database with another key, while the service is stopped.

It may be killed at any moment, because the key file always opens every secret in the database: first the new sealing
key is written before the old one, then all secrets are sealed anew in one transaction, then the old key is removed. A
service that starts in between uses both keys; the same command finishes what was begun.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import SystemClock
from scheduler.domain.errors import SchedulerError
from scheduler.ops.data_dir import read_sealing_keys, sealing_key_path, write_sealing_keys
from scheduler.ops.open_database import open_database, require_sealing_key
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.store.database import Database, DatabaseInUseError
from scheduler.store.queue.nodes import NodeStore
from scheduler.store.sealing import reseal
from scheduler.store.vault import Vault, WrongKeyError


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The result of a rotation."""

    key_id: str
    """Of the sealing key in force."""
    resealed: int
    """Values that another key had sealed before."""
    resumed: bool
    """It finished an interrupted rotation, and made no key of its own."""
    traces: str | None
    """Why values sealed with the old key may remain in unused pages of the database file; ``None`` when none remain."""


async def rotate_sealing_key(config: Config) -> Rotation:
    """Put a new sealing key into ``secret.key`` and seal every secret with it. Raises ``StartError``."""
    async with _unused_database(config) as db:
        keys = _sealing_keys_of_file(config)
        await require_sealing_key(db, Vault(*keys), config)
        resumed = len(keys) > 1
        if not resumed:
            keys = [secrets.token_bytes(32), *keys]
            write_sealing_keys(config, keys)
        rotation = await _seal_anew(db, keys, resumed=resumed)
        write_sealing_keys(config, keys[:1])
        return rotation


async def rotate_configured_sealing_key(config: Config, new_key: bytes) -> Rotation:
    """Seal every secret with ``new_key``, which replaces the configured key. Raises ``StartError``."""
    async with _unused_database(config) as db:
        keys = [new_key, *read_sealing_keys(config)]
        await require_sealing_key(db, Vault(*keys), config)
        return await _seal_anew(db, keys, resumed=False)


@asynccontextmanager
async def _unused_database(config: Config) -> AsyncIterator[Database]:
    """The database, which no service uses while the context is open. Raises ``StartError``.

    The lock of an SQLite file keeps services out; on PostgreSQL running nodes are looked for once, at the beginning.
    """
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


def _sealing_keys_of_file(config: Config) -> list[bytes]:
    path = sealing_key_path(config)
    if not path.exists():
        raise StartError(
            f"there is no {path}: put back the one that belongs to {database_name(config)}",
            exit_code=ExitCode.CONFIGURATION,
        )
    return read_sealing_keys(config)


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
    """Remove values sealed with the old key from unused pages; returns why they may remain, on a full disk say."""
    try:
        await db.compact()
    except SchedulerError as error:
        return error.message
    return None
