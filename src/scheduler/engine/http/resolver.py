"""Looks up host names in threads of their own, so that a name server that does not answer delays no other look-up.

The threads are shared: a user has a quarter of them at most, and keeps each until its look-up ends, whether or not
somebody still waits for it. Who gets none in two seconds fails with ``LookupsBusyError``; the attempt is put off.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from scheduler.domain.errors import SchedulerError
from scheduler.domain.turns import Turns
from scheduler.engine.http.egress import Dial, current_dial

MOST_ADDRESSES = 4
"""Addresses of one name that are tried at most: with n dead ones the connector opens n(n+1)/2 sockets."""

_MOST_LOOKUPS = 128
_MOST_LOOKUPS_PER_USER = _MOST_LOOKUPS // 4
_LONGEST_WAIT_S = 2.0
"""Less than the time for connecting, of which the look-up itself needs a part."""
_AnswerList = list[tuple[Any, ...]]


class LookupsBusyError(OSError):
    """Too many look-ups are under way in this process."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EAGAIN, reason)


class Resolver(AbstractResolver):
    """``getaddrinfo`` in daemon threads: a look-up that hangs occupies its own thread and does not delay the exit.

    The connector looks a name up once for all requests that wait for it and caches the answer, so a name that hangs
    takes one thread. ``lookup`` has the signature of ``socket.getaddrinfo``.
    """

    def __init__(self, lookup: Callable[..., _AnswerList] = socket.getaddrinfo) -> None:
        self._lookup = lookup
        self._threads = Turns(
            at_once=_MOST_LOOKUPS,
            at_once_per_user=_MOST_LOOKUPS_PER_USER,
            most_waiting=sys.maxsize,
            what="look-ups of names",
        )

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """At most four addresses of ``host``, families by turns.

        Raises ``OSError`` when there is none, ``LookupsBusyError`` when too many look-ups are under way.
        """
        dial = current_dial()
        await self._begin(dial)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[_AnswerList] = loop.create_future()

        def settle(answers: _AnswerList, error: Exception | None) -> None:
            self._threads.end(dial.user)
            if found.done():
                return
            if error is None:
                found.set_result(answers)
            else:
                found.set_exception(error)

        def look_up() -> None:
            answers, error = [], None
            try:
                answers = self._lookup(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop may be gone by the time a name server answers
                loop.call_soon_threadsafe(settle, answers, error)

        try:
            threading.Thread(target=look_up, name=f"dns {host}", daemon=True).start()
        except RuntimeError as error:
            self._threads.end(dial.user)
            raise LookupsBusyError("the system permits no further thread for the look-up of the name") from error
        return _chosen(host, await found)

    async def _begin(self, dial: Dial) -> None:
        """Wait for a thread, by turns among users. Raises ``LookupsBusyError`` when there is none in time."""
        dial.awaits_lookup = True
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S):
                await self._threads.begin(dial.user)
        except (TimeoutError, SchedulerError):
            raise LookupsBusyError(
                "too many names are being looked up whose name servers do not answer, for this user or in all"
            ) from None
        dial.awaits_lookup = False

    async def close(self) -> None:
        """Nothing to close: threads end with their look-ups."""


def _chosen(host: str, answers: _AnswerList) -> list[ResolveResult]:
    ranked: list[tuple[int, ResolveResult]] = []
    seen: dict[int, int] = {}
    for family, _, protocol, _, address in answers:
        if family not in (socket.AF_INET, socket.AF_INET6) or (len(address) == 4 and address[3]):
            continue  # a scoped address is link-local
        seen[family] = rank = seen.get(family, 0) + 1
        result = ResolveResult(
            hostname=host,
            host=address[0],
            port=address[1],
            family=family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        ranked.append((rank, result))
    if not ranked:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    return [result for _, result in sorted(ranked, key=lambda pair: pair[0])][:MOST_ADDRESSES]
