"""Lists go on by a cursor at constant cost, and a page is never longer than 4 MiB."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from scheduler.store.sql import PAGE_BYTES
from tests.api.conftest import Api
from tests.conftest import both_databases

BODY = "x" * 65_000
LISTS = [
    "/api/accounts",
    "/api/jobs",
    "/api/webhooks",
    "/api/executions",
    "/api/keys",
    "/api/audit",
    "/api/dead-letter",
]


async def pages_of(api: Api, path: str, limit: int) -> AsyncIterator[dict[str, Any]]:
    """The pages of a list, by their cursors."""
    separator, cursor = "&" if "?" in path else "?", ""
    while cursor is not None:
        reply = await api.get(f"{path}{separator}limit={limit}{cursor and f'&cursor={cursor}'}")
        assert reply.status == 200, reply.json
        yield reply.json
        cursor = reply.json["next_cursor"]


async def ids_by_cursor(api: Api, path: str, limit: int) -> list[str]:
    return [item["id"] async for page in pages_of(api, path, limit) for item in page["items"]]


async def fill(api: Api, count: int = 7) -> None:
    for number in range(count):
        job = await api.new_job(name=f"job {number}", webhook={"url": "https://example.com/"})
        await api.post(f"/api/jobs/{job['id']}/trigger", {})
        await api.post("/api/accounts", {"name": f"{number}"})
        await api.post("/api/keys", {"name": f"{number}", "scopes": ["read"]})


@both_databases
async def test_every_list_is_read_by_cursor_without_gap_or_repetition(api: Api) -> None:
    await fill(api)
    for path in LISTS:
        whole = (await api.get(path)).json
        assert whole["next_cursor"] is None and len(whole["items"]) == whole["total"]
        ids = [item["id"] for item in whole["items"]]
        for limit in (1, 3, len(ids) or 1, len(ids) + 1):
            assert await ids_by_cursor(api, path, limit) == ids
        skipped = (await api.get(f"{path}?skip=3&limit=2")).json
        assert [item["id"] for item in skipped["items"]] == ids[3:5]
        assert (await api.get(f"{path}?skip=900000")).json["items"] == []


@both_databases
async def test_members_and_those_who_are_invited_are_read_by_cursor(api: Api) -> None:
    account = (await api.post("/api/accounts", {"name": "team"})).json["id"]
    for user in ("zoe", "bob", "müller", "carl"):
        await api.post(f"/api/accounts/{account}/members", {"user": user, "role": "viewer"})
    path = f"/api/accounts/{account}/members"
    everybody = [member["user"] for member in (await api.get(path)).json["items"]]
    assert len(everybody) == 5
    by_cursor = [item["user"] async for page in pages_of(api, path, 2) for item in page["items"]]
    assert by_cursor == everybody


async def test_what_is_added_or_deleted_meanwhile_repeats_and_hides_nothing(api: Api) -> None:
    jobs = [(await api.new_job(name=f"{number}"))["id"] for number in range(6)]
    first = (await api.get("/api/jobs?limit=3")).json
    for job_id in (jobs[0], jobs[2]):
        await api.delete(f"/api/jobs/{job_id}")
    added = (await api.new_job())["id"]
    rest = (await api.get(f"/api/jobs?limit=10&cursor={first['next_cursor']}")).json
    assert [job["id"] for job in rest["items"]] == [*jobs[3:], added]
    assert (rest["total"], rest["next_cursor"]) == (5, None)


async def test_a_cursor_goes_with_the_parameters_it_came_with(api: Api) -> None:
    for number in range(3):
        await api.new_job(name=f"report {number}")
    cursor = (await api.get("/api/jobs?name=report&limit=1")).json["next_cursor"]
    assert (await api.get(f"/api/jobs?name=report&limit=2&cursor={cursor}")).status == 200
    other = await api.get(f"/api/jobs?name=other&cursor={cursor}")
    assert other.status == 400 and "parameters of the page" in other.json["errors"]["cursor"][0]
    both = await api.get(f"/api/jobs?name=report&skip=1&cursor={cursor}")
    assert both.status == 400 and both.json["errors"] == {"cursor": ["give either skip or cursor"]}


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "%C3%A9", "=" * 8, urlsafe_b64encode(b"123456\xff").decode()])
async def test_a_text_that_is_no_cursor_is_refused(api: Api, cursor: str) -> None:
    reply = await api.get(f"/api/jobs?cursor={cursor}")
    assert reply.status == 400 and list(reply.json["errors"]) == ["cursor"]


@both_databases
async def test_a_page_ends_before_four_mebibytes_and_the_list_goes_on(api: Api) -> None:
    job = await api.new_job()
    jobs = 90
    for start in range(0, jobs, 10):
        webhooks = [{"url": "https://example.com/", "body_template": BODY} for _ in range(10)]
        for webhook in webhooks[: min(10, jobs - start)]:
            assert (await api.post("/api/webhooks", {**webhook, "job_id": job["id"]})).status == 201
    counts, ids = [], []
    async for page in pages_of(api, "/api/webhooks", 1000):
        assert page["total"] == jobs
        counts.append(len(page["items"]))
        ids += [item["id"] for item in page["items"]]
    assert len(set(ids)) == len(ids) == jobs
    assert 0 < counts[0] * len(BODY) <= PAGE_BYTES < (counts[0] + 1) * (len(BODY) + 2000)
