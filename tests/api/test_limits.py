"""What an operator may limit: requests by the minute, jobs and keys by the account. By default nothing is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from scheduler.api.app import openapi_document
from scheduler.config import Config
from tests.api.conftest import Api, Serve
from tests.conftest import OpenService


@pytest.fixture
async def limited(
    open_test_service: OpenService, config: Config, serve: Serve, request: pytest.FixtureRequest
) -> AsyncIterator[Api]:
    """A client of a service whose ``limits`` are the parameters of the test."""
    limits = replace(config.limits, **request.param)
    async with open_test_service(config=replace(config, limits=limits)) as service, serve(service) as api:
        yield api


def limits(**chosen: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("limited", [chosen], indirect=True)


@limits(api_requests_per_minute=3)
async def test_a_user_may_ask_so_often_and_then_has_to_wait(limited: Api) -> None:
    assert [(await limited.get("/api/jobs")).status for _ in range(4)] == [200, 200, 200, 429]
    refused = await limited.post("/api/jobs", {"name": "job", "schedule": "0 2 * * *"})
    assert refused.status == 429
    assert refused.json["error_code"] == "RATE_LIMITED" and refused.json["status_code"] == 429
    assert "3 requests a minute (limits.api_requests_per_minute)" in refused.json["detail"]
    assert refused.headers["Retry-After"] == "20"
    limited.clock.advance(19)
    assert (await limited.get("/api/jobs")).headers["Retry-After"] == "1"
    limited.clock.advance(1)
    assert [(await limited.get("/api/jobs")).status for _ in range(2)] == [200, 429]


@limits(api_requests_per_minute=1)
async def test_one_users_requests_are_not_anothers(limited: Api) -> None:
    for user in ("ann", "bob"):
        assert (await limited.get("/api/jobs", user=user)).status == 200
        assert (await limited.get("/api/jobs", user=user)).status == 429


@limits(api_requests_per_minute=1)
async def test_what_needs_no_token_is_not_counted(limited: Api) -> None:
    for path in ("/health", "/health/ready", "/openapi.json", "/docs"):
        for _ in range(3):
            assert (await limited.get(path, user=None)).status != 429
    assert (await limited.get("/api/jobs", user=None)).status == 401


@limits(api_requests_per_minute=4)
async def test_the_keys_of_an_account_are_counted_together(limited: Api) -> None:
    made = [await limited.post("/api/keys", {"name": name, "scopes": ["read"]}) for name in ("one", "two")]
    one, two = [{"Authorization": f"Bearer {reply.json['key']}"} for reply in made]
    used = [await limited.get("/api/jobs", user=None, headers=key) for key in (one, two, one, two, one)]
    assert [reply.status for reply in used] == [200, 200, 200, 200, 429]
    assert (await limited.get("/api/jobs")).status == 200


@limits(jobs_per_account=3)
async def test_an_account_has_so_many_jobs_and_no_more(limited: Api) -> None:
    jobs = [await limited.new_job() for _ in range(2)]
    form = {"name": "job", "schedule": "0 2 * * *"}
    refused = await limited.post("/api/jobs/bulk", {"jobs": [form, form]})
    assert refused.status == 429 and refused.json["error_code"] == "RATE_LIMITED"
    assert "has 2 jobs and may have 3 (limits.jobs_per_account): 2 more" in refused.json["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    assert (await limited.get("/api/jobs")).json["total"] == 2
    await limited.new_job()
    assert (await limited.post("/api/jobs", form)).status == 429
    await limited.new_job(user="bob")
    assert (await limited.delete(f"/api/jobs/{jobs[0]['id']}")).status == 204
    assert (await limited.post("/api/jobs", form)).status == 201


@limits(jobs_per_user=3)
async def test_the_jobs_of_all_accounts_of_a_user_are_counted_together(limited: Api) -> None:
    second = (await limited.post("/api/accounts", {"name": "second"})).json["id"]
    await limited.new_job()
    await limited.new_job(account_id=second)
    form = {"name": "job", "schedule": "0 2 * * *"}
    refused = await limited.post("/api/jobs/bulk", {"jobs": [form, {**form, "account_id": second}]})
    assert refused.status == 429
    assert "has 2 jobs in the accounts that they made and may have 3 (limits.jobs_per_user)" in refused.json["detail"]
    assert (await limited.get("/api/jobs")).json["total"] == 2
    await limited.new_job()
    await limited.new_job(user="bob")


@limits(accounts_per_user=2)
async def test_a_user_may_make_so_many_accounts_and_no_more(limited: Api) -> None:
    made = [await limited.post("/api/accounts", {"name": name}) for name in ("one", "two", "three")]
    assert [reply.status for reply in made] == [201, 201, 429]
    assert "may have 2 (limits.accounts_per_user)" in made[2].json["detail"]
    assert (await limited.get("/api/accounts")).json["total"] == 2
    assert (await limited.delete(f"/api/accounts/{made[0].json['id']}")).status == 204
    assert (await limited.post("/api/accounts", {"name": "three"})).status == 201


@limits(bytes_per_account=20_000)
async def test_what_would_not_fit_into_the_budget_of_bytes_is_refused(limited: Api) -> None:
    webhook = {"url": "https://example.com", "body_template": "x" * 10_000}
    job = await limited.new_job(webhook=webhook)
    second = await limited.post("/api/jobs", {"name": "job", "schedule": "0 2 * * *", "webhook": webhook})
    assert second.status == 429 and second.json["error_code"] == "RATE_LIMITED"
    assert "may keep 20000 (limits.bytes_per_account)" in second.json["detail"]
    assert (await limited.get("/api/jobs")).json["total"] == 1
    assert (await limited.post("/api/webhooks", {**webhook, "job_id": job["id"]})).status == 429
    path = f"/api/webhooks/{job['webhook']['id']}"
    assert (await limited.put(path, {"body_template": "x" * 19_000})).status == 429
    assert (await limited.get(path)).json["body_template"] == "x" * 10_000
    assert (await limited.put(path, {"body_template": "x" * 9_000})).status == 200
    assert (await limited.new_job(user="bob"))["name"]


@limits(keys_per_account=1)
async def test_an_account_has_so_many_keys_in_force_and_no_more(limited: Api) -> None:
    form = {"name": "key", "scopes": ["read"]}
    made = await limited.post("/api/keys", form)
    assert made.status == 201
    refused = await limited.post("/api/keys", form)
    assert refused.status == 429 and "limits.keys_per_account" in refused.json["detail"]
    assert (await limited.delete(f"/api/keys/{made.json['id']}")).status == 204
    assert (await limited.post("/api/keys", form)).status == 201


def test_every_operation_with_a_token_tells_that_it_may_refuse_for_a_limit() -> None:
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            assert ("429" in operation["responses"]) == (operation.get("security") != []), (method, path)
