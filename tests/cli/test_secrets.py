"""``scheduler secrets rotate-key``: offline, and safe to kill at any moment."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scheduler.cli.secrets import secrets
from scheduler.config import Config
from scheduler.domain.webhooks.webhook import FormerSecret, TlsOptions
from scheduler.ops.data_dir import open_data_dir, read_sealing_keys
from scheduler.ops.start_error import StartError
from scheduler.service import Service, open_service
from scheduler.store.vault import Vault
from tests.cli.test_serve import ending, environment
from tests.factories import add_job

HEADERS = {"Authorization": "Bearer swordfish"}
FORMERS = (FormerSecret(secret="whsec_former", until_at=1),)
NEW_KEY = base64.b64encode(bytes(range(1, 33))).decode()


async def rotate(*arguments: str, data_dir: Path, environ: dict[str, str] | None = None) -> Result:
    """In a thread, since the command has a loop of its own."""
    line = ["rotate-key", "--data-dir", str(data_dir), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, secrets, line, env=environ)


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Service]:
    async with open_service(config, open_data_dir(config)) as service:
        yield service


async def fill(config: Config, count: int = 3) -> None:
    """A database with secrets, as a service leaves it behind."""
    async with opened(config) as service:
        for _ in range(count):
            webhook = {
                "headers": HEADERS,
                "signing_secret": "whsec_now",
                "former_secrets": FORMERS,
                "tls": TlsOptions(ca="ca"),
            }
            await add_job(service.stores, service.clock.now(), webhook=webhook)


async def everything_opens(config: Config) -> bool:
    async with opened(config) as service:
        page = await service.stores.webhooks.page("ann", skip=0, limit=1000)
    return page.total > 0 and all(
        (webhook.headers, webhook.signing_secret, webhook.former_secrets) == (HEADERS, "whsec_now", FORMERS)
        for webhook in page.items
    )


async def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config)
    (old,) = read_sealing_keys(config)
    (tmp_path / "secret.key").chmod(0o640)
    result = await rotate(data_dir=tmp_path)
    (new,) = read_sealing_keys(config)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"rotated: 12 values sealed anew, the key is {Vault(new).key_id}\n"
    assert "backups" in result.stderr
    assert new != old
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o640
    assert await everything_opens(config)
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert Vault(old).key_id.encode() + b"." not in raw
    assert base64.b64encode(old) not in raw
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "jwt.secret",
        "scheduler.db",
        "scheduler.db.lock",
        "secret.key",
    ]


async def test_the_report_is_json_on_request(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config, 1)
    report = json.loads((await rotate("--json", data_dir=tmp_path)).stdout)
    key_id = Vault(read_sealing_keys(config)[0]).key_id
    assert report == {"key_id": key_id, "resealed": 4, "resumed": False, "traces": None}


async def test_the_old_key_is_refused_at_the_start_by_name(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config)
    (old,) = read_sealing_keys(config)
    assert (await rotate(data_dir=tmp_path)).exit_code == 0
    (new,) = read_sealing_keys(config)
    path = tmp_path / "secret.key"
    path.write_text(base64.b64encode(old).decode())
    code, out, err = ending("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert (code, out) == (3, "")
    assert err == (
        f"{path} is not the key of the secrets in {tmp_path / 'scheduler.db'}: key_check/1/sealed was sealed with key "
        f"{Vault(new).key_id}, at hand is {Vault(old).key_id}: give the service the secret.key that belongs to this "
        "database\n"
    )
    with pytest.raises(StartError, match="the configured secret_key is not the key"):
        async with opened(replace(config, secret_key=NEW_KEY)):
            raise AssertionError
    result = await rotate(data_dir=tmp_path)
    assert (result.exit_code, result.stderr) == (3, err)
    assert path.read_text() == base64.b64encode(old).decode()


async def test_a_lost_key_is_recovered_from_as_readme_says(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config)
    (tmp_path / "secret.key").unlink()
    with pytest.raises(StartError):
        async with opened(config):
            raise AssertionError
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    (statements,) = re.findall(r'sqlite3 scheduler-data/scheduler.db "(UPDATE [^"]+)"', readme)
    with closing(sqlite3.connect(tmp_path / "scheduler.db")) as connection:
        connection.executescript(statements)
    async with opened(config) as service:
        webhooks = (await service.stores.webhooks.page("ann", skip=0, limit=10)).items
    assert {(one.headers, one.signing_secret, one.tls) for one in webhooks} == {(None, None, None)}


async def test_a_key_is_not_rotated_while_the_service_runs(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config)
    before = (tmp_path / "secret.key").read_bytes()
    async with opened(config):
        code, out, err = ending("secrets", "rotate-key", "--data-dir", str(tmp_path))
    assert (code, out) == (4, "")
    assert err == (f"the service is running on {tmp_path / 'scheduler.db'}: stop it, rotate the key, start it again\n")
    assert (tmp_path / "secret.key").read_bytes() == before


async def test_without_a_database_or_a_key_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    result = await rotate(data_dir=tmp_path / "none")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "there is no database" in result.stderr
    assert not (tmp_path / "none").exists()
    await fill(Config(data_dir=tmp_path))
    (tmp_path / "secret.key").unlink()
    result = await rotate(data_dir=tmp_path)
    assert result.exit_code == 3
    assert f"there is no {tmp_path / 'secret.key'}" in result.stderr
    assert not (tmp_path / "secret.key").exists()


async def test_a_configured_key_is_changed_to_the_one_that_is_given(tmp_path: Path) -> None:
    old_key = base64.b64encode(bytes(32)).decode()
    config = Config(data_dir=tmp_path, secret_key=old_key)
    await fill(config)
    (tmp_path / "old").write_text(old_key)
    (tmp_path / "new").write_text(NEW_KEY + "\n", encoding="utf-8-sig")
    for environ in ({"SCHEDULER_SECRET_KEY": old_key}, {"SCHEDULER_SECRET_KEY_FILE": str(tmp_path / "old")}):
        refused = await rotate(data_dir=tmp_path, environ=environ)
        assert (refused.exit_code, refused.stdout) == (3, "")
        assert "SCHEDULER_SECRET_KEY_FILE" in refused.stderr
        assert "--new-key FILE" in refused.stderr
    assert await everything_opens(config)
    for resealed in (12, 0):  # again, should the first time have been interrupted
        result = await rotate("--new-key", str(tmp_path / "new"), data_dir=tmp_path, environ=environ)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"rotated: {resealed} values")
        assert "configure the new key" in result.stderr
    assert await everything_opens(replace(config, secret_key=NEW_KEY))
    with pytest.raises(StartError, match="the configured secret_key"):
        async with opened(config):
            raise AssertionError
    assert not (tmp_path / "secret.key").exists()


async def test_a_new_key_that_is_malformed_is_refused(tmp_path: Path) -> None:
    environ = {"SCHEDULER_SECRET_KEY": NEW_KEY}
    (tmp_path / "short").write_text("c2hvcnQ=")
    result = await rotate("--new-key", str(tmp_path / "short"), data_dir=tmp_path, environ=environ)
    assert (result.exit_code, result.stderr) == (3, f"{tmp_path / 'short'}: must be base64 of exactly 32 bytes\n")
    result = await rotate("--new-key", str(tmp_path / "short"), data_dir=tmp_path)
    assert result.exit_code == 2
    result = await rotate("--new-key", str(tmp_path / "absent"), data_dir=tmp_path, environ=environ)
    assert result.exit_code == 2


async def test_killed_at_any_moment_it_leaves_a_key_file_that_opens_everything(tmp_path: Path) -> None:
    """At every step in turn; after each death a start reads every secret, and the command goes on to its end."""
    config = Config(data_dir=tmp_path)
    await fill(config, 2)
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.dying_rotation", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=Path(__file__).parent.parent.parent,
        check=False,
    )
    died_at = done.stdout.splitlines()
    assert done.returncode == 0, [died_at, done.stderr]
    assert died_at == [
        *("before create", "after create", "before replace", "after replace"),
        *("before _anew", "after _anew") * 2,
        *("before _compact", "after _compact"),
        *("before create", "after create", "before replace", "after replace"),
    ]
    assert await everything_opens(config)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_what_is_written_between_a_kill_and_the_next_try_opens_afterwards(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    await fill(config, 1)
    (old,) = read_sealing_keys(config)
    path = tmp_path / "secret.key"
    path.write_text(f"{NEW_KEY}\n{base64.b64encode(old).decode()}\n")
    await fill(config, 1)
    with closing(sqlite3.connect(tmp_path / "scheduler.db")) as connection:
        ids = {row[0][:8] for row in connection.execute("SELECT headers FROM webhooks")}
    assert ids == {Vault(old).key_id, Vault(base64.b64decode(NEW_KEY)).key_id}
    result = await rotate(data_dir=tmp_path)
    assert result.stdout.startswith("finished the rotation that was begun before: 4 values")
    assert path.read_text() == f"{NEW_KEY}\n"
    assert await everything_opens(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_run_by_root_it_leaves_the_key_to_the_user_of_the_service(tmp_path: Path) -> None:
    await fill(Config(data_dir=tmp_path))
    os.chown(tmp_path / "secret.key", 10_001, 10_001)
    assert (await rotate(data_dir=tmp_path)).exit_code == 0
    after = (tmp_path / "secret.key").stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (10_001, 10_001, 0o600)
