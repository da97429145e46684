"""The bytes of a request, as HTTP/1.1 writes it (RFC 9112)."""

from __future__ import annotations

import functools

from scheduler.domain.webhooks.request import Request
from scheduler.domain.webhooks.url import origin_of

_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})


@functools.lru_cache(maxsize=4096)
def split_origin(url: str) -> tuple[str, str]:
    """The origin of a URL, and its path and query as they stand in a request line. Raises ``ValueError``."""
    origin = origin_of(url)
    if not origin or " " in url or not (url.isascii() and url.isprintable()):
        raise ValueError("the URL has no host, or characters that are not percent-encoded")
    path = url.removeprefix(origin).partition("#")[0]
    return origin, path if path.startswith("/") else f"/{path}"


def wire_of(request: Request, path: str, start: str) -> bytes:
    """The whole request: header block and body. ``start`` is the end of the request line, and the ``Host`` header.

    Raises ``ValueError`` for a header with a line break, which a receiver would read as several headers.
    """
    headers, body = request.headers, request.body
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}\r\n")
    elif request.method in _WITH_LENGTH:
        lines.append("Content-Length: 0\r\n")
    head = f"{request.method} {path}{start}{''.join(lines)}\r\n"
    breaks = len(lines) + 3
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise ValueError("a header contains a line break or NUL")
    wire = head.encode("latin-1")
    return wire + body if body else wire
