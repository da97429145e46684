"""Starts that fail: one sentence that says what to do, exit code 3 or 4, and nothing changed."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.store.database import DatabaseUnusableError
from scheduler.store.sqlite import network_fs
from scheduler.store.sqlite.file import lock_file
from scheduler.store.sqlite.network_fs import file_system_of
from tests.cli.test_serve import command, ending, environment, serving, started_event
from tests.postgres import Server

Spoil = Callable[[Path], None]


def mounts_are_permitted() -> bool:
    """May this process mount file systems that it alone sees?"""
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    )


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but those that SQLite keeps beside a database while it looks at it."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def change(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / "scheduler.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def newer(directory: Path) -> None:
    change(directory, "INSERT INTO schema_migrations VALUES (9999, '9999_future.sql', 'x', 0)")


def edited(directory: Path) -> None:
    change(directory, "UPDATE schema_migrations SET checksum = 'x' WHERE version = 2")


def half_copied(directory: Path) -> None:
    change(directory, "INSERT INTO copies VALUES ('sqlite:///elsewhere.db', 0, NULL)")


def another_key(directory: Path) -> None:
    (directory / "secret.key").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")


def no_database(directory: Path) -> None:
    (directory / "scheduler.db").write_bytes(b"a shopping list\n" * 100)


def cut_off(directory: Path) -> None:
    change(directory, "PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(directory / "scheduler.db", 5000)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a first start leaves behind."""
    directory = tmp_path_factory.mktemp("installation")
    with serving("--data-dir", str(directory)) as process:
        started_event(process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    return contents(directory)


@pytest.fixture
def directory(installation: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in installation.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (newer, 3, "install the newer version"),
        (edited, 3, "released migrations are never edited"),
        (half_copied, 3, "run that `scheduler db copy` again"),
        (another_key, 3, "is not the key of the secrets"),
        (no_database, 4, "no SQLite database"),
        (cut_off, 4, "restore it from a backup"),
    ],
)
def test_a_database_that_does_not_fit_is_refused(directory: Path, spoil: Spoil, code: int, told: str) -> None:
    spoil(directory)
    before = contents(directory)
    found, out, err = ending("serve", "--port", "0", "--data-dir", str(directory))
    assert (found, out, err.count("\n")) == (code, "", 1), err
    assert told in err
    assert contents(directory) == before


def test_a_full_disk_is_one_sentence(directory: Path) -> None:
    before = contents(directory)

    def no_byte_more() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        command("serve", "--port", "0", "--data-dir", str(directory)),
        preexec_fn=no_byte_more,
        capture_output=True,
        text=True,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "the disk is full" in done.stderr
    assert contents(directory) == before


_FULL = """
mount -t tmpfs -o size=1m full "$ELSEWHERE" && cp -p "$DIRECTORY"/* "$ELSEWHERE"
cat /dev/zero > "$ELSEWHERE/filler" 2> "$DIRECTORY/told"; rm "$DIRECTORY/told"
"$@" --data-dir "$ELSEWHERE"; code=$?
cp -p "$ELSEWHERE"/*.key "$ELSEWHERE"/*.secret "$ELSEWHERE"/*.db "$DIRECTORY"; exit $code
"""
_READ_ONLY = """
mount --bind "$DIRECTORY" "$DIRECTORY" && mount -o remount,ro,bind "$DIRECTORY" && exec "$@" --data-dir "$DIRECTORY"
"""


@pytest.mark.skipif(not mounts_are_permitted(), reason="only root may mount a file system")
@pytest.mark.parametrize(
    ("script", "told"), [(_FULL, "the disk is full"), (_READ_ONLY, "make it with the right owner")], ids=["full", "ro"]
)
def test_a_file_system_that_takes_no_writes_is_one_sentence(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, script: str, told: str
) -> None:
    before = contents(directory)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command("serve", "--port", "0")],
        capture_output=True,
        text=True,
        env=environment(DIRECTORY=str(directory), ELSEWHERE=str(tmp_path_factory.mktemp("full"))),
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert told in done.stderr
    assert contents(directory) == before


@pytest.mark.parametrize("linked", [False, True], ids=["directly", "through a link"])
@pytest.mark.parametrize("signum", [signal.SIGCONT, signal.SIGSTOP], ids=["running", "frozen"])
def test_a_second_process_on_the_same_file_is_refused(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, linked: bool, signum: int
) -> None:
    link = tmp_path_factory.mktemp("link") / "scheduler.db"
    link.symlink_to(directory / "scheduler.db")
    path = link if linked else directory / "scheduler.db"
    with serving("--data-dir", str(directory)) as first:
        started_event(first.stderr)
        first.send_signal(signum)
        code, _, err = ending(
            "serve", "--port", "0", "--data-dir", str(directory), "--database-url", f"sqlite:///{path}"
        )
        assert (code, err.count("\n")) == (4, 1), err
        assert "in use by another scheduler process" in err
        first.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("postgresql://ann:secret@127.0.0.1:1/x", 4, "cannot be reached"),
        ("postgresql://ann:secret@host.invalid/x", 4, "cannot be reached"),
        ("postgresql://db/x?sslmode=perhaps", 4, "is no address of a database"),
    ],
)
def test_a_server_that_is_not_there_is_one_sentence(directory: Path, url: str, code: int, told: str) -> None:
    before = contents(directory)
    found, _, err = ending("serve", "--port", "0", "--data-dir", str(directory), "--database-url", url)
    assert (found, err.count("\n")) == (code, 1), err
    assert told in err and "secret@" not in err
    assert contents(directory) == before


def test_a_database_that_the_server_does_not_have_is_one_sentence(directory: Path, postgres_server: Server) -> None:
    url = postgres_server.url("nowhere")
    code, _, err = ending("serve", "--port", "0", "--data-dir", str(directory), "--database-url", url)
    assert (code, err.count("\n")) == (4, 1), err
    assert "create it" in err


_MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /srv rw shared:2 - nfs4 server:/srv rw,vers=4.2
31 30 254:1 / /srv/local\\040disk rw - xfs /dev/vdb rw
32 22 0:30 / /mnt rw - ext4 /dev/vdc rw
33 22 0:31 / /mnt rw - fuse.sshfs ann@host:/ rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/scheduler.db", "ext4"),
        ("/srv/scheduler.db", "nfs4"),
        ("/srv2/scheduler.db", "ext4"),
        ("/srv/local disk/scheduler.db", "xfs"),
        ("/mnt/a/b", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), _MOUNTS) == kind


def test_a_file_on_a_network_file_system_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = directory / "mountinfo"
    told.write_text(f"30 22 0:26 / {directory.resolve()} rw - nfs4 server:/srv rw\n")
    monkeypatch.setattr(network_fs, "MOUNTS", told)
    before = contents(directory)
    with pytest.raises(DatabaseUnusableError, match=r"network file system \(nfs4\).*local disk"):
        lock_file(directory / "scheduler.db")
    assert contents(directory) == before
