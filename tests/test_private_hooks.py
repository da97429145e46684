"""The private parts of libraries that the service depends on. Each has a test, which fails when an upgrade moves it.

When one fails, read the new version of the library and change the one module that the test names.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import aiosqlite
import pytest
from aiohttp import ClientPayloadError, ClientRequest, ClientTimeout, web
from aiohttp.connector import AddrInfoType
from aiohttp_apispec import validation_middleware
from marshmallow import fields
from yarl import URL

from scheduler.api.http.answers import Count
from scheduler.api.http.fields import Body
from scheduler.api.http.middleware import framing, hide_server_version
from scheduler.api.http.openapi import document
from scheduler.api.http.operation import operation
from scheduler.api.http.parser import use_parser
from scheduler.api.services import FORM
from scheduler.domain.events import Events
from scheduler.engine.http.connector import ExchangeConnector
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.exchange import MOST_INTERIM, Exchange, received_bytes
from scheduler.engine.http.resolver import Resolver
from scheduler.engine.http.tunnel import Proxy, Tunnel
from scheduler.store.sqlite.thread import on_thread_of

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def open_socket(info: AddrInfoType) -> socket.socket:
    opened = socket.socket(*info[:3])
    opened.setblocking(False)
    return opened


@asynccontextmanager
async def exchange_with(answer: bytes, tunnel: Tunnel | None = None) -> AsyncIterator[Exchange]:
    """A connection of our connector to a server that reads one header block, writes ``answer`` and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    loop = asyncio.get_running_loop()
    connector = ExchangeConnector(limit=1, resolver=Resolver(), socket_factory=open_socket, tls=None, tunnel=tunnel)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        request = ClientRequest("GET", URL(f"http://127.0.0.1:{port}/"), loop=loop)
        connection = await connector.connect(request, [], ClientTimeout())
        try:
            assert isinstance(connection.protocol, Exchange), "engine/http/connector.py: TCPConnector._factory"
            yield connection.protocol
        finally:
            connection.close()
            await connector.close()


async def test_the_connector_of_aiohttp_makes_its_connections_with_its_factory() -> None:
    async with exchange_with(b"HTTP/1.1 204 No Content\r\n\r\n") as exchange:
        message, _ = await exchange.send(REQUEST)
        assert message.code == 204


async def test_the_connector_of_aiohttp_connects_where_a_tunnel_can_take_its_place() -> None:
    ways: list[tuple[str, int]] = []

    class OneWay(Tunnel):
        async def open(self, address: AddrInfoType, *, host: str, port: int) -> socket.socket:
            ways.append((host, port))
            opened = open_socket(address)
            await asyncio.get_running_loop().sock_connect(opened, address[4])
            return opened

    tunnel = OneWay(Proxy(host="", port=0), egress=Egress())
    async with exchange_with(b"HTTP/1.1 204 No Content\r\n\r\n", tunnel=tunnel) as exchange:
        message, _ = await exchange.send(REQUEST)
        assert message.code == 204
        assert [host for host, _ in ways] == ["127.0.0.1"], (
            "engine/http/connector.py: TCPConnector._wrap_create_connection and _wrap_existing_connection"
        )


async def test_the_parser_of_aiohttp_returns_every_answer_of_a_read() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    async with exchange_with(interim * MOST_INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as exchange:
        message, body = await exchange.send(REQUEST)
        assert (message.code, await body.read()) == (200, b"ok"), "engine/http/exchange.py: ResponseHandler._parser"


async def test_a_parser_of_aiohttp_refuses_all_of_a_read_and_a_new_one_takes_its_parts() -> None:
    async with exchange_with(b"HTTP/1.1 204 No Content\r\n\r\nno HTTP at all\r\n\r\n") as exchange:
        message, _ = await exchange.send(REQUEST)
        assert message.code == 204, "engine/http/exchange.py: ResponseHandler._parser"


async def test_the_protocol_of_aiohttp_pauses_and_resumes_reading() -> None:
    body = bytes(1_000_000)
    async with exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body) as exchange:
        _, reader = await exchange.send(REQUEST)
        async with asyncio.timeout(20):
            while not exchange._reading_paused:
                await asyncio.sleep(0)
            assert await reader.read() == body, "engine/http/exchange.py: ResponseHandler._reading_paused"
        assert reader.is_eof() and not exchange._reading_paused


async def test_the_protocol_of_aiohttp_asks_its_payload_and_upgraded_whether_to_close() -> None:
    async with exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") as exchange:
        message, _ = await exchange.send(REQUEST)
        assert not exchange.finish(message), "engine/http/exchange.py: ResponseHandler._payload"
    async with exchange_with(b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc") as exchange:
        await exchange.send(REQUEST)
        assert exchange.upgraded, "engine/http/exchange.py: ResponseHandler._upgraded"


async def test_a_body_of_aiohttp_gives_what_arrived_before_an_error() -> None:
    async with exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") as exchange:
        _, body = await exchange.send(REQUEST)
        with pytest.raises(ClientPayloadError):
            await body.wait_eof()
        with pytest.raises(ClientPayloadError):
            body.read_nowait(10)
        assert received_bytes(body, 10) == b"abc", "engine/http/exchange.py: StreamReader._read_nowait"


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[tuple[str, int]]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield cast("tuple[str, int]", runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def test_aiohttp_names_the_constant_server_software_where_no_middleware_is_asked() -> None:
    hide_server_version()
    async with serving(web.Application()) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"no HTTP at all\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert b"\r\nServer: scheduler\r\n" in head, "api/http/middleware.py: aiohttp.web_response.SERVER_SOFTWARE"


class Number(Body):
    count = fields.Integer(required=True)


@operation(tag="jobs", summary="Count", body=Number, answers={200: Count})
async def count(request: web.Request) -> web.Response:
    return web.json_response({"count": request[FORM]["count"]})


def counting_app() -> web.Application:
    app = web.Application(middlewares=[framing(Events()), validation_middleware])
    app.router.add_post("/count", count)
    use_parser(app)
    return app


async def test_the_middleware_of_aiohttp_apispec_finds_our_parser_under_its_keys() -> None:
    headers = {"Content-Type": "application/json"}
    async with serving(counting_app()) as (host, port), aiohttp.ClientSession(f"http://{host}:{port}") as session:
        async with session.post("/count", data=b'{"count": 1}', headers=headers) as reply:
            assert (reply.status, await reply.json()) == (200, {"count": 1})
        async with session.post("/count", data=b'{"count": 1, "count": 2}', headers=headers) as reply:
            told = await reply.json()
    assert told["errors"] == {"count": ["given more than once in one object"]}, "api/http/parser.py: _apispec_parser"


def test_the_emitter_of_aiohttp_apispec_finds_what_its_decorators_declare() -> None:
    operation_object = document(counting_app())["paths"]["/count"]["post"]
    schema = {"$ref": "#/components/schemas/Number"}
    assert operation_object["requestBody"]["content"] == {"application/json": {"schema": schema}}, (
        "api/http/openapi.py: __apispec__, AiohttpApiSpec._update_paths, AiohttpApiSpec.swagger_dict"
    )


async def test_a_connection_of_aiosqlite_runs_functions_on_its_thread(tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "a.db") as connection:
        seen = await on_thread_of(connection, lambda raw: (threading.get_ident(), raw.execute("SELECT 1").fetchone()))
        again = await on_thread_of(connection, lambda _: threading.get_ident())
    assert seen == (again, (1,)), "store/sqlite/thread.py: aiosqlite.Connection._execute and _conn"
    assert again != threading.get_ident()
