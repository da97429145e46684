"""The service that kills itself at a named point of its work.

``python -m tests.crash.dying_service POINT N serve …`` is ``scheduler serve …`` until ``POINT`` is passed for the
``N``-th time: then the process gets SIGKILL from itself, in the middle of that very step. The points live here and are
put around parts of the real service before its command line runs; the product has no switch for them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite

from scheduler import cli
from scheduler.engine.http.exchange import Exchange
from scheduler.engine.http.sender import Sender
from scheduler.store.database import Transaction
from scheduler.store.jobs.due import DueJobStore
from scheduler.store.jobs.webhooks import WebhookStore
from scheduler.store.queue import queue
from scheduler.store.queue.claiming import Claimer

Passed = Callable[[], None]


def main() -> None:
    point, count, *rest = sys.argv[1:]
    left = int(count)

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die()

    POINTS[point](passed)
    sys.argv[1:] = rest
    cli.main()


def die() -> None:
    """Say when, for whoever reads the log, and be gone before the next instruction."""
    os.write(2, json.dumps({"message": "dies", "at": time.time_ns() // 1000}).encode() + b"\n")
    os.kill(os.getpid(), signal.SIGKILL)


def connect(passed: Passed) -> None:
    """A connection to a receiver stands, and no byte of a request has left."""
    connection_made = Exchange.connection_made

    def made(self: Exchange, transport: asyncio.BaseTransport) -> None:
        connection_made(self, transport)
        passed()

    _put(Exchange, "connection_made", made)


def send(passed: Passed) -> None:
    """A request is with the operating system, whole, and its answer has not come: the receiver must hold it back."""
    write = Exchange.send

    async def send_and_pass(self: Exchange, wire: bytes) -> Any:
        sending = asyncio.ensure_future(write(self, wire))
        try:
            await asyncio.sleep(0)  # it writes now
            while self.transport is not None and self.transport.get_write_buffer_size():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)  # uvloop writes at the end of a turn
            passed()
            return await sending
        finally:
            sending.cancel()

    _put(Exchange, "send", send_and_pass)


def response(passed: Passed) -> None:
    """The answer is there, and nothing of it has been written down."""
    send_it = Sender.send

    async def send_and_pass(self: Sender, request: Any) -> Any:
        outcome = await send_it(self, request)
        passed()
        return outcome

    _put(Sender, "send", send_and_pass)


def commit(step: str, passed: Passed, *, before: bool) -> None:
    """What this step did is about to be committed, or has been and no caller has its result yet.

    Other steps may share its commit. A step that comes again and again dies when it has one to itself; a job is created
    twice in a story, so that the second time must do, whatever it shares its commit with.
    """
    done: set[str] = set()
    _note_steps(done.add)
    commit_it, roll_back = aiosqlite.Connection.commit, aiosqlite.Connection.rollback

    async def commit_and_pass(self: aiosqlite.Connection) -> None:
        is_it = step in done and (step == "create" or len(done) == 1)
        done.clear()
        if is_it and before:
            passed()
        await commit_it(self)
        if is_it and not before:
            passed()

    async def forget(self: aiosqlite.Connection) -> None:
        done.clear()
        await roll_back(self)

    _put(aiosqlite.Connection, "commit", commit_and_pass)
    _put(aiosqlite.Connection, "rollback", forget)


def _note_steps(note: Callable[[str], None]) -> None:
    """Call ``note`` with what the open transaction has done."""
    take, apply_auto_disable = Claimer._claim, vars(queue)["apply_auto_disable"]
    advance, insert_webhooks = DueJobStore.advance, WebhookStore.insert_many

    async def fire(self: DueJobStore, *args: Any) -> None:
        await advance(self, *args)
        note("fire")

    async def claim(self: Claimer, *args: Any) -> Any:
        claimed = await take(self, *args)
        if claimed.rows:
            note("claim")
        return claimed

    async def settle(tx: Transaction, took: Any, *args: Any, **named: Any) -> Any:
        disabled = await apply_auto_disable(tx, took, *args, **named)
        if took:
            note("settle")
        return disabled

    async def create(self: WebhookStore, *args: Any, **named: Any) -> None:
        await insert_webhooks(self, *args, **named)
        note("create")

    _put(DueJobStore, "advance", fire)
    _put(Claimer, "_claim", claim)
    _put(queue, "apply_auto_disable", settle)
    _put(WebhookStore, "insert_many", create)


def _put(owner: Any, name: str, part: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: adapt this point"
    setattr(owner, name, part)


POINTS: dict[str, Callable[[Passed], None]] = {
    "connect": connect,
    "send": send,
    "response": response,
    **{
        f"{'before' if before else 'after'}-{step}": partial(commit, step, before=before)
        for step in ("fire", "claim", "settle", "create")
        for before in (True, False)
    },
}

if __name__ == "__main__":
    main()
