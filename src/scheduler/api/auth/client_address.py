"""The address of the client, for the audit: the peer, or the one that a trusted proxy names in ``X-Forwarded-For``."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import hdrs, web

from scheduler.api.services import REQUEST_ID, SERVICES, USER
from scheduler.domain.accounts.audit import Actor

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def actor_of(request: web.Request) -> Actor:
    """The caller as audit entries name them."""
    now = request.app[SERVICES].clock.now()
    return Actor(name=request[USER], at=now, address=address_of(request), request_id=request[REQUEST_ID])


def address_of(request: web.Request) -> str | None:
    """The address of the client of this request, see ``client_address``."""
    given = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
    return client_address(request.remote, given, request.app[SERVICES].config.server.trusted_proxies)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted_proxies: tuple[str, ...]) -> str | None:
    """The last address that is not one of a trusted proxy; ``None`` when the peer has no address.

    Each proxy appends the address of its client to ``X-Forwarded-For``, so the header is read from its end, as long as
    the writer of an entry is trusted. Entries before that may be invented by the client.
    """
    address = _parsed(peer or "")
    if address is None or not _is_trusted(address, trusted_proxies):
        return peer
    for text in reversed(",".join(forwarded_for).split(",")):
        before = _parsed(text)
        if before is None:
            break
        address = before
        if not _is_trusted(address, trusted_proxies):
            break
    return str(address)


def _is_trusted(address: Address, proxies: tuple[str, ...]) -> bool:
    return any(address in network for network in _networks(proxies))


@lru_cache(maxsize=8)
def _networks(proxies: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(proxy) for proxy in proxies]


def _parsed(text: str) -> Address | None:
    """The address in an entry, which may have a port: ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[…]:80``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
