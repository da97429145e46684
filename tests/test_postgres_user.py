"""The first start of the tests' Postgres as root, on a machine that does not have the user of the server."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.postgres import SERVER_USER, make_server_user

_PROCESSES = 8

_ROOT = Path(__file__).parents[1]

_IN_A_COPY_OF_ETC = f"""
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
userdel {SERVER_USER} 2>/dev/null || true
exec "$2" -m tests.test_postgres_user
"""


def _can_change_mounts() -> bool:
    command = ["unshare", "--mount", "mount", "--bind", "/etc", "/etc"]
    try:
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _can_change_mounts(), reason="root with the right to mount is needed, to give /etc a copy")
def test_processes_that_start_at_the_same_moment_see_one_user_of_the_server(tmp_path: Path) -> None:
    """On a copy of ``/etc`` in a mount namespace: whoever else runs tests on this machine keeps that user."""
    command = ["unshare", "--mount", "sh", "-c", _IN_A_COPY_OF_ETC, "sh", str(tmp_path), sys.executable]
    inside = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert inside.returncode == 0, inside.stderr
    user_ids = inside.stdout.split()
    assert len(user_ids) == _PROCESSES
    assert len(set(user_ids)) == 1


def _make_at_once(barrier: Barrier) -> None:
    barrier.wait()
    make_server_user()
    sys.stdout.write(f"{pwd.getpwnam(SERVER_USER).pw_uid}\n")  # in one piece: several processes write here


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(_PROCESSES)
    processes = [context.Process(target=_make_at_once, args=(barrier,)) for _ in range(_PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(process.exitcode or 0 for process in processes))
