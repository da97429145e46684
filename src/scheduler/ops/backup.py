"""Backups: everything in the database as one SQLite file, while the service goes on."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import SystemClock
from scheduler.ops.copy import at, demand_schema
from scheduler.ops.data_dir import NOT_PERMITTED, StartError, record_backup
from scheduler.ops.open_database import connect, open_database, sentences
from scheduler.store.copy import copy_tables, count_rows
from scheduler.store.sqlite.file import SqliteFile, back_up, check

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A backup."""

    path: Path
    size: int
    """Bytes."""
    rows: Mapping[str, int]
    """By table."""


async def write_backup(config: Config, path: Path, *, force: bool) -> Written:
    """Write everything in the database to the SQLite file ``path``, while the service goes on.

    The file appears whole and checked, or not at all. Raises ``StartError``.
    """
    _demand_place(config, path, force=force)
    with _draft_of(path) as draft:
        if database_dsn(config) is None:
            with sentences(config):
                await back_up(database_path(config), draft)
        else:
            await _back_up_shared(config, draft)
        rows = await _counted(draft, config)
        size = _publish(draft, path, force=force)
    with suppress(OSError):  # the backup is there; that a data directory cannot be written to does not undo it
        record_backup(config, path.name, SystemClock().now())
    return Written(path=path, size=size, rows=rows)


def _demand_place(config: Config, path: Path, *, force: bool) -> None:
    """Raises ``StartError`` when a backup cannot or should not be written to ``path``."""
    wrong = None
    if path.is_dir():
        wrong = "is a directory: name a file in it"
    elif not path.parent.is_dir():
        wrong = f"cannot be written: there is no directory {path.parent}"
    elif database_dsn(config) is None and path.resolve() == database_path(config).resolve():
        wrong = "is the database itself: name another file"
    elif path.exists() and not force:
        wrong = "exists already: name another file, or replace it with --force"
    if wrong:
        raise StartError(f"{path} {wrong}", exit_code=NOT_PERMITTED)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that nobody else may read; gone afterwards, with all that SQLite put beside it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield draft
        finally:
            for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
                draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"{path} cannot be written ({error.strerror})", exit_code=NOT_PERMITTED) from None


async def _back_up_shared(config: Config, draft: Path) -> None:
    """What one moment of the server holds, as a SQLite file."""
    file_config = at(config, f"sqlite:///{draft}")
    with sentences(config):
        source = await connect(config)
        try:
            async with source.snapshot() as snapshot:
                await demand_schema(snapshot, database_name(config))
                target = await open_database(file_config, SystemClock())
                try:
                    await copy_tables(snapshot, target, lambda _: None)
                finally:
                    await target.close()
        finally:
            await source.close()
        check(draft)


async def _counted(draft: Path, config: Config) -> dict[str, int]:
    with sentences(config), SqliteFile(draft) as file:
        return await count_rows(file)


def _publish(draft: Path, path: Path, *, force: bool) -> int:
    """Give the draft its name once it is on disk; returns its size in bytes."""
    _sync(draft)
    size = draft.stat().st_size
    if force or not _linked(draft, path):
        draft.replace(path)
    _sync(path.parent)
    return size


def _linked(draft: Path, path: Path) -> bool:
    """Give the draft its name, if its file system can: unlike a rename, that replaces nothing which came meanwhile."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
