"""Large bodies: who may not write is refused first, checking ends with 50 errors and is done in a thread, by turns."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from typing import Any, ClassVar

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from marshmallow import Schema, ValidationError

from scheduler.api.http import answers
from scheduler.api.http.answers import documents_of
from scheduler.api.http.decoder import MOST_BRACKETS, MOST_MEMBERS, decode
from scheduler.api.http.fields import MOST_ERRORS, Flag, Items
from scheduler.api.limits.offload import COMPUTING, LARGE_BODY, offload_large, turns_at_computing
from scheduler.api.services import USER
from scheduler.domain.errors import SchedulerError
from tests.api.conftest import Api

NO_JSON = b"{" * (LARGE_BODY + 1)


class CountedFlag(Flag):
    """Counts how many values were checked."""

    checked: ClassVar[int] = 0

    def _deserialize(self, *given: Any, **options: Any) -> bool:
        CountedFlag.checked += 1
        return super()._deserialize(*given, **options)


def test_checking_a_list_ends_with_fifty_errors() -> None:
    schema = Schema.from_dict({"flags": Items(CountedFlag(), most=1000)})()
    with pytest.raises(ValidationError) as refused:
        schema.load({"flags": [*[True] * 10, *["x"] * 900]})
    assert CountedFlag.checked == 10 + MOST_ERRORS
    assert isinstance(refused.value.messages, dict) and len(refused.value.messages["flags"]) == MOST_ERRORS


def test_an_object_has_so_many_members_at_most() -> None:
    members = {f"field {number}": number for number in range(MOST_MEMBERS)}
    assert decode(json.dumps(members).encode()) == members
    with pytest.raises(SchedulerError) as refused:
        decode(json.dumps({"jobs": [{**members, "one": 1}]}).encode())
    assert refused.value.errors == {"body": ["an object with 2001 members: at most 2000"]}


async def test_a_bulk_request_of_wrong_jobs_names_some_of_them(api: Api) -> None:
    wrong = {"unknown": 1, "tags": ["x"] * 100}
    reply = await api.post("/api/jobs/bulk", {"jobs": [wrong] * 1000})
    assert reply.status == 400
    assert len(reply.errors) == 50
    reply = await api.post("/api/jobs/bulk", {"jobs": [{}] * 10_000})
    assert reply.errors == {"jobs": ["must have 1 to 1000 entries, not 10000"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/jobs"),
        ("POST", "/api/jobs/bulk"),
        ("PUT", "/api/jobs/{id}"),
        ("POST", "/api/jobs/{id}/backfill"),
        ("PUT", "/api/webhooks/{id}"),
        ("POST", "/api/dead-letter/purge"),
        ("POST", "/api/keys"),
    ],
)
@pytest.mark.parametrize("body", [NO_JSON, b"{"])
async def test_a_key_that_only_reads_is_refused_before_the_body_is_read(
    api: Api, method: str, path: str, body: bytes
) -> None:
    key = (await api.post("/api/keys", {"name": "reader", "scopes": ["read"]})).json["key"]
    sent = {"Authorization": f"Bearer {key}"}
    path = path.format(id=uuid.uuid4())
    reply = await api.call(method, path, raw=body, headers=sent, user=None)
    assert (reply.status, reply.json["error_code"]) == (403, "FORBIDDEN")


async def test_who_may_not_write_is_refused_before_a_large_body_is_read(api: Api) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    await api.join(job["account_id"], "bob", "viewer")
    for path in (f"/api/jobs/{job['id']}", f"/api/webhooks/{webhook['id']}", f"/api/accounts/{job['account_id']}"):
        for user in ("bob", "stranger"):
            assert (await api.put(path, raw=NO_JSON, user=user)).status == 403
        assert (await api.put(path, raw=NO_JSON)).status == 400
    for path in ("/api/jobs/{}", "/api/webhooks/{}", "/api/accounts/{}"):
        assert (await api.put(path.format(uuid.uuid4()), raw=NO_JSON)).status == 404


async def test_who_may_not_create_jobs_in_an_account_is_refused_before_they_are_made(api: Api) -> None:
    account_id = (await api.new_job())["account_id"]
    wrong = {"name": "job", "schedule": "no schedule", "account_id": account_id}
    assert (await api.post("/api/jobs", wrong, user="stranger")).status == 403
    assert (await api.post("/api/jobs/bulk", {"jobs": [wrong]}, user="stranger")).status == 403
    assert (await api.post("/api/jobs", wrong)).json["error_code"] == "INVALID_CRON_EXPRESSION"


@pytest.mark.parametrize(("size", "in_thread"), [(0, False), (LARGE_BODY, False), (LARGE_BODY + 1, True)])
async def test_what_a_large_body_asks_for_is_computed_in_a_thread(size: int, *, in_thread: bool) -> None:
    async def handler(request: web.Request) -> web.Response:
        request[USER] = "ann"
        thread = await offload_large(request, threading.get_ident)
        return web.json_response(thread != threading.get_ident())

    app = web.Application()
    app.router.add_post("/", handler)
    app[COMPUTING] = turns_at_computing()
    async with TestServer(app) as server, ClientSession(server.make_url("/")) as session:
        response = await session.post("/", data=b"x" * size)
        assert await response.json() is in_thread


async def test_other_requests_are_answered_while_the_documents_of_a_page_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "SLICE_S", 0.0)
    made: list[int] = []

    def document(number: int) -> dict[str, Any]:
        made.append(number)
        return {"number": number}

    making = asyncio.create_task(documents_of(range(3), document))
    seen = []
    while not making.done():
        await asyncio.sleep(0)
        seen.append(len(made))
    assert await making == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert seen[:3] == [1, 2, 3]


async def test_a_large_template_is_written_and_read_back_unchanged(api: Api) -> None:
    job = await api.new_job()
    template = '{"text": "' + '\\"{{ job.id }}\\" and more of it ' * 900 + '"}'
    webhook = await api.new_webhook(job["id"], body_template=template)
    assert webhook["body_template"] == template
    longer = template.replace("more", "much more")
    assert (await api.put(f"/webhooks/{webhook['id']}", {"body_template": longer})).json["body_template"] == longer
    wrong = longer.replace("job.id }}", "job.no }}", 1)
    refused = await api.put(f"/webhooks/{webhook['id']}", {"body_template": wrong})
    assert (refused.status, list(refused.errors)) == (400, ["body_template"])
    assert (await api.get(f"/webhooks/{webhook['id']}")).json["body_template"] == longer


def test_a_body_has_so_many_objects_and_lists_at_most() -> None:
    lists: list[Any] = [[]] * (MOST_BRACKETS - 2)
    objects = [{"a": "[{"}] * (MOST_BRACKETS - 2)
    texts = ['\\"[', "[[[", '\\\\"{{'] * 20_000
    for made in (lists, objects, texts):
        assert decode(json.dumps({"a": made}).encode()) == {"a": made}
    for brackets in ("[]", "{}"):
        with pytest.raises(SchedulerError) as refused:
            decode(f'{{"a": [{", ".join([brackets] * MOST_BRACKETS)}]}}'.encode())
        assert refused.value.errors == {"body": ["20002 objects and lists: at most 20000"]}
