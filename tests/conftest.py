"""What every test may ask for: a clock it sets, stores on a real file, a real receiver, a service on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiosqlite
import pytest
from aiohttp import web

from scheduler.config import Config, DatabaseConfig, EngineConfig
from scheduler.config.network import EgressConfig, ServerConfig
from scheduler.domain.clock import Clock, Instant, format_instant, parse_instant, seconds
from scheduler.domain.events import Events
from scheduler.ops.data_dir import DataDir
from scheduler.service import Service, open_service
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.store.postgres.database import PostgresDatabase
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault
from tests.postgres import Server, running_server

SECRET_KEY = bytes(range(32))
JWT_SECRET = b"a secret of the tests, long enough for HS256"


class SetClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, at: str = "2026-06-01T00:00:00Z") -> None:
        self._now = parse_instant(at)

    def now(self) -> Instant:
        return self._now

    def advance(self, duration_s: float) -> None:
        self._now += seconds(duration_s)

    def set(self, at: str | Instant) -> None:
        self._now = parse_instant(at) if isinstance(at, str) else at

    def __str__(self) -> str:
        return format_instant(self._now)


@dataclass
class Received:
    """One request as the receiver saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A real HTTP server that keeps what it received and answers as ``answer`` says."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    answer: Callable[[Received], web.StreamResponse | Awaitable[web.StreamResponse]] = lambda _: web.Response(text="ok")
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, count: int, within_s: float = 20) -> None:
        """Until ``count`` requests have arrived; fails loudly instead of hanging."""
        async with asyncio.timeout(within_s):
            while len(self.requests) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def receive(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self.requests.append(received)
        self.arrived.set()
        answer = self.answer(received)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    yield receiver
    await runner.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A Postgres server, started when the first test asks for it."""
    with running_server() as server:
        yield server


@pytest.fixture
async def postgres_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of a database of this test, its schema up to date."""
    server: Server = request.getfixturevalue("postgres_server")
    url = await server.lend()
    yield url
    await server.take_back(url)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Which database ``db``, ``stores`` and the service have: ``None`` is a file of this test."""
    return request.getfixturevalue("postgres_url") if getattr(request, "param", "sqlite") == "postgres" else None


both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
"""``pytestmark = both_databases`` runs each test of a module that uses one of those on either database."""


@pytest.fixture
def events() -> Events:
    """What ``db`` and ``stores`` tell of what they did."""
    return Events()


@pytest.fixture
def sqlite_connections(monkeypatch: pytest.MonkeyPatch) -> list[aiosqlite.Connection]:
    """The connections that this test has opened: of each database the writer, the reader and the lister."""
    opened: list[aiosqlite.Connection] = []
    connect = aiosqlite.connect

    def connect_and_keep(*args: Any, **options: Any) -> aiosqlite.Connection:
        opened.append(connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(aiosqlite, "connect", connect_and_keep)
    return opened


@pytest.fixture
async def db(
    tmp_path: Path,
    clock: SetClock,
    database_url: str | None,
    events: Events,
    sqlite_connections: list[aiosqlite.Connection],
) -> AsyncIterator[Database]:
    if database_url is None:
        database: Database = await SqliteDatabase.open(tmp_path / "scheduler.db", events=events)
        await migrate(database, clock.now())
    else:
        database = await PostgresDatabase.open(database_url, pool_size=5, events=events)
    yield database
    await database.close()


@pytest.fixture
async def stores(db: Database, events: Events) -> Stores:
    stores = Stores.over(db, vault=Vault(SECRET_KEY), worker_id="test:1:1", events=events)
    await stores.nodes.join("test:1:1", lease_s=3600)
    return stores


@pytest.fixture
def config(tmp_path: Path, database_url: str | None) -> Config:
    """A configuration for tests: a free port, a directory of its own, loopback receivers permitted.

    A lease outlasts any test: it is counted by a real clock, and a service that is not started does not renew it.
    """
    return Config(
        data_dir=tmp_path,
        server=ServerConfig(host=("127.0.0.1",), port=0),
        database=DatabaseConfig(url=database_url, pool_size=5),
        engine=EngineConfig(drain_s=5, lease_s=3600),
        egress=EgressConfig(allow=("127.0.0.0/8",)),
    )


class OpenService(Protocol):
    """Opens a service, not started: the test calls its steps. What is not given is the fixture of that name."""

    def __call__(self, config: Config = ..., clock: Clock = ...) -> AbstractAsyncContextManager[Service]: ...


@pytest.fixture
def open_test_service(config: Config, clock: SetClock, sqlite_connections: list[aiosqlite.Connection]) -> OpenService:
    """Opens services over this test's directory."""

    @asynccontextmanager
    async def open_it(config: Config = config, clock: Clock = clock) -> AsyncIterator[Service]:
        directory = DataDir(path=config.data_dir, jwt_secret=JWT_SECRET, sealing_keys=(SECRET_KEY,), created=())
        async with open_service(config, directory, clock=clock) as service:
            await service.engine.membership.join()
            yield service

    return open_it


@pytest.fixture
async def service(open_test_service: OpenService) -> AsyncIterator[Service]:
    """The service, not started, on the test's clock."""
    async with open_test_service() as service:
        yield service
