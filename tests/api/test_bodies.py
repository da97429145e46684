"""Bodies: what is no JSON object in UTF-8 within the limit is refused with a reason, never with status 500."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from scheduler.api.http import decoder
from scheduler.api.http.decoder import decode
from scheduler.domain.errors import SchedulerError
from scheduler.domain.events import RequestAnswered
from tests.api.conftest import Api
from tests.event_log import EventLog

PLAIN = {"name": "job", "schedule": "0 2 * * *"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"hello", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b"1", "body"),
        (b"{} {}", "body"),
        (b'{"a":1,}', "body"),
        (b"{'a':1}", "body"),
        (b'{"a":\x80}', "body"),
        (b'\xef\xbb\xbf{"a":1}', "body"),
        ('{"a":1}'.encode("utf-16"), "body"),
        (b'{"a":NaN}', "body"),
        (b'{"a":Infinity}', "body"),
        (b'{"a":-Infinity}', "body"),
        (b'{"a":1e999}', "body"),
        (b'{"a":' + b"9" * 100_000 + b"}", "body"),
        (b'{"a":0.' + b"9" * 100_000 + b"}", "body"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"a":' * 100_000, "body"),
        (b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", "body"),
        (b'{"a":1,"a":2}', "a"),
        (b'{"o":{"a":1,"b":0,"a":1}}', "a"),
        (b'{"a":"x\\u0000"}', "a"),
        (b'{"a\\u0000":1}', "body"),
        (b'{"o":[{"a":"\\ud800"}]}', "o.0.a"),
        (b'{"a":"\x00"}', "body"),
        (b'{"a":"\n"}', "body"),
    ],
)
def test_bytes_that_are_no_json_object_are_refused(body: bytes, field: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        decode(body)
    assert refused.value.code == "VALIDATION_ERROR"
    assert list(refused.value.errors or ()) == [field]
    json.dumps(refused.value.errors).encode()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": [None, True, -1, 1.5, "x", {"b": []}]},
        {"": "\U0001f600 \u00fc"},
        {"a": 2**64, "b": 10**300},
        {"deep": json.loads("[" * 60 + "]" * 60)},
        {"wide": [[1]] * 1000},
    ],
)
def test_any_json_object_is_read_as_it_was_written(body: object) -> None:
    assert decode(json.dumps(body).encode()) == body
    assert decode(json.dumps(body, ensure_ascii=False, indent=2).encode()) == body


async def test_nothing_malformed_is_stored(api: Api) -> None:
    for body in (b"{", b"[]", b'{"name":"a","name":"b","schedule":"0 2 * * *"}', b"[" * 50_000):
        reply = await api.post("/api/jobs", raw=body)
        assert (reply.status, reply.json["error_code"]) == (400, "VALIDATION_ERROR")
    assert (await api.get("/api/accounts")).json["total"] == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/jsonp",
        "text/json",
    ],
)
async def test_other_media_types_are_refused(api: Api, content_type: str) -> None:
    reply = await api.post("/api/jobs", PLAIN, headers={"Content-Type": content_type})
    assert (reply.status, reply.json["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "Application/JSON", "application/vnd.jobs+json"]
)
async def test_json_goes_by_several_names(api: Api, content_type: str) -> None:
    assert (await api.post("/api/jobs", PLAIN, headers={"Content-Type": content_type})).status == 201


async def test_compressed_bodies_are_refused(api: Api) -> None:
    for encoding in ("gzip", "deflate", "br", "x"):
        reply = await api.post("/api/jobs", PLAIN, headers={"Content-Encoding": encoding})
        assert reply.status == 415, encoding


async def test_a_body_beyond_the_limit_is_refused(api: Api) -> None:
    reply = await api.post("/api/jobs", {**PLAIN, "note": "x" * 1_100_000})
    assert (reply.status, reply.json["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_missing_body_is_refused_where_one_is_needed(api: Api) -> None:
    job = await api.new_job()
    for method, path in (("POST", "/api/jobs"), ("PUT", f"/api/jobs/{job['id']}"), ("POST", "/api/dead-letter/purge")):
        reply = await api.call(method, path)
        assert (reply.status, list(reply.errors)) == (400, ["body"])


async def test_an_optional_body_is_an_object_when_it_is_there(api: Api) -> None:
    job = await api.new_job()
    for raw in (b"[]", b"null", b'{"force": true}'):
        assert (await api.post(f"/api/jobs/{job['id']}/trigger", raw=raw)).status == 400
        assert (await api.patch(f"/api/jobs/{job['id']}/enable", raw=raw)).status == 400


async def raw_reply(api: Api, sent: bytes, *parts: bytes) -> bytes:
    """The answer of the server to these bytes: all until it closes, or the first body."""
    reader, writer = await asyncio.open_connection(api.host, api.port)
    try:
        writer.write(sent)
        await writer.drain()
        for part in parts:
            writer.write(part)
        return await reader.readuntil(b"}")
    finally:
        writer.close()
        await writer.wait_closed()


def head(api: Api, *lines: str, token: bool = True) -> bytes:
    authorization = [f"Authorization: Bearer {api.token()}"] if token else []
    first = ["POST /api/jobs HTTP/1.1", "Host: x", "Content-Type: application/json", *authorization]
    return "\r\n".join([*first, *lines, "", ""]).encode()


async def test_continue_is_not_said_before_length_type_and_token_are_checked(api: Api) -> None:
    expect = "Expect: 100-continue"
    huge = await raw_reply(api, head(api, "Content-Length: 99999999999", expect))
    assert huge.startswith(b"HTTP/1.1 413 ")
    without_token = await raw_reply(api, head(api, "Content-Length: 40", expect, token=False))
    assert without_token.startswith(b"HTTP/1.1 401 ")
    squeezed = await raw_reply(api, head(api, "Content-Length: 40", expect, "Content-Encoding: gzip"))
    assert squeezed.startswith(b"HTTP/1.1 415 ")


async def test_continue_is_said_when_the_body_is_wanted(api: Api) -> None:
    body = json.dumps(PLAIN).encode()
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(head(api, f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_does_not_arrive_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "BODY_TIME_S", 0.05)
    reply = await raw_reply(api, head(api, "Content-Length: 40"), b'{"name"')
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b'"REQUEST_TIMEOUT"' in reply
    assert b"Connection: close" in reply


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"BREW /pot HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_quietly(api: Api, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(sent)
    assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
    writer.close()
    await writer.wait_closed()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert (await api.get("/health")).status == 200


async def test_a_malformed_chunk_is_refused(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once when it comes with the header; later the parser reports nothing, and the body's time limit ends it."""
    monkeypatch.setattr(decoder, "BODY_TIME_S", 0.05)
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(head(api, "Transfer-Encoding: chunked") + b"ZZ\r\n{}\r\n0\r\n\r\n")
    assert (await reader.read()).split(b" ", 2)[1] in (b"400", b"408")
    writer.close()
    await writer.wait_closed()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_client_that_goes_away_is_no_defect(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    answered = EventLog(api.service.events, RequestAnswered)
    _, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(head(api, "Content-Length: 40") + b'{"name"')
    await writer.drain()
    await api.get("/health")  # the server has seen the first part
    writer.close()
    await writer.wait_closed()
    await answered.wait_for(lambda told: told[-1].route == "/api/jobs")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert (await api.get("/api/jobs")).json["total"] == 0


async def test_a_chunked_body_is_read_and_limited(api: Api) -> None:
    body = json.dumps(PLAIN).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert (await raw_reply(api, head(api, "Transfer-Encoding: chunked"), chunked)).startswith(b"HTTP/1.1 201 ")
    endless = [b"10000\r\n" + b" " * 0x10000 + b"\r\n"] * 20
    assert (await raw_reply(api, head(api, "Transfer-Encoding: chunked"), *endless)).startswith(b"HTTP/1.1 413 ")
