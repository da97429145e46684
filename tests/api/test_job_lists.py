"""Lists of jobs: pages, filters and what finds a job."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.api.conftest import Api
from tests.factories import fire_and_deliver


async def test_lists_are_paged_and_filtered(api: Api) -> None:
    account = (await api.post("/api/accounts", {"name": "other"})).json
    ids = [(await api.new_job(name=f"job {n}", enabled=n % 2 == 0))["id"] for n in range(4)]
    elsewhere = await api.new_job(account_id=account["id"], name="elsewhere")
    everything = (await api.get("/api/jobs")).json
    assert [item["id"] for item in everything["items"]] == [*ids, elsewhere["id"]]
    assert (everything["skip"], everything["limit"], everything["total"]) == (0, 100, 5)
    part = (await api.get("/api/jobs?skip=1&limit=2")).json
    assert [item["id"] for item in part["items"]] == ids[1:3]
    assert (part["skip"], part["limit"], part["total"]) == (1, 2, 5)
    assert (await api.get("/api/jobs?enabled=false")).json["total"] == 2
    assert (await api.get("/api/jobs?enabled=true")).json["total"] == 3
    assert (await api.get(f"/api/jobs?account_id={account['id']}")).json["total"] == 5


async def names(api: Api, **query: str) -> list[str]:
    page = (await api.get(f"/api/jobs?{urlencode(query)}")).json
    assert page["total"] == len(page["items"])
    return [item["name"] for item in page["items"]]


async def test_jobs_are_found_by_name_and_tag(api: Api) -> None:
    await api.new_job(name="Nightly Report", tags=["finance", "night"])
    await api.new_job(name="Übersicht 100%", tags=["fin", "größe"])
    await api.new_job(name="a_b")
    assert await names(api, name="REPORT") == ["Nightly Report"]
    assert await names(api, name="übers") == await names(api, name="0%") == ["Übersicht 100%"]
    assert await names(api, name="_") == ["a_b"] and await names(api, name="!") == []
    assert await names(api, tag="fin") == await names(api, tag="größe") == ["Übersicht 100%"]
    assert await names(api, tag="finance", name="night") == ["Nightly Report"]
    assert await names(api, tag="n%") == await names(api, tag='night"') == []


async def test_jobs_are_found_by_the_host_of_their_webhooks(api: Api) -> None:
    for name, url in (
        ("plain", "https://hooks.example.com/a"),
        ("port", "http://HOOKS.example.com:8080"),
        ("query", "https://hooks.example.com?x=1"),
        ("bare", "https://hooks.example.com"),
        ("longer", "https://hooks.example.com.evil.example/"),
        ("path", "https://other.example/hooks.example.com/"),
    ):
        await api.new_job(name=name, webhook={"url": url})
    assert await names(api, host="Hooks.Example.com") == ["plain", "port", "query", "bare"]
    assert await names(api, host="other.example") == ["path"]
    assert await names(api, host="example.com") == await names(api, host="%") == []


async def test_jobs_are_found_by_their_state(api: Api) -> None:
    active = await api.new_job(name="active")
    await api.new_job(name="paused", enabled=False)
    ended = await api.new_job(name="ended", schedule="@at 2026-06-01T00:00:30Z")
    failing = await api.new_job(name="failing", webhook={"url": "http://127.0.0.1:1/"}, retry={"max_attempts": 1})
    for job in (active, failing):
        await api.post(f"/api/jobs/{job['id']}/trigger")
    api.clock.advance(60)
    await fire_and_deliver(api.service)
    assert (await api.get(f"/api/jobs/{ended['id']}")).json["enabled"] is False
    assert await names(api, state="active") == ["active", "failing"]
    assert await names(api, state="paused") == ["paused"]
    assert await names(api, state="ended") == ["ended"]
    assert await names(api, state="failing") == ["failing"]
    refused = await api.get("/api/jobs?state=broken")
    assert (refused.status, refused.errors) == (
        400,
        {"state": ["must be one of active, paused, ended, failing"]},
    )
