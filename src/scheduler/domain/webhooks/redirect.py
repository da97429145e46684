"""The request that a redirect leads to (RFC 9110, 15.4)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin

from scheduler.domain.errors import invalid
from scheduler.domain.webhooks.contexts import encode_url
from scheduler.domain.webhooks.request import LONGEST_SENT_URL, Request
from scheduler.domain.webhooks.url import Target, origin_of, parse_target, split_url
from scheduler.domain.webhooks.webhook import is_credential

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses that are followed. 300 and 304 are not."""

_SIGNATURE = "webhook-signature"


def redirected(request: Request, status: int, location: str) -> Request:
    """The request to which an answer with ``status`` and ``location`` sends ``request``.

    Method and body stay, but 303 makes it a GET without a body. Another origin gets neither header values that the API
    masks nor the signature nor the client's certificate; what was left out once is not there on further hops either.

    Raises the ``VALIDATION_ERROR`` of ``url`` for a location that no webhook could have.
    """
    target, url = _resolved(request.url, location)
    headers, body, method, tls = dict(request.headers), request.body, request.method, request.tls
    dropped: set[str] = set()
    if status == 303:
        # the signature is one of the body
        dropped |= {"content-type", *({_SIGNATURE} if body else ())}
        method, body = "GET", None
    if _origin(target) != _origin(parse_target(origin_of(request.url))):
        dropped |= {_SIGNATURE, *(name.lower() for name in headers if is_credential(name))}
        tls = tls and tls.without_certificate()
    return replace(
        request,
        method=method,
        url=url,
        headers={name: value for name, value in headers.items() if name.lower() not in dropped},
        body=body,
        tls=tls,
        hops=request.hops + 1,
    )


def _resolved(base: str, location: str) -> tuple[Target, str]:
    try:
        url = urljoin(base, location.strip(" \t").replace(" ", "%20"))
    except ValueError:
        raise invalid("url", "the location is no URL") from None
    target, rest = split_url(url, longest=LONGEST_SENT_URL)
    path, question, query = rest.partition("#")[0].partition("?")
    sent = f"{target.scheme}://{target.authority}{encode_url(path) or '/'}{question}{encode_url(query)}"
    return target, sent


def _origin(target: Target) -> tuple[str, str, int]:
    return target.scheme, target.host, target.port
