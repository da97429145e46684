from __future__ import annotations

import errno
import ipaddress
import socket

import pytest

from scheduler.domain.errors import SchedulerError
from scheduler.engine.http.egress import Egress, dialling
from tests.checks import accepts


def refusal(egress: Egress, address: str, port: int = 80, name: str = "") -> str | None:
    return egress.problem_with_address(ipaddress.ip_address(address), port, name=name or address)


def opens(egress: Egress, address: str, port: int = 80, name: str = "") -> bool:
    return refusal(egress, address, port, name) is None


PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "198.20.0.1"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.0.1", "::1", "fd12::1"]
METADATA = [
    "169.254.169.254",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
]
NOBODY = ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"]
SPECIAL = [
    "100.64.0.1",
    "100.127.255.254",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.9",
    "240.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "3fff::1",
    "5f00::1",
    "fec0::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address: str) -> None:
    assert opens(Egress(), address)


@pytest.mark.parametrize("address", PRIVATE + METADATA + NOBODY + SPECIAL)
def test_all_others_are_closed_and_the_refusal_names_the_setting(address: str) -> None:
    reason = refusal(Egress(), address)
    assert reason is not None
    assert "egress.allow" in reason


@pytest.mark.parametrize("address", PRIVATE)
def test_dev_opens_loopback_and_private_networks(address: str) -> None:
    assert opens(Egress(dev=True), address)


@pytest.mark.parametrize("address", METADATA + NOBODY + SPECIAL)
def test_dev_opens_nothing_else(address: str) -> None:
    assert not opens(Egress(dev=True), address)


@pytest.mark.parametrize("address", METADATA + NOBODY)
def test_no_network_and_no_name_opens_what_takes_an_exact_address(address: str) -> None:
    assert not opens(Egress(allow=["0.0.0.0/0", "::/0", "app"], dev=True), address, name="app")
    assert opens(Egress(allow=[address]), address)


@pytest.mark.parametrize("address", PRIVATE + SPECIAL)
def test_a_network_opens_what_lies_in_it(address: str) -> None:
    assert opens(Egress(allow=["0.0.0.0/0", "::/0"]), address)


def test_an_entry_is_for_its_port_or_for_all() -> None:
    egress = Egress(allow=["10.0.0.1:9000", "10.1.0.0/16", "10.2.0.0/16:443", "[fd00::1]:8080", "fd01::1"])
    assert opens(egress, "10.0.0.1", 9000)
    assert not opens(egress, "10.0.0.1", 9001)
    assert opens(egress, "10.1.2.3", 1)
    assert opens(egress, "10.2.2.3", 443)
    assert not opens(egress, "10.2.2.3", 80)
    assert opens(egress, "fd00::1", 8080)
    assert not opens(egress, "fd00::1", 80)
    assert opens(egress, "fd01::1", 80)


def test_an_address_entry_counts_whatever_name_led_there() -> None:
    egress = Egress(allow=["10.0.0.1"])
    assert opens(egress, "10.0.0.1", name="any.example")
    assert opens(egress, "::ffff:10.0.0.1")


def test_a_name_entry_counts_for_that_name_only() -> None:
    egress = Egress(allow=["App", "db.internal.:5432", "bücher.test"])
    assert opens(egress, "172.18.0.3", name="app")
    assert not opens(egress, "172.18.0.3", name="app.example")
    assert not opens(egress, "172.18.0.3")
    assert opens(egress, "10.0.0.9", 5432, name="db.internal")
    assert not opens(egress, "10.0.0.9", 5433, name="db.internal")
    assert opens(egress, "10.0.0.9", name="xn--bcher-kva.test")


def test_a_mapped_network_is_the_network_it_maps() -> None:
    assert opens(Egress(allow=["::ffff:10.0.0.0/104"]), "10.1.2.3")


def test_our_own_listener_takes_its_exact_address() -> None:
    for allow, is_open in (([], False), (["127.0.0.0/8"], False), (["127.0.0.1:8000"], True), (["127.0.0.1"], True)):
        egress = Egress(allow=allow, dev=not is_open)
        egress.forbid("127.0.0.1", 8000)
        assert opens(egress, "127.0.0.1", 8000) is is_open
        assert opens(egress, "127.0.0.1", 8001) is (egress.problem_with_address(LOOPBACK, 8001, name="") is None)


LOOPBACK = ipaddress.ip_address("127.0.0.1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_listener_everywhere_is_ours_on_every_address_of_the_machine(host: str) -> None:
    egress = Egress(allow=["127.0.0.0/8", "10.0.0.0/8", "::1/128"], dev=True)
    egress.forbid(host, 8000)
    assert not opens(egress, "127.0.0.1", 8000)
    assert not opens(egress, "127.9.9.9", 8000)
    assert opens(egress, "127.0.0.1", 8001)
    assert opens(egress, "8.8.8.8", 8000)


def test_a_private_neighbour_on_our_port_is_not_us() -> None:
    egress = Egress(allow=["192.168.0.0/16"])
    egress.forbid("127.0.0.1", 8000)
    assert opens(egress, "192.168.77.77", 8000)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1#@example.test/",
        "http://127。0。0。1/",
        "http://[::1]:8080/",
        "http://[::ffff:7f00:1]/",
        "http://localhost/",
        "http://LOCALHOST:8000/",
        "http://localhost./",
        "http://" + "".join(chr(ord(letter) + 0xFEE0) for letter in "localhost"),  # full-width letters
        "http://a.localhost/",
        "http://localhost.localdomain/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_addresses_and_fixed_names_are_refused_at_save(url: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        Egress().check_url(url)
    assert refused.value.code == "BLOCKED_TARGET"
    assert refused.value.errors is not None
    assert "egress.allow" in refused.value.errors["url"][0]


@pytest.mark.parametrize(
    "url",
    ["https://example.com/", "http://app:8080/", "http://8.8.8.8/", "http://127.0.0.1.nip.test/", "http://metadata/"],
)
def test_other_names_are_judged_when_they_are_dialled(url: str) -> None:
    assert accepts(Egress().check_url, url)


@pytest.mark.parametrize(
    ("egress", "url", "accepted"),
    [
        (Egress(allow=["127.0.0.0/8"]), "http://localhost:3000/", True),
        (Egress(allow=["::1"]), "http://localhost:3000/", True),
        (Egress(allow=["localhost:3000"]), "http://localhost:3000/", True),
        (Egress(dev=True), "http://localhost:3000/", True),
        (Egress(allow=["localhost:3000"]), "http://localhost:3001/", False),
        (Egress(dev=True), "http://metadata.google.internal/", False),
    ],
)
def test_what_the_operator_permits_can_be_saved(egress: Egress, url: str, accepted: bool) -> None:
    assert accepts(egress.check_url, url) is accepted


def test_a_malformed_url_is_a_validation_error() -> None:
    with pytest.raises(SchedulerError) as refused:
        Egress().check_url("ftp://example.com/")
    assert refused.value.code == "VALIDATION_ERROR"


def test_the_socket_factory_opens_or_refuses() -> None:
    egress = Egress(allow=["app"])
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    dial = dialling("app")
    with egress.socket_factory(info) as opened:
        assert opened.family == socket.AF_INET
    assert dial.address == "127.0.0.1"
    dial = dialling("elsewhere")
    with pytest.raises(OSError, match="elsewhere leads to an address that is not public") as refused:
        egress.socket_factory(info)
    assert (refused.value.errno, refused.value.strerror) == (errno.EACCES, dial.blocked)
