"""One request on one connection: what is written, and to what."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from aiohttp import ClientConnectionError

from scheduler.engine.http.exchange import Exchange
from tests.conftest import Receiver


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_closing_takes_no_request(factory: object) -> None:
    """uvloop raises RuntimeError from such a write."""

    async def send_while_closing() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        transport, exchange = await loop.create_connection(lambda: Exchange(loop), host, port)
        transport.close()
        with pytest.raises(ClientConnectionError, match="before the request was written"):
            await exchange.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not exchange.is_stale
        server.close()

    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]  # either factory makes a loop
        runner.run(send_while_closing())


async def test_one_that_closes_while_it_rests_is_stale(receiver: Receiver) -> None:
    loop = asyncio.get_running_loop()
    host, _, port = receiver.url.removeprefix("http://").partition(":")
    transport, exchange = await loop.create_connection(lambda: Exchange(loop), host, int(port))
    message, _ = await exchange.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert exchange.finish(message) and not exchange.is_stale
    transport.close()
    with pytest.raises(ClientConnectionError, match="before the request was written"):
        await exchange.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert exchange.is_stale
