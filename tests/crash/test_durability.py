"""Power cuts. A kill does not prove durability, as the page cache survives it: here it does not.

The service runs with a library preloaded (``power_cut.c``) that keeps what has been synced. After the kill that is all
there is: the next life begins with it.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from scheduler.config import Config, DatabaseConfig
from tests.checks import present
from tests.conftest import OpenService
from tests.crash.broken_service import POWER_CUT_BUGS
from tests.crash.checker import check
from tests.crash.episode import Episode
from tests.crash.evidence import DatabaseView, Row
from tests.crash.report import verdict

_COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(_COMPILER is None, reason="a C compiler (cc) makes the library that cuts the power")
DELIVERIES = 40


@pytest.fixture
def power_cut(tmp_path: Path) -> Path:
    """The library."""
    library, source = tmp_path / "power_cut.so", Path(__file__).with_name("power_cut.c")
    assert _COMPILER is not None
    subprocess.run([_COMPILER, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@needs_compiler
async def test_what_was_acknowledged_or_sent_survives_a_power_cut(tmp_path: Path, power_cut: Path) -> None:
    async with Episode(tmp_path / "data") as episode:
        await work_until_the_power_is_cut(episode, power_cut)
        episode.evidence.snapshots, _ = remains(episode.data_dir)
        await episode.begin()
        evidence = await episode.run_dry()
    violations = check(evidence)
    assert not violations, verdict(evidence, violations)
    assert len(evidence.acknowledged_jobs) > 10 and len(evidence.acknowledged_executions) > 10


@needs_compiler
@pytest.mark.parametrize("name", POWER_CUT_BUGS)
async def test_a_service_that_does_not_sync_is_caught(tmp_path: Path, power_cut: Path, name: str) -> None:
    async with Episode(tmp_path / "data") as episode:
        await work_until_the_power_is_cut(episode, power_cut, "-m", "tests.crash.broken_service", name)
        episode.evidence.rows, episode.evidence.job_ids = remains(episode.data_dir)
    found = {violation.invariant for violation in check(episode.evidence)}
    assert found >= POWER_CUT_BUGS[name].breaks


async def work_until_the_power_is_cut(episode: Episode, power_cut: Path, *program: str) -> None:
    """Deliver and acknowledge for a while, then lose everything that is not on disk."""
    synced = episode.data_dir.with_name("synced")
    synced.mkdir()
    await episode.begin(*program, LD_PRELOAD=str(power_cut), POWER_CUT_DIR=str(synced))
    webhook = {"url": f"{episode.receiver.url}/hook"}
    retry = {"max_attempts": 3, "delays": [0.2], "jitter": 0.1}
    job = {"name": "job", "schedule": "* * * * * *", "spread_s": 0.9, "retry": retry, "webhook": webhook}
    (job_id, *_) = await episode.add_jobs(*[job] * 10)
    writing = asyncio.create_task(write_things(episode, job_id))
    async with asyncio.timeout(30):
        await episode.receiver.arrivals(DELIVERIES)
    await episode.kill()
    await writing
    lose_the_page_cache(episode.data_dir, synced)


async def write_things(episode: Episode, job_id: str) -> None:
    """Use the API as long as it answers, and keep what it acknowledges."""
    with suppress(aiohttp.ClientError):
        while True:
            job = await episode.api.call("POST", "/api/jobs", {"name": "acknowledged", "schedule": "@every 520w"})
            episode.evidence.acknowledged_jobs.add(job["id"])
            started = await episode.api.call("POST", f"/api/jobs/{job_id}/trigger", {"overlap": "allow"})
            episode.evidence.acknowledged_executions |= {item["id"] for item in started["items"]}


def lose_the_page_cache(data_dir: Path, synced: Path) -> None:
    """Let the data directory be what was synced of the database; its secrets are files of an earlier day."""
    for name in ("jwt.secret", "secret.key"):
        shutil.copy(data_dir / name, synced)
    for rest in (*synced.glob("nameless *"), *synced.glob("draft")):
        rest.unlink()
    shutil.rmtree(data_dir)
    synced.rename(data_dir)


def remains(data_dir: Path) -> tuple[list[Row], set[str]]:
    """The executions and the ids of the jobs, read from a copy: to recover the files is for the next life."""
    path = shutil.copytree(data_dir, data_dir.with_name("copy")) / "scheduler.db"
    if not path.exists():
        return [], set()
    view = DatabaseView(path)
    with closing(sqlite3.connect(path)) as recovering:
        (tables,) = recovering.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'executions'").fetchone()
        if not tables:  # the name of the file is on disk, and nothing of its content
            return [], set()
        rows, jobs = view.rows(), view.next_runs(0)
        view.close()
    return rows, {job_id for _, job_id, _ in jobs}


@pytest.mark.parametrize(
    ("database", "level"),
    [(DatabaseConfig(), 2), (DatabaseConfig(durability="full"), 2), (DatabaseConfig(durability="normal"), 1)],
    ids=["by default", "full", "normal"],
)
async def test_the_writer_syncs_as_configured(
    config: Config, open_test_service: OpenService, database: DatabaseConfig, level: int
) -> None:
    """2 is SQLite's FULL, the default; 1 is NORMAL."""
    async with open_test_service(replace(config, database=database)) as service:
        row = await service.stores.db.transaction(lambda tx: tx.fetch_one("PRAGMA synchronous"))
    assert present(row)["synchronous"] == level
