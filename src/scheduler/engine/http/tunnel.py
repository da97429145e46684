"""Connections through a proxy: a tunnel (HTTP CONNECT, RFC 9110, 9.3.6) to an address that was checked here.

The proxy gets the address, not the name, so that it connects to what was checked; for http as for https.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from scheduler.domain.webhooks.url import is_address
from scheduler.engine.http.egress import Egress, new_socket

_LONGEST_ANSWER = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r?\n")


class ProxyError(OSError):
    """The proxy cannot be reached, or does not make the connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """The address of the proxy, and the credentials for it."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """The proxy of ``http://USER:PASSWORD@HOST:PORT``. The configuration has checked the text."""
        parts = urlsplit(url)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return cls(
            host=parts.hostname or "",
            port=parts.port or 80,
            authorization=f"Basic {base64.b64encode(login.encode()).decode()}" if parts.username else None,
        )


class Tunnel:
    """Opens sockets that are connected through ``proxy``.

    With ``by_name`` the proxy gets names and looks them up itself, and decides which addresses it connects to.
    """

    def __init__(self, proxy: Proxy, *, egress: Egress, by_name: bool = False) -> None:
        self._proxy = proxy
        self._egress = egress
        self.by_name = by_name

    async def open(self, address: AddrInfoType, *, host: str, port: int) -> socket.socket:
        """A socket that is connected to ``address``, one of those of ``host``.

        Raises ``OSError`` (``EACCES``) for an address that webhooks may not reach, and
        ``ProxyError``.
        """
        if self.by_name and not is_address(host):
            target = f"{host.rstrip('.')}:{port}"
        else:
            self._egress.check_address(address)
            target = f"[{address[4][0]}]:{port}" if ":" in address[4][0] else f"{address[4][0]}:{port}"
        opened = await self._connected()
        try:
            await self._ask(opened, target)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _connected(self) -> socket.socket:
        loop, proxy = asyncio.get_running_loop(), self._proxy
        problem = ""
        try:
            found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
        except OSError as error:
            found, problem = [], error.strerror or ""
        for family, kind, protocol, _, address in found:
            opened = new_socket(family, kind, protocol)
            try:
                opened.setblocking(False)
                await loop.sock_connect(opened, address)
            except BaseException as error:
                opened.close()
                if not isinstance(error, OSError):
                    raise
                problem = error.strerror or type(error).__name__
                continue
            return opened
        raise ProxyError(0, f"the proxy {proxy.host}:{proxy.port} cannot be reached: {problem}")

    async def _ask(self, opened: socket.socket, target: str) -> None:
        loop, proxy = asyncio.get_running_loop(), self._proxy
        login = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        answer = b""
        try:
            await loop.sock_sendall(opened, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode())
            while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_ANSWER:
                part = await loop.sock_recv(opened, 4096)
                if not part:
                    break
                answer += part
        except OSError as error:
            raise ProxyError(0, f"the proxy {proxy.host}:{proxy.port} broke the connection: {error.strerror}") from None
        status = _STATUS.match(answer)
        if status is None or not answer.endswith(b"\r\n\r\n") or not status[1].startswith(b"2"):
            said = f"{status[1].decode()} {(status[2] or b'').decode('latin-1')}" if status else "no valid answer"
            raise ProxyError(0, f"the proxy {proxy.host}:{proxy.port} does not connect to {target}: {said}")


class NoResolver(AbstractResolver):
    """A resolver that looks nothing up, for a proxy that does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="0.0.0.0", port=port, family=socket.AF_INET, proto=0, flags=0)]  # noqa: S104

    async def close(self) -> None:
        pass
