"""``scheduler db backup``: the whole database as one SQLite file, while the service may be running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scheduler.config import Config, database_dsn, database_name, database_path
from scheduler.domain.clock import SystemClock
from scheduler.ops import files
from scheduler.ops.copy import at, require_schema
from scheduler.ops.data_dir import record_backup
from scheduler.ops.open_database import connect, open_database, sentences
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.store.copy import copy_tables, count_rows
from scheduler.store.sqlite.file import SqliteFile, back_up, require_sound


@dataclass(frozen=True, kw_only=True)
class Written:
    """A finished backup."""

    path: Path
    size: int
    """Bytes."""
    rows: Mapping[str, int]
    """By table."""


async def write_backup(config: Config, path: Path, *, force: bool) -> Written:
    """Write the whole database to the SQLite file ``path``, while the service may be running.

    The file appears complete and checked, or not at all. Raises ``StartError``.
    """
    _require_free_path(config, path, force=force)
    with _draft_of(path) as draft:
        if database_dsn(config) is None:
            with sentences(config):
                await back_up(database_path(config), draft)
        else:
            await _back_up_shared(config, draft)
        rows = await _counted(draft, config)
        size = draft.stat().st_size
        publish = files.replace if force else files.publish
        publish(draft, path)
    with suppress(OSError):  # the backup is complete even if the data directory cannot be written to
        record_backup(config, path.name, SystemClock().now())
    return Written(path=path, size=size, rows=rows)


def _require_free_path(config: Config, path: Path, *, force: bool) -> None:
    """Raises ``StartError`` when a backup cannot or should not be written to ``path``."""
    problem = None
    if path.is_dir():
        problem = "is a directory: name a file in it"
    elif not path.parent.is_dir():
        problem = f"cannot be written: there is no directory {path.parent}"
    elif database_dsn(config) is None and path.resolve() == database_path(config).resolve():
        problem = "is the database itself: name another file"
    elif path.exists() and not force:
        problem = "exists already: name another file, or replace it with --force"
    if problem:
        raise StartError(f"{path} {problem}", exit_code=ExitCode.NOT_PERMITTED)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A draft of ``path``; removed afterwards with the files that SQLite puts beside it. Raises ``StartError``."""
    try:
        with files.draft_of(path) as draft:
            try:
                yield draft
            finally:
                for suffix in ("-wal", "-shm", "-journal", ".lock"):
                    draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"{path} cannot be written ({error.strerror})", exit_code=ExitCode.NOT_PERMITTED) from None


async def _back_up_shared(config: Config, draft: Path) -> None:
    """Write one consistent view of a PostgreSQL database to the SQLite file ``draft``."""
    file_config = at(config, f"sqlite:///{draft}")
    with sentences(config):
        source = await connect(config)
        try:
            async with source.snapshot() as snapshot:
                await require_schema(snapshot, database_name(config))
                target = await open_database(file_config, SystemClock())
                try:
                    await copy_tables(snapshot, target, lambda _: None)
                finally:
                    await target.close()
        finally:
            await source.close()
        require_sound(draft)


async def _counted(draft: Path, config: Config) -> dict[str, int]:
    with sentences(config), SqliteFile(draft) as file:
        return await count_rows(file)
