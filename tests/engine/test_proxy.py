"""Webhooks through a proxy: the requests that it gets, and the outcomes of its answers. Real sockets on both sides."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from scheduler.config import Config
from scheduler.engine.http import sender as sender_module
from scheduler.engine.http.egress import Egress
from scheduler.engine.http.resolver import Resolver
from scheduler.engine.http.sender import Sender
from scheduler.engine.http.tunnel import Proxy, Tunnel
from tests.conftest import OpenService, Receiver, SetClock, both_databases
from tests.engine.receivers import SHORT_S, Authority, keeping, make_sender, receiving, to
from tests.factories import add_job, deliver_ready, rows_of, start_run


class ConnectProxy:
    """Makes tunnels to loopback, whatever address it is asked for, and keeps what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.answer: bytes | None = b"HTTP/1.1 200 Connection established\r\n\r\n"
        """``None`` never answers; what is no 200 makes no tunnel."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            method, target, _ = head.decode().split(" ", 2)
            assert method == "CONNECT"
            self.asked.append(target)
            if self.answer is None:
                await reader.read()
                return
            writer.write(self.answer)
            if b" 200 " in self.answer:
                await self._relay(reader, writer, int(target.rpartition(":")[2]))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                with suppress(OSError):
                    while data := await source.read(65_536):
                        sink.write(data)
                        await sink.drain()
            finally:
                sink.transport.abort()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy()
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    yield proxy
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.wait_closed()


def look_up(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
    """Public names lead to public addresses, which only the proxy of these tests leads back here."""
    addresses = {"hook.test": ["93.184.215.14"], "two.test": ["10.0.0.1", "93.184.215.15"], "inner.test": ["10.0.0.1"]}
    return [(2, 1, 6, "", (address, port)) for address in addresses[host.rstrip(".")]]


@asynccontextmanager
async def sending(
    proxy: ConnectProxy, clock: SetClock, *, by_name: bool = False, **options: Any
) -> AsyncIterator[Sender]:
    egress = options.pop("egress", Egress())
    where = Proxy.parse(options.pop("url", f"http://127.0.0.1:{proxy.port}"))
    chosen = {"egress": egress, "tunnel": Tunnel(where, egress=egress, by_name=by_name), **options}
    if not by_name:
        chosen["resolver"] = Resolver(look_up)
    async with make_sender(clock, **chosen) as sender:
        yield sender


async def test_the_proxy_is_asked_for_the_address_that_was_checked_for_http_as_well(
    proxy: ConnectProxy, clock: SetClock
) -> None:
    async with receiving(keeping()) as receiver, sending(proxy, clock) as sender:
        for _ in range(2):
            outcome = await sender.send(to(f"http://hook.test:{receiver.port}/a"))
            assert (outcome.error, outcome.response_body) == (None, "ok")
        assert proxy.asked == [f"93.184.215.14:{receiver.port}"], "the tunnel is used again"
        assert proxy.heads == [f"CONNECT {proxy.asked[0]} HTTP/1.1\r\nHost: {proxy.asked[0]}\r\n\r\n".encode()]
        assert receiver.requests[0].startswith(f"POST /a HTTP/1.1\r\nHost: hook.test:{receiver.port}\r\n".encode())


async def test_tls_reaches_through_the_tunnel_with_the_name(
    proxy: ConnectProxy, clock: SetClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    async with (
        receiving(keeping(), tls=authority.serving("hook.test")) as receiver,
        receiving(keeping(), tls=authority.serving("other.test")) as other,
        sending(proxy, clock, tls=authority.trusting()) as sender,
    ):
        assert (await sender.send(to(f"https://hook.test:{receiver.port}/"))).error is None
        assert (await sender.send(to(f"https://hook.test:{other.port}/"))).error_code == "tls_failed"


ADDRESSES = ["http://10.0.0.1/", "http://127.0.0.1:{port}/", "http://[::1]/", "http://[fd00::1]/"]


@pytest.mark.parametrize(
    ("by_name", "url"),
    [(False, "http://inner.test/"), *((by_name, url) for by_name in (False, True) for url in ADDRESSES)],
)
async def test_the_proxy_is_no_way_around_the_rules_for_addresses(
    url: str, by_name: bool, proxy: ConnectProxy, clock: SetClock
) -> None:
    async with sending(proxy, clock, by_name=by_name) as sender:
        outcome = await sender.send(to(url.format(port=proxy.port)))
    assert (outcome.error_code, proxy.asked) == ("blocked_address", [])


async def test_a_proxy_that_resolves_decides_about_private_names(proxy: ConnectProxy, clock: SetClock) -> None:
    async with sending(proxy, clock, by_name=True) as sender:
        await sender.send(to("http://inner.test/"))
    assert proxy.asked == ["inner.test:80"]


async def test_an_address_that_is_not_permitted_is_passed_over(proxy: ConnectProxy, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, sending(proxy, clock) as sender:
        assert (await sender.send(to(f"http://two.test:{receiver.port}/"))).error is None
        assert proxy.asked == [f"93.184.215.15:{receiver.port}"]


@pytest.mark.parametrize("host", ["hook.test", "hook.test.", "unknown.test"])
async def test_a_proxy_that_resolves_gets_the_name(host: str, proxy: ConnectProxy, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, sending(proxy, clock, by_name=True) as sender:
        assert (await sender.send(to(f"http://{host}:{receiver.port}/"))).error is None
        assert proxy.asked == [f"{host.rstrip('.')}:{receiver.port}"]


async def test_each_hop_of_a_redirect_is_a_tunnel_to_a_checked_address(proxy: ConnectProxy, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, sending(proxy, clock) as sender:
        answer = b"HTTP/1.1 302 Found\r\nLocation: http://inner.test/\r\nContent-Length: 0\r\n\r\n"
        receiver.script = keeping(answer)
        outcome = await sender.send(to(f"http://hook.test:{receiver.port}/", follow_redirects=3))
        assert outcome.error_code == "blocked_address"
        assert len(proxy.asked) == 1


async def test_the_proxy_gets_user_and_password_and_the_receiver_does_not(proxy: ConnectProxy, clock: SetClock) -> None:
    url = f"http://ann:p%40ss%3A@127.0.0.1:{proxy.port}/"
    async with receiving(keeping()) as receiver, sending(proxy, clock, url=url) as sender:
        assert (await sender.send(to(f"http://hook.test:{receiver.port}/"))).error is None
        login = base64.b64encode(b"ann:p@ss:")
        assert b"\r\nProxy-Authorization: Basic " + login + b"\r\n" in proxy.heads[0]
        assert login not in receiver.requests[0]
        assert login.decode() not in repr(Proxy.parse(url))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"HTTP/1.0 502 Bad\x1b[31m\xe9Gateway\r\nContent-Length: 3\r\n\r\n", "502 Bad"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no valid answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake", "200 OK"),
        (b"", "no valid answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, "200 OK"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel_is_named(
    answer: bytes, said: str, proxy: ConnectProxy, clock: SetClock
) -> None:
    proxy.answer = answer
    async with receiving(keeping()) as receiver, sending(proxy, clock) as sender:
        outcome = await sender.send(to(f"http://hook.test:{receiver.port}/"))
        assert receiver.requests == []
    assert outcome.error_code == "connect_refused"
    assert f"the proxy 127.0.0.1:{proxy.port} does not connect to 93.184.215.14" in (outcome.error or "")
    assert said in (outcome.error or "")
    assert (outcome.error or "").isprintable()


async def test_a_proxy_that_does_not_listen_is_named(proxy: ConnectProxy, clock: SetClock) -> None:
    async with sending(proxy, clock, url="http://127.0.0.1:1") as sender:
        outcome = await sender.send(to("http://hook.test/"))
    assert outcome.error_code == "connect_refused"
    assert "the proxy 127.0.0.1:1 cannot be reached" in (outcome.error or "")


async def test_a_proxy_that_does_not_answer_costs_no_more_than_connecting_may(
    proxy: ConnectProxy, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answer = None
    monkeypatch.setattr(sender_module, "CONNECT_LIMIT_S", SHORT_S)
    async with sending(proxy, clock) as sender:
        outcome = await sender.send(to("http://hook.test/"))
    assert outcome.error_code == "connect_timeout"


@both_databases
async def test_the_service_sends_through_the_proxy_of_its_configuration(
    config: Config, open_test_service: OpenService, proxy: ConnectProxy, receiver: Receiver, clock: SetClock
) -> None:
    changed = replace(config, egress=replace(config.egress, proxy=f"http://127.0.0.1:{proxy.port}"))
    async with open_test_service(changed) as service:
        job = await add_job(service.stores, clock.now(), urls=[receiver.url])
        await start_run(service.stores, job, clock.now())
        await deliver_ready(service)
        (execution,) = await rows_of(service.stores, job)
    assert (execution.error, execution.response_body) == (None, "ok")
    assert proxy.asked == [receiver.url.removeprefix("http://")]
