"""Which addresses may be dialled. The check at the socket is the one that counts; the one at save is a courtesy."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp.connector import AddrInfoType

from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.webhooks.target import (
    Address,
    Network,
    Target,
    canonical_host,
    is_denied,
    is_guarded,
    is_local,
    parse_target,
    unwrap,
)

BLOCKED = "blocked_address"
"""The code with which the text of a refused socket begins."""

_ENTRY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<other>[^:\s\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LOOPBACK: tuple[Address, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
_METADATA: tuple[Address, ...] = (ipaddress.IPv4Address("169.254.169.254"),)


@dataclass(slots=True)
class Dial:
    """One attempt to connect: the name that leads to addresses, and the last of them that a socket was opened for."""

    name: str
    address: str | None = None


_dial: ContextVar[Dial | None] = ContextVar("dial", default=None)


def dialling(name: str) -> Dial:
    """Say for the rest of this task which name its sockets are for; an entry for a name opens them for no other."""
    dial = Dial(name)
    _dial.set(dial)
    return dial


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One element of ``egress.allow``: a network or a name, for one port or for all."""

    network: Network | None
    name: str | None
    port: int | None

    def names(self, address: Address, port: int) -> bool:
        """Is it this very address?"""
        network = self.network
        if network is None or self.port not in (None, port):
            return False
        return network.prefixlen == network.max_prefixlen and network.network_address == address

    def opens(self, address: Address, port: int, name: str) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.name == name


class Egress:
    """The rules for outgoing connections: public addresses, and what ``egress.allow`` lists.

    ``allow`` holds networks, addresses and names, each with an optional port; raises ``ValueError`` with a sentence for
    anything else. ``dev`` opens loopback and private networks. Neither a network nor a name nor ``dev`` opens metadata
    services, multicast, 0.0.0.0/8 or our own listener: those take their exact address in ``allow``.
    """

    def __init__(self, *, allow: Sequence[str] = (), dev: bool = False) -> None:
        self._entries = tuple(map(_entry, allow))
        self._dev = dev
        self._own: set[tuple[Address, int]] = set()
        self._own_everywhere: set[int] = set()

    def forbid(self, host: str, port: int) -> None:
        """Our own listener is at this address; an unspecified one (``0.0.0.0``, ``::``) means all of this machine."""
        address = unwrap(ipaddress.ip_address(host.partition("%")[0]))
        if address.is_unspecified:
            self._own_everywhere.add(port)
        else:
            self._own.add((address, port))

    def check_url(self, url: str) -> None:
        """Refuse what could never be sent: ``VALIDATION_ERROR`` or ``BLOCKED_TARGET`` of ``url``.

        Only literal addresses and names whose address is fixed are judged; other names are not looked up.
        """
        target = parse_target(url)
        refusals = [self.refusal(address, target.port, name=target.host) for address in _known_addresses(target)]
        if refusals and None not in refusals:
            raise invalid("url", str(refusals[0]), code="BLOCKED_TARGET")

    def socket_factory(self, addr_info: AddrInfoType) -> socket.socket:
        """For a connector: an unconnected socket, or ``OSError`` (``EACCES``, ``blocked_address …``)."""
        family, kind, protocol, _, address = addr_info
        dial = _dial.get()
        refusal = self.refusal(
            ipaddress.ip_address(address[0].partition("%")[0]), address[1], name=dial.name if dial else ""
        )
        if refusal is not None:
            raise OSError(errno.EACCES, f"{BLOCKED} {refusal}")
        if dial is not None:
            dial.address = address[0]
        return socket.socket(family, kind, protocol)

    def refusal(self, address: Address, port: int, *, name: str) -> str | None:
        """Why ``address``, found under ``name`` (or being it), must not be dialled; ``None`` when it may."""
        address = unwrap(address)
        if any(entry.names(address, port) for entry in self._entries):
            return None
        if self._is_own(address, port):
            return f"{address} port {port} is this service itself; {_ONLY_EXACT}"
        if is_guarded(address):
            return f"{address} is a metadata, multicast or unspecified address; {_ONLY_EXACT}"
        if not is_denied(address) or (self._dev and is_local(address)):
            return None
        if any(entry.opens(address, port, name) for entry in self._entries):
            return None
        what = str(address) if name in ("", str(address)) else f"{address} ({name})"
        return f"{what} is no public address; the setting egress.allow can permit it, its network or its name"

    def _is_own(self, address: Address, port: int) -> bool:
        return (address, port) in self._own or (port in self._own_everywhere and _is_this_machine(address))


_ONLY_EXACT = "only the exact address in the setting egress.allow permits it"


def _entry(text: str) -> _Entry:
    network = _network(text)
    if network is not None:
        return _Entry(network=network, name=None, port=None)
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError(f'egress.allow: "{text}" is no network (172.18.0.0/16), address or host name')
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f'egress.allow: "{text}": the port must be 1 to 65535')
    network = _network(match["six"] or match["other"])
    if network is not None:
        return _Entry(network=network, name=None, port=port)
    try:
        return _Entry(network=None, name=canonical_host(match["other"] or ""), port=port)
    except SchedulerError:
        raise ValueError(f'egress.allow: "{text}" is no network (172.18.0.0/16), address or host name') from None


def _network(text: str) -> Network | None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        # addresses are unwrapped before they are compared
        return ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _known_addresses(target: Target) -> tuple[Address, ...]:
    host, address = target.host, target.address
    if address is not None:
        return (address,)
    if host in ("localhost", "localhost.localdomain") or host.endswith(".localhost"):
        return _LOOPBACK
    return _METADATA if host == "metadata.google.internal" else ()


def _is_this_machine(address: Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
