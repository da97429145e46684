"""The real application on a real port, and a client that sends requests as one user or another."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest

from scheduler.app import listening
from scheduler.domain.clock import SECOND
from scheduler.service import Service
from tests.api.answers import check_answer
from tests.conftest import JWT_SECRET, SetClock


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def items(self) -> list[Any]:
        """The items of a list."""
        items: list[Any] = self.json["items"]
        return items

    @property
    def errors(self) -> dict[str, list[str]]:
        """The fields of a validation error; empty for anything else."""
        errors: dict[str, list[str]] = self.json.get("errors", {})
        return errors


@dataclass
class Api:
    """A client of ``service``, which holds each answer against the OpenAPI document.

    Each call names the user whose token it sends; ``None`` sends none.
    """

    session: aiohttp.ClientSession
    clock: SetClock
    """The clock of this test, which is the service's unless the test gave it another."""
    host: str
    port: int
    service: Service

    def token(self, user: str = "ann", **claims: Any) -> str:
        now_s = self.service.clock.now() // SECOND
        return jwt.encode({"sub": user, "iat": now_s, "exp": now_s + 3600, **claims}, JWT_SECRET, algorithm="HS256")

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = "ann",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        sent = {**({"Authorization": f"Bearer {self.token(user)}"} if user else {}), **(headers or {})}
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sendable = io.BytesIO(content) if content else content
        if content is not None:
            sent = {"Content-Type": "application/json", **sent}
        async with self.session.request(method, path, data=sendable, headers=sent, allow_redirects=False) as response:
            text = await response.text()
            check_answer(method, path, status=response.status, media_type=response.content_type, text=text)
            return Reply(status=response.status, headers=response.headers.copy(), text=text)

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("POST", path, body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("PUT", path, body, **options)

    async def patch(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.call("DELETE", path, **options)

    async def new_job(self, *, user: str = "ann", **fields: Any) -> Any:
        """A job that exists; what is not given has a plain value."""
        reply = await self.post("/api/jobs", {"name": "job", "schedule": "0 2 * * *", **fields}, user=user)
        assert reply.status == 201, reply.text
        return reply.json

    async def executions(self, job: Any) -> list[Any]:
        """The executions of a job, oldest first."""
        return (await self.get(f"/api/jobs/{job['id']}/executions?limit=1000")).items[::-1]

    async def explain(self, job: Any, at: str) -> Any:
        """What became of this time of the job."""
        reply = await self.get(f"/api/jobs/{job['id']}/explain?{urlencode({'at': at})}")
        assert reply.status == 200, reply.text
        return reply.json

    async def verdict(self, job: Any, at: str) -> str:
        verdict: str = (await self.explain(job, at))["verdict"]
        return verdict

    async def look(self, seconds: float = 0) -> None:
        """Move the clock and let the trigger loop look once."""
        self.clock.advance(seconds)
        await self.service.engine.firer.fire_due(self.clock.now())

    async def new_webhook(self, job_id: str, *, user: str = "ann", **fields: Any) -> Any:
        reply = await self.post("/webhooks", {"job_id": job_id, "url": "https://example.com/hook", **fields}, user=user)
        assert reply.status == 201, reply.text
        return reply.json

    async def invite(self, account_id: str, user: str, role: str, *, by: str = "ann") -> str:
        """Invite ``user``; returns the id of the invitation."""
        reply = await self.post(f"/api/accounts/{account_id}/members", {"user": user, "role": role}, user=by)
        assert reply.status == 201, reply.text
        listed = (await self.get("/api/invitations?limit=1000", user=user)).items
        (invitation_id,) = [item["id"] for item in listed if item["account_id"] == account_id]
        return str(invitation_id)

    async def join(self, account_id: str, user: str, role: str, *, by: str = "ann") -> None:
        """Invite ``user``, who accepts."""
        invitation_id = await self.invite(account_id, user, role, by=by)
        reply = await self.post(f"/api/invitations/{invitation_id}/accept", user=user)
        assert reply.status == 200, reply.text


Serve = Callable[[Service], AbstractAsyncContextManager[Api]]


@pytest.fixture
def serve(clock: SetClock) -> Serve:
    """Serves a service on a free port: ``async with serve(service) as api``."""

    @asynccontextmanager
    async def serve_it(service: Service) -> AsyncIterator[Api]:
        async with listening(service) as (host, port), aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield Api(session=session, clock=clock, host=host, port=port, service=service)

    return serve_it


@pytest.fixture
async def api(service: Service, serve: Serve) -> AsyncIterator[Api]:
    """A client of this test's service, whose clock stands still and whose engine does only what the test calls."""
    async with serve(service) as api:
        yield api
