"""What every test may ask for: a clock it sets, stores on a real file, a real receiver, a service on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from scheduler.config import Config, EgressConfig, EngineConfig, ServerConfig
from scheduler.domain.clock import Instant, format_instant, parse_instant, seconds
from scheduler.store.migrate import migrate
from scheduler.store.sqlite import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault

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

    def set(self, at: str) -> None:
        self._now = parse_instant(at)

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
    answer: Callable[[Received], Any] = lambda _: web.Response(text="ok")
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
        return await answer if asyncio.iscoroutine(answer) else answer


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


@pytest.fixture
async def db(tmp_path: Path, clock: SetClock) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "scheduler.db")
    await migrate(database, clock.now())
    yield database
    await database.close()


@pytest.fixture
def stores(db: SqliteDatabase) -> Stores:
    return Stores.over(db, vault=Vault(SECRET_KEY), worker_id="test:1:1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration for tests: a free port, a directory of its own, loopback receivers permitted."""
    return Config(
        data_dir=tmp_path,
        server=ServerConfig(host="127.0.0.1", port=0),
        engine=EngineConfig(drain_s=5),
        egress=EgressConfig(allow=("127.0.0.0/8",)),
    )


OpenService = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def open_test_service(config: Config, clock: SetClock) -> OpenService:
    """Opens the service over this test's directory, not started: the test calls its steps."""
    from scheduler.app import open_service
    from scheduler.data_dir import DataDir

    @asynccontextmanager
    async def open_it(config: Config = config, clock: Any = clock) -> AsyncIterator[Any]:
        directory = DataDir(path=config.data_dir, jwt_secret=JWT_SECRET, secret_key=SECRET_KEY, created=())
        async with open_service(config, directory, clock=clock) as service:
            yield service

    return open_it


@pytest.fixture
async def service(open_test_service: OpenService) -> AsyncIterator[Any]:
    """The service, not started, on the test's clock."""
    async with open_test_service() as service:
        yield service
