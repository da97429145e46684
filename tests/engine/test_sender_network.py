"""The way to the receiver: names, addresses that are not for webhooks, and TLS. Real sockets, a stub for DNS."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduler.engine.http.egress import Egress
from scheduler.engine.http.resolver import MOST_ADDRESSES, Resolver
from scheduler.engine.http.sender import Sender
from tests.conftest import SetClock
from tests.engine.receivers import (
    OK,
    SHORT_S,
    Authority,
    Caller,
    answering,
    keeping,
    make_sender,
    receiving,
    silence,
    to,
)


class Zone:
    """Answers look-ups from a table; ``None`` is a name server that does not answer."""

    def __init__(self, **names: list[str] | None) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []
        self.was_asked = threading.Event()
        self.answer_now = threading.Event()

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        self.was_asked.set()
        addresses = self.names.get(host, [])
        if addresses is None:
            self.answer_now.wait(20)
            addresses = []
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]


@pytest.fixture
def zone() -> Iterator[Zone]:
    zone = Zone(
        app_test=["127.0.0.1"],
        hanging_test=None,
        mixed_test=["10.0.0.1", "127.0.0.1"],
        private_test=["10.0.0.1", "fd12:3456::1"],
        mapped_test=["::ffff:10.0.0.1"],
        metadata_test=["169.254.169.254"],
        many_test=[f"127.0.0.{number}" for number in range(2, 12)],
    )
    yield zone
    zone.answer_now.set()


async def test_a_name_is_looked_up_once_for_a_burst(zone: Zone, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock, resolver=Resolver(zone)) as sender:
        request = to(f"http://app.test:{receiver.port}/")
        outcomes = await asyncio.gather(*(sender.send(request) for _ in range(8)))
        assert [outcome.error for outcome in outcomes] == [None] * 8
        assert zone.asked == ["app.test"]
        assert receiver.requests[0].startswith(b"POST / HTTP/1.1\r\nHost: app.test:%d\r\n" % receiver.port)


async def test_an_absolute_name_is_looked_up_with_its_dot_and_shown_without(zone: Zone, clock: SetClock) -> None:
    """Without the dot the resolver may append its search list, and reach another machine."""
    zone.names["app.test."] = ["127.0.0.1"]
    egress = Egress(allow=["app.test"])
    async with receiving(keeping()) as receiver, make_sender(clock, egress=egress, resolver=Resolver(zone)) as sender:
        assert (await sender.send(to(f"http://App.test.:{receiver.port}/a"))).error is None
        assert receiver.requests[0].startswith(b"POST /a HTTP/1.1\r\nHost: app.test:%d\r\n" % receiver.port)
    assert zone.asked == ["app.test."]


async def test_a_name_that_does_not_exist_fails_with_the_words_of_the_resolver(zone: Zone, clock: SetClock) -> None:
    async with make_sender(clock, resolver=Resolver(zone)) as sender:
        outcome = await sender.send(to("http://unknown.test/"))
    assert outcome.error == "dns_failed unknown.test:80: Name or service not known"


async def test_a_name_server_that_hangs_holds_up_no_other_name(zone: Zone, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock, resolver=Resolver(zone), concurrency=80) as sender:
        waiting = [asyncio.create_task(sender.send(to("http://hanging.test/", timeout_s=60))) for _ in range(64)]
        assert await asyncio.to_thread(zone.was_asked.wait, 20)
        assert zone.asked == ["hanging.test"]
        assert (await sender.send(to(f"http://app.test:{receiver.port}/"))).error is None
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_a_user_whose_names_hang_has_a_quarter_of_the_look_ups_and_delays_no_other_user(
    zone: Zone, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.engine.http.resolver._LONGEST_WAIT_S", SHORT_S)
    zone.names |= dict.fromkeys((f"hanging{number}.test" for number in range(40)), None)
    async with receiving(keeping()) as receiver, make_sender(clock, resolver=Resolver(zone), concurrency=64) as sender:
        waiting = [
            asyncio.create_task(sender.send(replace(to(f"http://hanging{n}.test/", timeout_s=60), user="ann")))
            for n in range(40)
        ]
        ended, waiting_still = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while len(ended) < 8:
            more, waiting_still = await asyncio.wait(waiting_still, return_when=asyncio.FIRST_COMPLETED)
            ended |= more
        assert {(task.result().error_code, task.result().put_off) for task in ended} == {("dns_busy", True)}
        assert len(zone.asked) == 32 == len(waiting_still)
        other = await sender.send(replace(to(f"http://app.test:{receiver.port}/"), user="bob"))
        assert other.error is None
        for task in waiting_still:
            task.cancel()
        await asyncio.wait(waiting_still)


async def test_an_attempt_whose_look_up_found_no_thread_within_its_timeout_is_put_off(
    zone: Zone, clock: SetClock
) -> None:
    zone.names |= dict.fromkeys((f"hanging{number}.test" for number in range(33)), None)
    async with make_sender(clock, resolver=Resolver(zone), concurrency=64) as sender:
        waiting = [asyncio.create_task(sender.send(to(f"http://hanging{n}.test/", timeout_s=60))) for n in range(32)]
        outcome = await asyncio.create_task(sender.send(to("http://hanging32.test/", timeout_s=SHORT_S)))
        assert (outcome.error_code, outcome.put_off) == ("dns_busy", True)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_a_socket_for_which_no_descriptor_is_left_puts_the_attempt_off(clock: SetClock) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with receiving(keeping()) as receiver, make_sender(clock) as sender:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 1, limits[1])
        )
        try:
            filling = fill_descriptors()
            outcome = await sender.send(to(receiver))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for file in filling:
                file.close()
        assert outcome.error is not None and outcome.error.endswith("this service has no file descriptor left")
        assert outcome.put_off
        assert (await sender.send(to(receiver))).error is None


def fill_descriptors() -> list[socket.socket]:
    """Sockets in all descriptors that the process may still open."""
    opened = []
    with suppress(OSError):
        while True:
            opened.append(socket.socket())
    return opened


async def test_a_hanging_look_up_ends_with_the_attempt(zone: Zone, clock: SetClock) -> None:
    async with make_sender(clock, resolver=Resolver(zone)) as sender:
        outcome = await sender.send(to("http://hanging.test/", timeout_s=SHORT_S))
    assert outcome.error == f"timeout no address for hanging.test within {SHORT_S:g} s"


async def test_a_hanging_look_up_has_the_limit_of_connecting(
    zone: Zone, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.engine.http.sender.CONNECT_LIMIT_S", SHORT_S)
    async with make_sender(clock, resolver=Resolver(zone)) as sender:
        outcome = await sender.send(to("http://hanging.test/", timeout_s=300))
    assert outcome.error_code == "dns_failed"


async def test_at_most_four_addresses_are_tried(zone: Zone) -> None:
    assert len(await Resolver(zone).resolve("many.test", 80)) == MOST_ADDRESSES == 4


async def test_addresses_of_both_families_take_turns() -> None:
    zone = Zone(dual_test=["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "192.0.2.1"])
    found = await Resolver(zone).resolve("dual.test", 80)
    assert [answer["host"] for answer in found] == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]


async def test_an_address_with_a_scope_is_no_address() -> None:
    def look_up(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 2))]

    with pytest.raises(socket.gaierror, match="no address"):
        await Resolver(look_up).resolve("link.test", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "app.test"])
async def test_a_refused_address_sees_no_connection(host: str, zone: Zone, clock: SetClock) -> None:
    async with (
        receiving(keeping()) as canary,
        receiving(keeping(), host="::1") as other,
        make_sender(clock, egress=Egress(), resolver=Resolver(zone)) as sender,
    ):
        for port in (canary.port, other.port):
            outcome = await sender.send(to(f"http://{host}:{port}/"))
            assert outcome.error_code == "blocked_address"
            assert "egress.allow" in (outcome.error or "")
        assert canary.connections == other.connections == 0


@pytest.mark.parametrize("name", ["private.test", "mapped.test", "metadata.test"])
async def test_a_name_of_a_refused_address_is_refused_and_only_the_log_has_the_address(
    name: str, zone: Zone, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with make_sender(clock, resolver=Resolver(zone)) as sender:
        outcome = await sender.send(to(f"http://{name}/", timeout_s=5))
    assert outcome.error_code == "blocked_address" and outcome.error is not None
    (address, *_) = zone.names[name] or []
    assert f"{name} leads to" in outcome.error and address.rpartition(":")[2] not in outcome.error
    assert f"{name} was looked up as {address}" in caplog.text


async def test_of_a_mixed_answer_only_permitted_addresses_are_dialled(zone: Zone, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock, resolver=Resolver(zone)) as sender:
        assert (await sender.send(to(f"http://mixed.test:{receiver.port}/"))).error is None


async def test_rebinding_is_seen_at_the_socket(zone: Zone, clock: SetClock) -> None:
    """The check is about the address that is dialled, whenever it was looked up."""
    zone.names["rebind.test"] = ["127.0.0.1"]
    async with (
        receiving(keeping(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")) as receiver,
        receiving(keeping(), host="127.0.0.2") as canary,
        make_sender(clock, egress=Egress(allow=["127.0.0.1"]), resolver=Resolver(zone)) as sender,
    ):
        assert (await sender.send(to(f"http://rebind.test:{receiver.port}/"))).error is None
        zone.names["rebind.test"] = ["127.0.0.2"]
        outcome = await sender.send(to(f"http://rebind.test:{canary.port}/"))
        assert outcome.error_code == "blocked_address"
        assert canary.connections == 0


async def test_an_entry_for_a_name_opens_its_addresses_for_that_name_only(zone: Zone, clock: SetClock) -> None:
    zone.names["other.test"] = ["127.0.0.1"]
    egress = Egress(allow=["app.test"])
    async with receiving(keeping()) as receiver, make_sender(clock, egress=egress, resolver=Resolver(zone)) as sender:
        urls = [f"http://{host}:{receiver.port}/" for host in ("app.test", "other.test", "127.0.0.1", "app.test")]
        together = await asyncio.gather(*(sender.send(to(url)) for url in urls))
        assert [outcome.error_code for outcome in together] == [None, "blocked_address", "blocked_address", None]
        one_by_one = [(await sender.send(to(url))).error_code for url in urls]
        assert one_by_one == [None, "blocked_address", "blocked_address", None]


async def test_our_own_listener_is_not_called(clock: SetClock) -> None:
    egress = Egress(allow=["127.0.0.0/8"], dev=True)
    async with receiving(keeping()) as own, make_sender(clock, egress=egress) as sender:
        egress.forbid("127.0.0.1", own.port)
        outcome = await sender.send(to(own))
        assert outcome.error == (
            f"blocked_address 127.0.0.1 is this service itself (port {own.port}); "
            "only the exact address in the setting egress.allow permits it"
        )
        assert own.connections == 0


@pytest.mark.parametrize("url", ["http://0x7f000001/", "http://127.0.0.0x1/", "http://a@127.0.0.1/", "nonsense"])
async def test_a_stored_url_is_read_strictly_again(url: str, clock: SetClock) -> None:
    async with make_sender(clock) as sender:
        assert (await sender.send(to(url))).error_code == "blocked_address"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def test_a_certificate_of_a_trusted_authority_is_accepted(
    authority: Authority, zone: Zone, clock: SetClock
) -> None:
    zone.names["secure.test"] = ["127.0.0.1"]
    async with (
        receiving(keeping(), tls=authority.serving("secure.test", "127.0.0.1")) as receiver,
        make_sender(clock, tls=authority.trusting(), resolver=Resolver(zone)) as sender,
    ):
        for host in ("secure.test", "127.0.0.1", "secure.test"):
            outcome = await sender.send(to(f"https://{host}:{receiver.port}/"))
            assert (outcome.error, outcome.response_body) == (None, "ok")
        assert receiver.connections == 2  # a connection serves one name


async def test_the_certificate_of_an_absolute_name_is_that_of_the_name(
    authority: Authority, zone: Zone, clock: SetClock
) -> None:
    zone.names["secure.test."] = ["127.0.0.1"]
    shown: list[str | None] = []
    serving = authority.serving("secure.test")
    serving.sni_callback = lambda _, name, __: shown.append(name)
    async with (
        receiving(keeping(), tls=serving) as receiver,
        make_sender(clock, tls=authority.trusting(), resolver=Resolver(zone)) as sender,
    ):
        assert (await sender.send(to(f"https://secure.test.:{receiver.port}/"))).error is None
    assert shown == ["secure.test"]


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({"names": ["127.0.0.1"], "self_signed": True}, "self-signed certificate"),
        ({"names": ["other.test"]}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
    ids=["self-signed", "other name"],
)
async def test_a_certificate_that_proves_nothing_is_refused(
    certificate: dict[str, Any], reason: str, authority: Authority, clock: SetClock
) -> None:
    serving = authority.serving(*certificate["names"], self_signed=certificate.get("self_signed", False))
    async with (
        receiving(keeping(), tls=serving) as receiver,
        make_sender(clock, tls=authority.trusting()) as sender,
    ):
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/"))
        assert (outcome.error or "").startswith(f"tls_failed 127.0.0.1:{receiver.port}: {reason}")
        assert receiver.requests == []


async def test_system_authorities_are_the_default(authority: Authority, sender: Sender) -> None:
    async with receiving(keeping(), tls=authority.serving("127.0.0.1")) as receiver:
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/"))
        assert outcome.error_code == "tls_failed"


async def test_plain_http_at_an_https_address_fails_with_a_hint(sender: Sender) -> None:
    async with receiving(answering(OK)) as receiver:

        async def script(caller: Caller) -> None:
            await caller.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await caller.gone()

        receiver.script = script
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/"))
        assert outcome.error_code == "tls_failed"
        assert (outcome.error or "").endswith("is this an http port?")


def drop_out_of_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Accept one connection, read the request, and go on without encryption."""
    accepted, _ = listener.accept()
    secured = context.wrap_socket(accepted, server_side=True)
    secured.recv(4096)
    with socket.socket(fileno=secured.detach()) as plain:
        plain.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_what_breaks_tls_after_the_handshake_is_a_failure_of_tls(authority: Authority, clock: SetClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(drop_out_of_tls, listener, authority.serving("127.0.0.1")))
        async with make_sender(clock, tls=authority.trusting()) as sender:
            outcome = await sender.send(to(f"https://127.0.0.1:{listener.getsockname()[1]}/"))
        await serving
    assert outcome.error_code == "tls_failed"
    assert (outcome.error or "").endswith("is this an http port?")


