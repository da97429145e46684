"""What all answers have in common: error shape, headers, methods, parameters."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import pytest

from scheduler.api.app import openapi_document
from tests.api.conftest import Api, Reply
from tests.factories import rendered_metrics

OPERATIONS = [
    (method.upper(), path) for path, operations in openapi_document()["paths"].items() for method in operations
]
ID = "018f4a3e-0000-7000-8000-000000000000"


def concrete(path: str) -> str:
    return re.sub(r"{\w+}", ID, path)


async def execute(api: Api, sql: str) -> None:
    await api.service.stores.db.transaction(lambda tx: tx.execute(sql))


def is_shaped(reply: Reply) -> bool:
    """Has a refusal the one shape, and does it agree with its status?"""
    body = reply.json
    return {"detail", "error_code", "status_code"} <= set(body) and body["status_code"] == reply.status


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/api", "/api/jobs/", "/api//jobs", "/static/x", "/static/../app.py", "/%2e%2e/etc/passwd"],
)
async def test_an_address_without_an_operation_is_not_found(api: Api, path: str) -> None:
    for user in ("ann", None):
        reply = await api.get(path, user=user)
        assert (reply.status, reply.json["error_code"]) == (404, "NOT_FOUND")
        assert is_shaped(reply)


async def test_a_wrong_method_names_the_right_ones(api: Api) -> None:
    reply = await api.delete("/api/jobs")
    assert (reply.status, reply.json["error_code"]) == (405, "METHOD_NOT_ALLOWED")
    assert is_shaped(reply)
    assert reply.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    for method in ("TRACE", "PROPFIND", "POST"):
        assert (await api.call(method, "/health")).status == 405


async def test_options_tells_the_methods_and_runs_nothing(api: Api) -> None:
    for _, path in OPERATIONS:
        reply = await api.call("OPTIONS", concrete(path), user=None, headers={"Origin": "null"})
        assert (reply.status, reply.text) == (204, "")
        assert "OPTIONS" in reply.headers["Allow"]
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


async def test_head_answers_like_get_without_the_body(api: Api) -> None:
    await api.new_job()
    for path in ("/api/jobs", "/health", "/openapi.json", "/docs", "/static/docs/redoc.css"):
        got, head = await api.get(path), await api.call("HEAD", path)
        assert (head.status, head.text) == (got.status, "")
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert (await api.call("HEAD", "/api/jobs", user=None)).status == 401
    assert (await api.call("HEAD", "/api/jobs/bulk")).status == 405


async def test_method_overrides_are_ignored(api: Api) -> None:
    job = await api.new_job()
    await api.get(f"/api/jobs/{job['id']}", headers={"X-HTTP-Method-Override": "DELETE"})
    assert (await api.get(f"/api/jobs/{job['id']}")).status == 200


async def test_unknown_query_parameters_are_refused(api: Api) -> None:
    for method, path in [(method, path) for method, path in OPERATIONS if not path.startswith("/health")]:
        reply = await api.call(method, f"{concrete(path)}?sort=id;DROP TABLE jobs--")
        assert (reply.status, reply.json["error_code"]) == (400, "VALIDATION_ERROR"), (method, path)
        assert "sort" in reply.errors


@pytest.mark.parametrize("path", ["/api/accounts", "/api/jobs", "/webhooks", "/api/executions", "/api/dead-letter"])
async def test_the_size_of_a_page_is_bounded(api: Api, path: str) -> None:
    for odd in ("-1", "0", "1001", "1000000000", "abc", "1.5", "", "1e2", "+1", "\u0661", "0x10"):
        reply = await api.get(f"{path}?limit={odd}")
        assert (reply.status, list(reply.errors)) == (400, ["limit"]), odd
    for odd in ("-1", "x", "9" * 30):
        reply = await api.get(f"{path}?skip={odd}")
        assert (reply.status, list(reply.errors)) == (400, ["skip"]), odd
    page = (await api.get(f"{path}?skip=5&limit=1000")).json
    assert page == {"items": [], "total": 0, "skip": 5, "limit": 1000, "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/api/jobs?enabled=1", "enabled"),
        ("/api/jobs?enabled=True", "enabled"),
        ("/api/jobs?enabled=", "enabled"),
        ("/api/jobs?limit=1&limit=2", "limit"),
        ("/api/jobs?limit=1&limit=1", "limit"),
        ("/api/jobs?account_id=x", "account_id"),
        ("/api/executions?status=done", "status"),
        ("/api/executions?status=", "status"),
        ("/api/executions?since=yesterday", "since"),
        ("/api/executions?since=2026-01-01T00:00:00", "since"),
        ("/api/executions?until=2026-01-01", "until"),
        ("/api/executions?run_id=%00", "run_id"),
        ("/api/dead-letter?error=%00", "error"),
        ("/api/dead-letter?error=", "error"),
        ("/api/dead-letter?status=failure", "status"),
        ("/api/jobs?x%00=1", "x\\0"),
    ],
)
async def test_query_values_are_checked(api: Api, query: str, field: str) -> None:
    reply = await api.get(query)
    assert (reply.status, list(reply.errors)) == (400, [field])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/jobs/%ff", 404),
        ("/api/jobs/%ED%A0%80", 404),
        ("/api/jobs/%", 404),
        ("/api/jobs/%zz", 404),
        ("/api/jobs/" + "x" * 4000, 404),
        ("/api/dead-letter?error=%ff", 200),
        ("/api/dead-letter?error=%ED%A0%80", 200),
        ("/api/dead-letter?error=%", 200),
        ("/api/dead-letter?%ED%A0%80=1", 400),
        ("/api/dead-letter?error=" + "x" * 501, 400),
        ("/api/executions?status=%00", 400),
        ("/api/jobs?;=&&==", 400),
        ("/api/jobs?" + "&".join(f"a{number}=1" for number in range(500)), 400),
    ],
)
async def test_odd_addresses_are_no_defect(api: Api, path: str, status: int) -> None:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token()}\r\n\r\n".encode())
    assert int((await reader.readuntil(b"\r\n")).split()[1]) == status
    writer.close()
    await writer.wait_closed()


async def test_every_answer_carries_the_same_headers(api: Api) -> None:
    replies = [
        await api.get("/health"),
        await api.get("/docs"),
        await api.get("/nothing"),
        await api.get("/api/jobs", user=None),
        await api.delete("/health"),
        await api.call("OPTIONS", "/health"),
        await api.post("/api/jobs", raw=b"{"),
        await api.get("/static/redoc/redoc.standalone.js"),
    ]
    for reply in replies:
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cache-Control"] in ("no-store", "no-cache")
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert reply.headers["Server"] == "scheduler"
        assert reply.headers["X-Request-ID"]
    assert replies[0].headers["Content-Type"] == "application/json"


async def test_a_request_id_is_taken_if_it_is_plain(api: Api) -> None:
    assert (await api.get("/health", headers={"X-Request-ID": "a.B-c_1"})).headers["X-Request-ID"] == "a.B-c_1"
    seen = set()
    for odd in ("", "x" * 65, "a b", "ä", "<script>", "{}"):
        given = (await api.get("/health", headers={"X-Request-ID": odd})).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", given)
        seen.add(given)
    assert len(seen) == 6


async def test_a_defect_tells_a_request_id_and_nothing_else(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A row that this program did not write makes reading it fail."""
    await api.new_job()
    await execute(api, """UPDATE jobs SET jitter_s = 'swordfish'""")
    caplog.set_level(logging.ERROR)
    reply = await api.get("/api/jobs", headers={"X-Request-ID": "find-me"})
    assert (reply.status, reply.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert is_shaped(reply)
    assert "swordfish" not in reply.text
    assert "find-me" in reply.json["detail"]
    assert "swordfish" in caplog.text
    assert "find-me" in {record.__dict__.get("request_id") for record in caplog.records}


async def test_an_error_of_the_database_is_told_without_details(api: Api) -> None:
    refuse = "SELECT RAISE(ABORT, 'not with this secret')"
    await execute(api, f"CREATE TRIGGER refuse BEFORE INSERT ON accounts BEGIN {refuse}; END")
    reply = await api.post("/api/accounts", {"name": "books"})
    assert (reply.status, reply.json["error_code"]) == (500, "DATABASE_ERROR")
    assert is_shaped(reply)
    assert "secret" not in reply.text
    assert "Retry-After" not in reply.headers


async def test_a_database_that_takes_no_writes_is_unavailable_and_says_when_to_ask_again(
    api: Api, tmp_path: Path
) -> None:
    (tmp_path / "scheduler.db").rename(tmp_path / "elsewhere.db")
    reply = await api.post("/api/accounts", {"name": "books"})
    assert (reply.status, reply.json["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert is_shaped(reply)
    assert "scheduler.db" not in reply.text
    assert reply.headers["Retry-After"] == "1"


async def test_a_closed_database_fails_requests_and_leaves_health_alone(api: Api) -> None:
    job = await api.new_job()
    await api.service.stores.db.close()
    reply = await api.put(f"/api/jobs/{job['id']}", {"name": "x"})
    assert (reply.status, reply.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert is_shaped(reply)
    assert (await api.get("/health")).status == 200


async def test_requests_are_counted_by_route_and_not_by_path(api: Api) -> None:
    await api.get(f"/api/jobs/{ID}")
    await api.get("/nothing/here")
    await api.call("PROPFIND", "/health")
    text = (await rendered_metrics(api.service))[0].decode()
    counted = re.findall(r"scheduler_http_requests_total{(.*?)} (\d+)", text)
    labels = {frozenset(re.findall(r'(\w+)="(.*?)"', inside)) for inside, _ in counted}
    assert frozenset({("method", "GET"), ("route", "/api/jobs/{job_id}"), ("status", "404")}) in labels
    assert frozenset({("method", "GET"), ("route", "none"), ("status", "404")}) in labels
    assert frozenset({("method", "OTHER"), ("route", "none"), ("status", "405")}) in labels
    assert ID not in text
    assert "nothing" not in text


async def test_a_thousand_bad_fields_do_not_make_a_large_answer(api: Api) -> None:
    body = {f"field {number}": number for number in range(10_000)}
    reply = await api.post("/api/jobs", body)
    assert reply.status == 400
    assert len(reply.text) < 100_000
    assert len(reply.json["detail"]) < 5000


async def test_requests_in_a_row_on_one_connection_do_not_disturb_each_other(api: Api) -> None:
    """A refusal that left its body unread must not let the rest of it be taken for the next request."""
    reader, writer = await asyncio.open_connection(api.host, api.port)
    smuggled = b"GET /api/jobs HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(smuggled) + 5) + smuggled)
    writer.write(b"xxxxx")
    answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "UNAUTHORIZED"
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    rest = await reader.read()
    assert rest.count(b"HTTP/1.1 ") <= 1
    assert b"401" not in rest
    writer.close()
    await writer.wait_closed()
