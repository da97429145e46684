"""Where a request comes from, for the record: the peer, or who a proxy says is behind it, if that proxy is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import hdrs, web

from scheduler.api.services import REQUEST_ID, SERVICES, USER
from scheduler.domain.accounts.audit import Actor

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def actor_of(request: web.Request) -> Actor:
    """Who asks, as the audit names them."""
    services = request.app[SERVICES]
    given = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
    return Actor(
        name=request[USER],
        at=services.clock.now(),
        address=client_address(request.remote, given, services.config.server.trusted_proxies),
        request_id=request[REQUEST_ID],
    )


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted_proxies: tuple[str, ...]) -> str | None:
    """The last address that no trusted proxy has; ``None`` when the peer has none.

    Each proxy appends who it heard from to ``X-Forwarded-For``, so that is read from its end, for as long as the one
    who wrote it is trusted. What stands before is the client's own claim.
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
