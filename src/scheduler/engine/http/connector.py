"""Opens the connections that requests are sent on: aiohttp's connector, with our protocol, and through a proxy.

The only module that uses these private parts of aiohttp: the attribute ``_factory`` of ``TCPConnector``, and its
methods ``_wrap_create_connection`` and ``_wrap_existing_connection``. ``tests/test_private_hooks.py`` fails when an
upgrade changes one of them.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import Any, cast

from aiohttp import ClientConnectorError, ClientRequest, TCPConnector
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType, SocketFactoryType

from scheduler.engine.http.egress import note_connected
from scheduler.engine.http.exchange import LONGEST_IDLE_S, Exchange
from scheduler.engine.http.tunnel import Tunnel


class ExchangeConnector(TCPConnector):
    """aiohttp's connector (pool, name cache, happy eyeballs, TLS), whose connections are exchanges."""

    def __init__(
        self,
        *,
        limit: int,
        resolver: AbstractResolver,
        socket_factory: SocketFactoryType,
        tls: ssl.SSLContext | None,
        tunnel: Tunnel | None = None,
    ) -> None:
        """``limit`` is the number of connections at most, ``tls`` replaces the system's authorities.

        With a ``tunnel`` all connections are made through it.
        """
        super().__init__(
            limit=limit,
            keepalive_timeout=LONGEST_IDLE_S,
            resolver=resolver,
            socket_factory=socket_factory,
            ssl=tls or True,
        )
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(_begin))
        self._tunnel = tunnel

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[AddrInfoType],
        req: ClientRequest,
        client_error: type[Exception] = ClientConnectorError,
        **more: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Connect to the first of the addresses; the base class goes on with the next one after a failure."""
        more |= {"req": req, "client_error": client_error}
        if self._tunnel is None:
            return await super()._wrap_create_connection(*args, addr_infos=addr_infos, **more)
        try:
            opened = await self._tunnel.open(addr_infos[0], host=req.url.raw_host or "", port=req.port or 0)
        except OSError as error:
            raise client_error(req.connection_key, error) from error
        return await self._wrap_existing_connection(*args, sock=opened, **more)


def _begin() -> Exchange:
    """The protocol of a socket that was just connected; the connector then adds TLS for an https URL."""
    note_connected()
    return Exchange(asyncio.get_running_loop())
