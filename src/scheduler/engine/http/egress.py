"""Which addresses may be connected to.

The check when a socket is opened is the one that protects. The check when a webhook is saved reports early what can be
known without a look-up.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp.connector import AddrInfoType

from scheduler.domain.errors import invalid
from scheduler.domain.webhooks.egress_rule import parse_egress_rule
from scheduler.domain.webhooks.url import (
    Address,
    Target,
    is_denied,
    is_guarded,
    is_local,
    parse_target,
    unwrap,
)

_LOOPBACK: tuple[Address, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
_METADATA: tuple[Address, ...] = (ipaddress.IPv4Address("169.254.169.254"),)

# Probes on a connection that waits for an answer: a firewall on the way forgets one that is idle for some minutes.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dial:
    """One attempt to connect: the host name, and the last of its addresses that a socket was opened for."""

    name: str
    user: str = ""
    """For whom; look-ups of names are counted for them."""
    address: str | None = None
    is_connected: bool = False
    """A socket is connected; what may be missing is TLS."""
    awaits_lookup: bool = False
    """Its look-up waits for a thread."""
    blocked: str | None = None
    """Why the first of its addresses that is not permitted is not."""


_dial: ContextVar[Dial | None] = ContextVar("dial", default=None)


def dialling(name: str, user: str = "") -> Dial:
    """Begin to connect: until this task connects to another host, its sockets are checked as those of ``name``."""
    dial = Dial(name, user)
    _dial.set(dial)
    return dial


def current_dial() -> Dial:
    """The attempt to connect for which this task runs."""
    return _dial.get() or Dial("")


def note_connected() -> None:
    """Record that a socket of this task is connected."""
    dial = _dial.get()
    if dial is not None:
        dial.is_connected = True


class Egress:
    """Permits outgoing connections to public addresses, and to what ``egress.allow`` lists.

    ``allow`` holds the texts that ``parse_egress_rule`` reads; raises its ``ValueError``. ``dev`` opens loopback and
    private networks. Neither a network nor a name nor ``dev`` opens metadata services, multicast, 0.0.0.0/8 or our own
    listener: those need their exact address in ``allow``.
    """

    def __init__(self, *, allow: Sequence[str] = (), dev: bool = False) -> None:
        self.permit(allow)
        self._dev = dev
        self._own: set[tuple[Address, int]] = set()
        self._own_everywhere: set[int] = set()

    def permit(self, allow: Sequence[str]) -> None:
        """Replace what ``allow`` lists, from the next connection on. Raises as ``parse_egress_rule`` does."""
        self._rules = tuple(map(parse_egress_rule, allow))

    def forbid(self, host: str, port: int) -> None:
        """Refuse our own listener at this address; an unspecified one (``0.0.0.0``, ``::``) is all of this machine."""
        address = unwrap(ipaddress.ip_address(host.partition("%")[0]))
        if address.is_unspecified:
            self._own_everywhere.add(port)
        else:
            self._own.add((address, port))

    def check_url(self, url: str) -> None:
        """Raises ``VALIDATION_ERROR`` or ``BLOCKED_TARGET`` of ``url`` for a URL to which nothing could be sent.

        Checks addresses, and names with a fixed address; other names are not looked up.
        """
        target = parse_target(url)
        problems = [
            self.problem_with_address(address, target.port, name=target.host) for address in _known_addresses(target)
        ]
        if problems and None not in problems:
            raise invalid("url", str(problems[0]), code="BLOCKED_TARGET")

    def socket_factory(self, addr_info: AddrInfoType) -> socket.socket:
        """An unconnected socket for a connector. Raises ``OSError`` (``EACCES``) for an address that is blocked."""
        self.check_address(addr_info)
        return new_socket(*addr_info[:3])

    def check_address(self, addr_info: AddrInfoType) -> None:
        """Record that this task connects to the address. Raises ``OSError`` as ``socket_factory`` does."""
        address = addr_info[4]
        dial = _dial.get()
        problem = self.problem_with_address(
            ipaddress.ip_address(address[0].partition("%")[0]), address[1], name=dial.name if dial else ""
        )
        if problem is not None:
            if dial is not None:
                dial.blocked = dial.blocked or problem
                if dial.name != address[0]:
                    log.info("%s was looked up as %s and is blocked: %s", dial.name, address[0], problem)
            raise OSError(errno.EACCES, problem)
        if dial is not None:
            dial.address = address[0]

    def problem_with_address(self, address: Address, port: int, *, name: str) -> str | None:
        """Why ``address``, found under ``name`` or written as it, must not be connected to; ``None`` when it may.

        The owner of the webhook reads it, so it has no address that they did not write themselves.
        """
        subject = f"{address} is" if name in ("", str(address)) else f"{name} leads to"
        address = unwrap(address)
        if any(rule.names_address(address, port) for rule in self._rules):
            return None
        if self._is_own(address, port):
            return f"{subject} this service itself (port {port}); {_ONLY_EXACT}"
        if is_guarded(address):
            return f"{subject} a metadata, multicast or unspecified address; {_ONLY_EXACT}"
        if not is_denied(address) or (self._dev and is_local(address)):
            return None
        if any(rule.permits(address, port, name=name) for rule in self._rules):
            return None
        return (
            f"{subject} an address that is not public; the setting egress.allow can permit it, its network or its name"
        )

    def _is_own(self, address: Address, port: int) -> bool:
        return (address, port) in self._own or (port in self._own_everywhere and _is_this_machine(address))


def new_socket(family: int, kind: int, protocol: int) -> socket.socket:
    """An unconnected socket that probes a connection on which nothing arrives."""
    opened = socket.socket(family, kind, protocol)
    for level, option, value in _KEEP_ALIVE:
        opened.setsockopt(level, option, value)
    return opened


_ONLY_EXACT = "only the exact address in the setting egress.allow permits it"


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
