"""Commands that read work on a read-only file system, whatever a service left there."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.cli.test_bad_starts import mounts_are_permitted
from tests.cli.test_db import fill
from tests.cli.test_serve import command, environment

pytestmark = pytest.mark.skipif(not mounts_are_permitted(), reason="only root may mount a file system")

Left = Callable[[Path], AbstractContextManager[None]]
SCRIPT = 'mount --bind "$DIRECTORY" "$DIRECTORY" && mount -o remount,ro,bind "$DIRECTORY" && exec "$@"'
ADD = "INSERT INTO accounts (id, name, created_at, updated_at) VALUES ('in the log', 'one', 0, 0)"


@contextmanager
def stopped(path: Path) -> Iterator[None]:
    """As a stop leaves it: no log."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(ADD)
    yield


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """As another process that has it open sees it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute(ADD)
        yield


@contextmanager
def killed(path: Path, *, without: str = "") -> Iterator[None]:
    """As a kill leaves it: the last commits are in the log only."""
    kept = path.with_name("kept")
    kept.mkdir()
    with in_use(path):
        for part in path.parent.glob("scheduler.db*"):
            shutil.copyfile(part, kept / part.name)
    for part in kept.iterdir():
        if part.name.endswith(without or "-none"):
            continue
        shutil.copyfile(part, path.with_name(part.name))
    shutil.rmtree(kept)
    yield


@contextmanager
def killed_and_copied(path: Path) -> Iterator[None]:
    """As a copy of the two files that count."""
    with killed(path, without="-shm"):
        yield


def read_only(directory: Path, *arguments: str) -> str:
    """What a command prints that sees this directory read-only."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", *command(*arguments)],
        capture_output=True,
        text=True,
        env=environment(DIRECTORY=str(directory)),
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return done.stdout


@pytest.mark.parametrize("left", [stopped, in_use, killed, killed_and_copied])
async def test_reading_commands_work_on_a_read_only_file_system(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, left: Left
) -> None:
    elsewhere, database = tmp_path_factory.mktemp("elsewhere"), tmp_path / "scheduler.db"
    await fill(database)
    with left(database):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
        state = json.loads(read_only(tmp_path, "db", "status", "--data-dir", str(tmp_path), "--json"))
        assert state["rows"]["accounts"] == 2
        backup = elsewhere / "backup.db"
        read_only(tmp_path, "db", "backup", "--to", str(backup), "--data-dir", str(tmp_path))
        copy = elsewhere / "copy.db"
        urls = [f"sqlite:///{path}" for path in (database, copy)]
        read_only(tmp_path, "db", "copy", "--from", urls[0], "--to", urls[1], "--data-dir", str(elsewhere))
        for written in (backup, copy):
            with closing(sqlite3.connect(written)) as connection:
                assert connection.execute("SELECT COUNT(*) FROM accounts").fetchone() == (2,)
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
        assert after == before
