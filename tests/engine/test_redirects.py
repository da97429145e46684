"""Redirects that are followed: each hop is a request that is checked like the first, and gets no more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest

from scheduler.engine.http.egress import Egress
from scheduler.engine.http.sender import Sender
from tests.conftest import SetClock
from tests.engine.receivers import OK, SHORT_S, Caller, Script, keeping, make_sender, receiving, silence, to

SECRETS = {"Authorization": "Bearer abc", "X-Api-Key": "k", "webhook-signature": "v1,x", "X-Team": "red"}


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def answering_in_turn(*answers: bytes) -> Script:
    """The answers one after the other, over all connections."""
    turns: Iterator[bytes] = cycle(answers)

    async def script(caller: Caller) -> None:
        while True:
            await caller.request()
            await caller.send(next(turns))

    return script


def lines(request: bytes) -> dict[bytes, bytes]:
    return dict(line.split(b": ", 1) for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:])


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, b"PUT", b"{}"), (302, b"PUT", b"{}"), (307, b"PUT", b"{}"), (308, b"PUT", b"{}"), (303, b"GET", b"")],
)
async def test_method_and_body_stay_but_303_makes_a_get(
    status: int, method: bytes, body: bytes, sender: Sender
) -> None:
    async with receiving(answering_in_turn(redirect(status, "../b?x=%20é"), OK)) as receiver:
        headers = {**SECRETS, "Content-Type": "application/json"}
        outcome = await sender.send(to(receiver, method="PUT", headers=headers, follow_redirects=1))
        assert (outcome.error, outcome.response_code, outcome.response_body) == (None, 200, "ok")
        first, second = receiver.requests
        assert first.startswith(b"PUT /hook ")
        assert second.startswith(method + b" /b?x=%20%C3%A9 HTTP/1.1\r\n")
        assert second.partition(b"\r\n\r\n")[2] == body
        sent = lines(second)
        assert sent[b"Authorization"] == b"Bearer abc", "the origin is the same"
        assert (b"Content-Type" in sent, b"webhook-signature" in sent) == (status != 303, status != 303)
        assert receiver.connections == 1


async def test_credentials_go_to_the_same_origin_and_once_dropped_stay_dropped(sender: Sender) -> None:
    async with receiving(keeping()) as first, receiving(keeping()) as second:
        first.script = answering_in_turn(redirect(307, f"http://127.0.0.1:{second.port}/b"), OK)
        second.script = keeping(redirect(307, f"http://127.0.0.1:{first.port}/c"))
        outcome = await sender.send(to(first, headers=SECRETS, follow_redirects=2))
        assert outcome.response_code == 200
        assert lines(first.requests[0]).keys() >= {name.encode() for name in SECRETS}
        for request in (second.requests[0], first.requests[1]):
            assert lines(request).keys() & {name.encode() for name in SECRETS} == {b"X-Team"}
        assert first.requests[1].startswith(b"POST /c ")


@pytest.mark.parametrize("permitted", [1, 2, 5])
async def test_one_hop_too_many_is_an_error_and_its_answer_is_stored(permitted: int, sender: Sender) -> None:
    async with receiving(keeping(redirect(302, "/again"))) as receiver:
        outcome = await sender.send(to(receiver, follow_redirects=permitted))
        assert len(receiver.requests) == permitted + 1
    assert outcome.error == f"too_many_redirects more than {permitted}; the next would be to /again"
    assert (outcome.response_code, outcome.response_headers["Location"]) == (302, "/again")


@pytest.mark.parametrize(
    "location", ["http://{host}:{port}/", "//{host}:{port}/", "http://name.test:{port}/", "http://[::ffff:10.0.0.1]/"]
)
async def test_a_hop_to_an_address_that_is_not_for_webhooks_is_not_made(location: str, clock: SetClock) -> None:
    async with receiving(keeping(), host="127.0.0.2") as canary, receiving(keeping()) as receiver:
        receiver.script = keeping(redirect(302, location.format(host="127.0.0.2", port=canary.port)))
        async with make_sender(clock, egress=Egress(allow=["127.0.0.1"]), resolver=Zone()) as sender:
            outcome = await sender.send(to(receiver, follow_redirects=5))
        assert canary.connections == 0
    assert outcome.error_code == "blocked_address"
    assert outcome.response_code is None


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user:secret@127.0.0.1/",
        "http://0x7f000001/",
        "http://127.0.0.1:0/",
        "http://[::1/",
        "/a\\b",
        "/\x01",
        "http://{{ job.id }}/",
    ],
)
async def test_a_location_that_no_webhook_could_have_is_not_followed(location: str, sender: Sender) -> None:
    async with receiving(keeping(redirect(302, location))) as receiver:
        outcome = await sender.send(to(receiver, follow_redirects=5))
        assert len(receiver.requests) == 1
    assert (outcome.error or "").startswith("http_302 redirect to ")


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_other_statuses_of_the_class_are_final(status: int, sender: Sender) -> None:
    async with receiving(keeping(redirect(status, "/b"))) as receiver:
        outcome = await sender.send(to(receiver, follow_redirects=5))
        assert (len(receiver.requests), outcome.response_code, outcome.error_code) == (1, status, "http")


async def test_a_redirect_without_a_location_is_final(sender: Sender) -> None:
    async with receiving(keeping(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")) as receiver:
        outcome = await sender.send(to(receiver, follow_redirects=5))
        assert (outcome.error, outcome.response_code) == ("http_302 Found", 302)


async def test_the_total_clock_covers_all_hops(sender: Sender) -> None:
    async with receiving(silence) as slow, receiving(keeping()) as receiver:
        receiver.script = keeping(redirect(302, f"http://127.0.0.1:{slow.port}/"))
        outcome = await sender.send(to(receiver, follow_redirects=5, timeout_s=SHORT_S))
        assert outcome.error_code == "timeout"
        assert len(slow.requests) == 1


async def test_a_redirect_whose_body_never_ends_is_followed_at_once(sender: Sender) -> None:
    endless = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    async with receiving(answering_in_turn(endless, OK)) as receiver:
        outcome = await sender.send(to(receiver, follow_redirects=1))
        assert (outcome.response_code, receiver.connections) == (200, 2)


class Zone:
    """Every name is one address that is not permitted."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": "127.0.0.2", "port": port, "family": 2, "proto": 6, "flags": 0}]

    async def close(self) -> None:
        pass
