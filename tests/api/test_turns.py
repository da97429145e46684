"""Turns at computing: users are served in rotation, queues are bounded, and what nobody waits for is given up."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scheduler.api.limits import offload as offloading
from scheduler.api.limits.offload import COMPUTING, IsOver, offload, turns_at_computing
from scheduler.api.services import USER
from scheduler.app import switch_threads_often
from scheduler.domain.errors import SchedulerError
from scheduler.domain.turns import Turns


class Work:
    """Begins turns and ends them, and notes in which order they came."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.begun: list[str] = []
        self._ends: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, *users: str) -> None:
        for user in users:
            self.tasks.append(asyncio.create_task(self._do(user)))
        await self.settle()

    async def end_first(self) -> None:
        self._ends.pop(0).set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    async def _do(self, user: str) -> None:
        async with self._turns.turn(user):
            self.begun.append(user)
            end = asyncio.Event()
            self._ends.append(end)
            await end.wait()


def turns(*, at_once: int = 1, at_once_per_user: int = 1, most_waiting: int = 8) -> Turns:
    return Turns(at_once=at_once, at_once_per_user=at_once_per_user, most_waiting=most_waiting, what="computations")


async def test_users_who_wait_are_served_in_rotation() -> None:
    work = Work(turns())
    await work.ask("ann", "ann", "ann", "ann", "bob", "bob", "cid")
    for _ in range(7):
        await work.end_first()
    assert work.begun == ["ann", "ann", "bob", "cid", "ann", "bob", "ann"]
    await asyncio.gather(*work.tasks)


async def test_one_user_never_has_more_than_their_share() -> None:
    work = Work(turns(at_once=3, at_once_per_user=2))
    await work.ask("ann", "ann", "ann", "bob")
    assert work.begun == ["ann", "ann", "bob"]
    await work.ask("bob")
    await work.end_first()
    assert work.begun[3:] == ["ann"]
    for _ in range(4):
        await work.end_first()
    await asyncio.gather(*work.tasks)
    assert sorted(work.begun) == ["ann", "ann", "ann", "bob", "bob"]


async def test_a_full_queue_refuses_one_user_and_no_other() -> None:
    queue = turns(most_waiting=2)
    work = Work(queue)
    await work.ask("ann", "ann", "ann", "ann", "bob")
    with pytest.raises(SchedulerError) as refused:
        await work.tasks[3]
    assert refused.value.code == "RATE_LIMITED"
    assert "2 of your computations wait already" in refused.value.message
    assert queue.waiting == 3
    for _ in range(4):
        await work.end_first()
    assert work.begun == ["ann", "ann", "bob", "ann"]


async def test_who_stops_waiting_leaves_the_queue() -> None:
    queue = turns()
    work = Work(queue)
    await work.ask("ann", "bob", "cid", "bob")
    work.tasks[1].cancel()
    await work.settle()
    assert queue.waiting == 2
    work.tasks[3].cancel()
    await work.end_first()
    assert (work.begun, queue.waiting) == (["ann", "cid"], 0)
    await work.end_first()
    await work.ask("bob")
    assert work.begun == ["ann", "cid", "bob"]


async def test_a_turn_that_comes_in_the_moment_of_the_cancellation_is_passed_on() -> None:
    work = Work(turns())
    await work.ask("ann", "bob", "cid")
    work.tasks[0].cancel()  # ends its turn, which goes to bob
    await asyncio.sleep(0)
    work.tasks[1].cancel()
    await work.settle()
    assert work.begun == ["ann", "cid"]


@asynccontextmanager
async def computing(compute: Callable[[IsOver], str]) -> AsyncIterator[tuple[aiohttp.ClientSession, Turns]]:
    """A client of a server that answers each request with what ``compute`` returns in a thread."""

    async def handler(request: web.Request) -> web.Response:
        request[USER] = request.path
        try:
            return web.Response(text=await offload(request, compute))
        except SchedulerError as error:
            return web.Response(text=error.code, status=429)

    app = web.Application()
    app.router.add_get("/{user}", handler)
    app[COMPUTING] = turns_at_computing()
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session, app[COMPUTING]


async def test_a_user_who_asks_for_too_much_at_a_time_is_refused() -> None:
    may_end = threading.Event()

    def compute(_: IsOver) -> str:
        may_end.wait(20)
        return "computed"

    async def ask(session: aiohttp.ClientSession) -> str:
        async with session.get("/ann") as response:
            text = await response.text()
            if response.status == 429:
                may_end.set()
            return text

    async with computing(compute) as (session, queue):
        answers = await asyncio.gather(*(ask(session) for _ in range(10)))
    assert sorted(answers) == ["RATE_LIMITED", *["computed"] * 9]
    assert queue.waiting == 0


async def test_a_computation_ends_when_its_client_is_gone() -> None:
    loop = asyncio.get_running_loop()
    begun, given_up = asyncio.Event(), asyncio.Event()

    def compute(is_over: IsOver) -> str:
        loop.call_soon_threadsafe(begun.set)
        while not is_over():
            pass
        loop.call_soon_threadsafe(given_up.set)
        return "ended"

    async with computing(compute) as (session, _):
        first = asyncio.create_task(session.get("/ann"))
        await asyncio.wait_for(begun.wait(), 20)
        first.cancel()
        await asyncio.wait_for(given_up.wait(), 20)


async def test_a_computation_has_so_much_time_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offloading, "LONGEST_S", 0.01)

    def compute(is_over: IsOver) -> str:
        steps = 0
        while not is_over():
            steps += 1
        return "stopped"

    async with computing(compute) as (session, _), session.get("/ann") as response:
        assert await response.text() == "stopped"


def test_a_computation_gives_way_to_the_loop_within_a_millisecond() -> None:
    before = sys.getswitchinterval()
    try:
        switch_threads_often()
        assert sys.getswitchinterval() <= 0.001
    finally:
        sys.setswitchinterval(before)