async def stay_silent(caller: Caller) -> None:
    await caller.gone()


async def test_a_handshake_that_stalls_is_said_to_be_one_of_tls(sender: Sender) -> None:
    async with receiving(stay_silent) as receiver:
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/", timeout_s=SHORT_S))
        assert outcome.error == (
            f"connect_timeout the TLS handshake with 127.0.0.1:{receiver.port} (127.0.0.1) did not end within 0.2 s"
        )


async def test_a_handshake_that_stalls_has_the_limit_of_connecting(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.engine.http.sender.CONNECT_LIMIT_S", SHORT_S)
    async with receiving(stay_silent) as receiver, make_sender(clock) as sender:
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/", timeout_s=300))
        assert outcome.error_code == "connect_timeout"
        assert "TLS handshake" in (outcome.error or "")


async def test_a_receiver_that_wants_a_client_certificate_fails_the_attempt(
    authority: Authority, clock: SetClock
) -> None:
    async with (
        receiving(keeping(), tls=authority.demanding("127.0.0.1")) as receiver,
        make_sender(clock, tls=authority.trusting()) as sender,
    ):
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/"))
        assert outcome.error_code in ("tls_failed", "connection_reset", "disconnected")


async def test_a_silent_receiver_behind_tls_is_a_timeout(authority: Authority, clock: SetClock) -> None:
    async with (
        receiving(silence, tls=authority.serving("127.0.0.1")) as receiver,
        make_sender(clock, tls=authority.trusting()) as sender,
    ):
        outcome = await sender.send(to(f"https://127.0.0.1:{receiver.port}/", timeout_s=SHORT_S))
        assert outcome.error_code == "timeout"
        await receiver.ended.wait()
