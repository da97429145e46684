"""A way to a Postgres server that a test can make bad: refused, cut, silent, slow, broken off in a commit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Self

_COMMIT = b"COMMIT;"


class PostgresProxy:
    """Listens on a TCP port of loopback, as an async context manager, and passes all on to the server's socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        self.refuses = False
        """End new connections at once."""
        self.delay_s = 0.0
        """Let every packet wait so long."""
        self.cut_before_commit = False
        """Cut the next connection that commits before its COMMIT reaches the server."""
        self.cut_after_commit = False
        """Cut the next connection that commits when the server has done so, before its answer comes back."""
        self.cuts = 0
        """How often that has happened."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.flow()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break all connections that there are."""
        for writer in list(self._writers):
            writer.transport.abort()

    def stall(self) -> None:
        """Pass nothing on, and keep everything open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass on again what has gathered."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
            both = {writer, server_writer}
            self._writers |= both
            there = asyncio.create_task(self._pump(reader, server_writer, both, is_client=True))
            back = asyncio.create_task(self._pump(server_reader, writer, both, is_client=False))
            await asyncio.wait([there, back])
            self._writers -= both
            return
        writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        *,
        is_client: bool,
    ) -> None:
        cuts_answer = False
        with suppress(OSError, asyncio.IncompleteReadError):
            while packet := await reader.read(65_536):
                await self._flowing.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                commits = is_client and _COMMIT in packet
                if commits and self.cut_before_commit:
                    self.cut_before_commit, self.cuts = False, self.cuts + 1
                    break
                writer.write(packet)
                await writer.drain()
                if commits and self.cut_after_commit:
                    self.cut_after_commit, self.cuts, cuts_answer = False, self.cuts + 1, True
                    # The server goes on with what it has although its answer will reach no client.
                    next(one for one in both if one is not writer).transport.abort()
        if cuts_answer:
            await asyncio.sleep(0)
        for one in both:
            one.transport.abort() if not cuts_answer else one.close()
