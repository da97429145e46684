"""The elements of the setting ``egress.allow``: private networks and hosts that webhooks may reach."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.url import Address, Network, canonical_host

_WITH_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<other>[^:\s\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressRule:
    """A network or a host name, one of the two, for one port or for all."""

    network: Network | None = None
    """IPv4 where the rule has IPv4 mapped to IPv6, because addresses are unwrapped before they are compared."""
    name: str | None = None
    """In the form of ``canonical_host``."""
    port: int | None = None

    def names_address(self, address: Address, port: int) -> bool:
        """Is the rule for exactly this address, and not for a network or a name?"""
        network = self.network
        if network is None or self.port not in (None, port):
            return False
        return network.prefixlen == network.max_prefixlen and network.network_address == address

    def permits(self, address: Address, port: int, *, name: str) -> bool:
        """Does the rule allow ``address``, to which ``name`` was resolved?"""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.name == name


def parse_egress_rule(text: str) -> EgressRule:
    """Parse an element of ``egress.allow``: NETWORK, ADDRESS or NAME, each with ``:PORT`` or without.

    An IPv6 address is in brackets when a port follows. Raises ``ValueError`` with a message that quotes the text.
    """
    if (network := _network(text)) is not None:
        return EgressRule(network=network)
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        raise _malformed(text)
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f'"{text}": the port must be 1 to 65535')
    if (network := _network(match["six"] or match["other"])) is not None:
        return EgressRule(network=network, port=port)
    try:
        return EgressRule(name=canonical_host(match["other"] or ""), port=port)
    except SchedulerError:
        raise _malformed(text) from None


def _malformed(text: str) -> ValueError:
    return ValueError(f'"{text}" is no network (172.18.0.0/16), address or host name')


def _network(text: str) -> Network | None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network
