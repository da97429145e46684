"""``scheduler db``: backups beside a running service, copies that survive a kill, a restore that keeps identities."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scheduler.cli.db import db
from scheduler.config import Config, DatabaseConfig
from scheduler.domain.clock import SystemClock
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.ops.backup import write_backup
from scheduler.ops.data_dir import last_backup_at
from scheduler.ops.open_database import open_database
from scheduler.ops.start_error import StartError
from scheduler.ops.status import state_of
from scheduler.service import Service
from scheduler.store.ids import new_id
from scheduler.store.sqlite import file as sqlite_file
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.checks import present
from tests.cli.test_serve import ending, environment
from tests.conftest import SECRET_KEY, OpenService, Receiver, SetClock
from tests.factories import add_job, fire_and_deliver, make_job, rows_of, start_run


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


async def fill(path: Path, *, jobs: int = 1) -> None:
    db = await open_database(Config(database=DatabaseConfig(url=f"sqlite:///{path}")), SystemClock())
    stores = Stores.over(db, vault=Vault(SECRET_KEY), worker_id="fill:1:1")
    now = SetClock().now()
    account = await stores.accounts.personal(user="ann", now=now)
    await stores.jobs.insert([(make_job(account.id, now), []) for _ in range(jobs)])
    await db.close()


async def test_a_backup_beside_a_running_service_is_whole_and_ours_alone(
    service: Service, receiver: Receiver, clock: SetClock, config: Config, tmp_path: Path
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    await service.engine.firer.start_run(job.id, clock.now())
    target = tmp_path / "backups" / "scheduler.db"
    target.parent.mkdir()
    code, out, err = await asyncio.to_thread(
        ending, "db", "backup", "--to", str(target), "--data-dir", str(tmp_path), "--json"
    )
    assert (code, json.loads(out)["rows"]["executions"]) == (0, 1), err
    assert "secret.key" in err
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(target.parent) == {"scheduler.db"}
    sqlite_file.require_sound(target)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT status FROM executions").fetchall() == [("queued",)]
    assert last_backup_at(config) is not None
    code, out, _ = await asyncio.to_thread(ending, "db", "status", "--data-dir", str(tmp_path), "--json")
    told = json.loads(out)
    assert (code, told["nodes"], told["executions"]) == (0, 1, {"queued": 1})
    assert told["last_backup_at"] is not None and told["version"] == f"SQLite {sqlite3.sqlite_version}"


async def test_a_backup_replaces_nothing_unasked(tmp_path: Path) -> None:
    await fill(tmp_path / "scheduler.db")
    config = Config(data_dir=tmp_path)
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(StartError, match="--force"):
        await write_backup(config, target, force=False)
    assert target.read_text() == "precious"
    await write_backup(config, target, force=True)
    sqlite_file.require_sound(target)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("scheduler.db", "the database itself"),
        (".", "is a directory"),
        ("nowhere/backup.db", "there is no directory"),
        ("link.db", "the database itself"),
    ],
)
async def test_a_backup_to_an_impossible_place_is_one_sentence(name: str, told: str, tmp_path: Path) -> None:
    await fill(tmp_path / "scheduler.db")
    (tmp_path / "link.db").symlink_to("scheduler.db")
    before = names(tmp_path)
    with pytest.raises(StartError, match=told) as refusal:
        await write_backup(Config(data_dir=tmp_path), tmp_path / name, force=True)
    assert refusal.value.exit_code == 4
    assert names(tmp_path) == before


async def test_a_backup_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    await fill(tmp_path / "scheduler.db")
    before = names(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_768, limits[1]))
    try:
        with pytest.raises(StartError, match=r"backup.db cannot be written \(") as refusal:
            await write_backup(Config(data_dir=tmp_path), tmp_path / "backup.db", force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refusal.value.exit_code == 4
    assert names(tmp_path) == before


async def test_a_backup_of_a_damaged_database_is_none(tmp_path: Path) -> None:
    await fill(tmp_path / "scheduler.db")
    with closing(sqlite3.connect(tmp_path / "scheduler.db")) as connection, connection:
        connection.execute("UPDATE jobs SET account_id = 'nobody'")
    before = names(tmp_path)
    with pytest.raises(StartError, match="broken reference in jobs"):
        await write_backup(Config(data_dir=tmp_path), tmp_path / "backup.db", force=False)
    assert names(tmp_path) == before


async def test_a_backup_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    await fill(tmp_path / "scheduler.db")
    before = names(tmp_path)
    writing = asyncio.create_task(write_backup(Config(data_dir=tmp_path), tmp_path / "backup.db", force=False))
    await asyncio.sleep(0)
    assert len(names(tmp_path) - before) >= 1
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert names(tmp_path) == before


async def test_a_backup_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(tmp_path / "scheduler.db")

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    written = await write_backup(Config(data_dir=tmp_path), tmp_path / "backup.db", force=False)
    sqlite_file.require_sound(tmp_path / "backup.db")
    assert written.rows["jobs"] == 1


async def test_looking_at_a_database_leaves_a_killed_service_its_log(config: Config, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    db = await open_database(config, SystemClock())
    for name in ("scheduler.db", "scheduler.db-wal"):
        shutil.copyfile(tmp_path / name, killed / name)
    await db.close()
    before = {name: (killed / name).read_bytes() for name in names(killed)}
    assert before["scheduler.db-wal"]
    there = replace(config, data_dir=killed)
    state = await state_of(there)
    assert (state.pending, state.nodes) == ((), 0)
    await write_backup(there, tmp_path / "backup.db", force=False)
    assert {name: (killed / name).read_bytes() for name in before} == before


async def test_a_backup_of_postgres_is_a_file_that_can_be_restored(
    postgres_url: str, open_test_service: OpenService, config: Config, clock: SetClock, tmp_path: Path
) -> None:
    shared = replace(config, database=DatabaseConfig(url=postgres_url, pool_size=4))
    async with open_test_service(shared) as service:
        job = await add_job(service.stores, clock.now())
        (started,) = await start_run(service.stores, job, clock.now())
        written = await write_backup(shared, tmp_path / "backup.db", force=False)
    assert written.rows["executions"] == 1
    assert names(tmp_path) >= {"backup.db", "last-backup"}
    assert not any(name.startswith((".backup", "backup.db-")) for name in names(tmp_path))
    (tmp_path / "scheduler.db").write_bytes((tmp_path / "backup.db").read_bytes())
    async with open_test_service(config) as restored:
        assert [row.run_id for row in await rows_of(restored.stores, job)] == [started.run_id]


async def test_a_restore_catches_up_with_the_same_identities(
    open_test_service: OpenService, receiver: Receiver, clock: SetClock, config: Config, tmp_path: Path
) -> None:
    once = RetryPolicy(max_attempts=2, delays=(0,), jitter=0)
    async with open_test_service() as service:
        job = await add_job(service.stores, clock.now(), urls=[receiver.url], catchup="all", retry=once)
        clock.advance(60)
        await fire_and_deliver(service)
        clock.advance(60)
        await service.engine.firer.fire_due(clock.now())
        (running,) = await service.stores.queue.claim(clock.now(), 10)
        await write_backup(config, tmp_path / "backup.db", force=False)
        delivered_before = len(receiver.requests)
        for _ in range(3):
            clock.advance(60)
            await fire_and_deliver(service)
    after_backup = {request.headers["webhook-id"] for request in receiver.requests[delivered_before:]}
    assert len(after_backup) == 3
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"scheduler.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "backup.db", tmp_path / "scheduler.db")
    receiver.requests.clear()
    async with open_test_service() as service:
        assert await service.engine.rescuer.rescue() == 1
        await fire_and_deliver(service)
        rows = await rows_of(service.stores, job)
    assert {request.headers["webhook-id"] for request in receiver.requests} == after_backup | {running.execution.run_id}
    interrupted, repeated = [row for row in rows if row.run_id == running.execution.run_id]
    assert interrupted.status is Status.FAILURE and present(interrupted.error).startswith("interrupted")
    assert (repeated.status, repeated.attempt) == (Status.SUCCESS, 2)


async def test_a_copy_survives_a_kill(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    await fill(source)
    with closing(sqlite3.connect(source)) as connection, connection:
        (job_id, account_id) = connection.execute("SELECT id, account_id FROM jobs").fetchone()
        connection.executemany(
            """
            INSERT INTO executions (id, run_id, job_id, account_id, status, attempt, trigger_kind, scheduled_at,
              available_at, held, covers, budget_from, budget_at, body_truncated, created_at)
            VALUES (?, ?, ?, ?, 'success', 1, 'schedule', 0, 0, 0, 1, 1, 0, 0, 0)
            """,
            [(new_id(1), new_id(1), job_id, account_id) for _ in range(30_000)],
        )
    urls = (f"sqlite:///{source}", f"sqlite:///{target}")
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.cli.dying_copy", str(tmp_path), *urls, "12345"],
        env=environment(),
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(target)) as connection:
        (copied,) = connection.execute("SELECT COUNT(*) FROM executions").fetchone()
    assert 0 < copied < 30_000
    started = await asyncio.to_thread(
        ending, "serve", "--data-dir", str(tmp_path), "--database-url", f"sqlite:///{target}"
    )
    assert started[0] == 3 and "only a part" in started[2]
    line = ["db", "copy", "--from", urls[0], "--to", urls[1], "--data-dir", str(tmp_path), "--json"]
    code, out, err = await asyncio.to_thread(ending, *line)
    told = json.loads(out)
    assert (code, told["resumed"], told["tables"]["executions"]["rows"]) == (0, True, 30_000), err


@pytest.mark.parametrize(
    ("source", "target", "code", "told"),
    [
        ("mysql://db/x", "sqlite:///b.db", 3, "--from: must be sqlite:///"),
        ("sqlite:///a.db", "b.db", 3, "--to: must be sqlite:///"),
        ("sqlite:///none.db", "sqlite:///b.db", 4, "there is no database"),
        ("sqlite:///a.db", "postgresql://ann:secret@127.0.0.1:1/x", 4, "cannot be reached"),
    ],
)
def test_a_copy_that_cannot_be_is_one_sentence(
    source: str, target: str, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(fill(tmp_path / "a.db"))
    before = names(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = ["copy", "--from", source, "--to", target, "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(db, line)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
    assert told in result.stderr and "secret" not in result.stderr
    assert names(tmp_path) == before


async def test_migrating_tells_what_it_did(tmp_path: Path) -> None:
    line = ("db", "migrate", "--database-url", f"sqlite:///{tmp_path}/new.db", "--data-dir", str(tmp_path))
    code, out, err = await asyncio.to_thread(ending, *line)
    assert code == 0 and "applied 0001_initial.sql" in out, err
    code, out, err = await asyncio.to_thread(ending, *line)
    assert (code, out) == (0, "nothing to do\n"), err
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'another' WHERE version = 1")
    code, _, err = await asyncio.to_thread(ending, *line)
    assert code == 3 and "never edited" in err
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'of tomorrow', '', 0)")
    code, _, err = await asyncio.to_thread(ending, *line)
    assert code == 3 and "install the newer version" in err
