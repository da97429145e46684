"""Notices between the nodes of one PostgreSQL database (LISTEN and NOTIFY), on a connection of their own.

They only let nodes look earlier. A notice is lost while there is no connection, or with a server without LISTEN.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg

from scheduler.store.postgres.errors import DRIVER_ERRORS

_CHANNEL = "scheduler"
_RECONNECT_S = 1.0

log = logging.getLogger(__name__)


class Notices:
    """Sends and receives notices once there is a listener; a broken connection is replaced."""

    def __init__(self, dsn: str, *, timeout_s: float) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._listener: Callable[[str], None] = lambda _: None
        self._waiting: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._exchanging: asyncio.Task[None] | None = None

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each notice of others; an empty one says that some may have been missed."""
        self._listener = listener
        if self._exchanging is None:
            self._exchanging = asyncio.create_task(self._exchange(), name="notices")

    def notify(self, notice: str) -> None:
        """Send a notice to the others, soon. One that is waiting to be sent already is sent once."""
        if self._exchanging is not None:
            self._waiting[notice] = None
            self._changed.set()

    async def close(self) -> None:
        """Stop receiving and sending."""
        if self._exchanging is not None:
            self._exchanging.cancel()
            with suppress(asyncio.CancelledError):
                await self._exchanging

    async def _exchange(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(self._dsn, timeout=self._timeout_s, command_timeout=self._timeout_s)
                try:
                    await self._serve(connection)
                finally:
                    connection.terminate()
            except asyncpg.FeatureNotSupportedError:
                log.warning("this server has no LISTEN: what is new on one node, others find at their next look")
                return
            except DRIVER_ERRORS as error:
                log.warning("notices between nodes are interrupted: %s", str(error) or "the server does not answer")
            self._waiting.clear()
            await asyncio.sleep(_RECONNECT_S)

    async def _serve(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Receive and send over one connection, until it breaks."""
        own = connection.get_server_pid()

        def receive(_connection: Any, sender: int, _channel: str, notice: object) -> None:
            if sender != own:
                self._listener(str(notice))

        connection.add_termination_listener(lambda _: self._changed.set())
        await connection.add_listener(_CHANNEL, receive)
        self._listener("")
        while not connection.is_closed():
            await self._changed.wait()
            self._changed.clear()
            sending, self._waiting = self._waiting, {}
            for notice in sending:
                await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, notice)
        raise ConnectionError("the connection was closed")
