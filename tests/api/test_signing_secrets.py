"""Signing secrets over HTTP: shown once, replaced, rotated; receivers verify with a library that is not ours."""

from __future__ import annotations

import json
import time

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from scheduler.domain.clock import format_instant, seconds
from scheduler.domain.webhooks.signing import check_secret
from tests.api.conftest import Api
from tests.checks import present
from tests.conftest import Received, Receiver
from tests.factories import deliver_ready

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUJD" * 11
DAY_S = 86_400
BODY = '{"at": "{{ scheduled_at }}"}'


def verifies(secret: str, request: Received) -> bool:
    try:
        Verifier(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


async def delivered(api: Api, receiver: Receiver, job_id: str) -> Received:
    """The request of a run that is started now."""
    assert (await api.post(f"/api/jobs/{job_id}/trigger")).status == 202
    await deliver_ready(api.service)
    return receiver.requests[-1]


async def test_the_answer_that_sets_a_secret_shows_it_and_no_other_does(api: Api) -> None:
    job = await api.new_job()
    path = f"/webhooks/{(await api.new_webhook(job['id'], signing_secret=SECRET))['id']}"
    assert (await api.put(path, {"signing_secret": OTHER})).json["signing_secret"] == OTHER
    assert (await api.put(path, {"signing_secret": "***"})).json["signing_secret"] == "***"
    assert (await api.put(path, {"timeout_s": 5})).json["signing_secret"] == "***"
    for prefix in ("", "/api"):
        assert (await api.get(prefix + path)).json["signing_secret"] == "***"
        assert (await api.get(f"{prefix}/webhooks")).json["items"][0]["signing_secret"] == "***"
    assert present(await api.service.stores.webhooks.get(path.rsplit("/", 1)[-1])).signing_secret == OTHER
    assert (await api.put(path, {"signing_secret": None})).json["signing_secret"] is None
    assert (await api.get(path)).json["signing_secret"] is None


async def test_a_secret_is_made_wherever_a_webhook_is_written(api: Api) -> None:
    wanted = {"url": "https://example.com/", "signing_secret": "generate"}
    job = await api.new_job(webhook=wanted)
    bulk = await api.post(
        "/api/jobs/bulk", {"jobs": [{"name": "a", "schedule": "@daily", "webhook": wanted} for _ in range(2)]}
    )
    alone = await api.new_webhook(job["id"], signing_secret="generate")
    changed = (await api.put(f"/webhooks/{alone['id']}", {"signing_secret": "generate"})).json
    written = [job["webhook"], *(item["webhook"] for item in bulk.json["items"]), alone, changed]
    made = [webhook["signing_secret"] for webhook in written]
    for secret in made:
        check_secret(secret)
    assert len(set(made)) == 5
    for webhook in [*written[:3], changed]:
        stored = present(await api.service.stores.webhooks.get(webhook["id"]))
        assert stored.signing_secret == webhook["signing_secret"]
    assert {item["signing_secret"] for item in (await api.get("/webhooks")).json["items"]} == {"***"}
    assert "webhook" not in (await api.get(f"/api/jobs/{job['id']}")).json


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_both_secrets_are_valid_for_a_day_after_a_rotation(api: Api, receiver: Receiver, prefix: str) -> None:
    now = int(time.time())  # the verifier looks at the wall clock
    api.clock.set(seconds(now - DAY_S + 60))
    job = await api.new_job(webhook={"url": f"{receiver.url}/hook", "signing_secret": SECRET, "body_template": BODY})
    path = f"{prefix}/webhooks/{job['webhook']['id']}"
    rotated = await api.post(f"{path}/rotate-secret")
    assert rotated.status == 200
    new = rotated.json["signing_secret"]
    check_secret(new)
    assert new != SECRET
    assert rotated.json["former_secrets_until"] == format_instant(seconds(now + 60))
    assert (await api.get(path)).json == {**rotated.json, "signing_secret": "***"}

    api.clock.set(seconds(now))
    request = await delivered(api, receiver, job["id"])
    assert verifies(new, request)
    assert verifies(SECRET, request)
    assert not verifies(OTHER, request)
    newest_first = request.headers["webhook-signature"].split()
    assert len(newest_first) == 2
    for secret, signature in zip((new, SECRET), newest_first, strict=True):
        request.headers["webhook-signature"] = signature
        assert verifies(secret, request)

    api.clock.advance(59.999)
    assert verifies(SECRET, await delivered(api, receiver, job["id"]))
    api.clock.advance(0.001)
    request = await delivered(api, receiver, job["id"])
    assert verifies(new, request)
    assert not verifies(SECRET, request)
    assert len(request.headers["webhook-signature"].split()) == 1


async def test_every_live_secret_signs_and_none_outlives_a_shorter_overlap(api: Api, receiver: Receiver) -> None:
    api.clock.set(seconds(int(time.time())))
    job = await api.new_job(webhook={"url": receiver.url, "signing_secret": SECRET, "body_template": "{}"})
    path = f"/webhooks/{job['webhook']['id']}"
    secrets = [SECRET]
    for overlap_s in (100, 200):
        secrets.insert(0, (await api.post(f"{path}/rotate-secret", {"overlap_s": overlap_s})).json["signing_secret"])
    request = await delivered(api, receiver, job["id"])
    assert [verifies(secret, request) for secret in secrets] == [True, True, True]
    api.clock.advance(100)
    request = await delivered(api, receiver, job["id"])
    assert [verifies(secret, request) for secret in secrets] == [True, True, False]
    secrets.insert(0, (await api.post(f"{path}/rotate-secret", {"overlap_s": 0})).json["signing_secret"])
    request = await delivered(api, receiver, job["id"])
    assert [verifies(secret, request) for secret in secrets] == [True, False, False, False]
    assert (await api.get(path)).json["former_secrets_until"] is None


async def written_during_a_rotation(api: Api, receiver: Receiver, written: str | None) -> tuple[str | None, Received]:
    """The secret of a webhook that ``written`` has replaced, and a request that is signed after that."""
    api.clock.set(seconds(int(time.time())))
    job = await api.new_job(webhook={"url": receiver.url, "signing_secret": SECRET, "body_template": "{}"})
    path = f"/webhooks/{job['webhook']['id']}"
    await api.post(f"{path}/rotate-secret")
    kept = (await api.put(path, {"signing_secret": "***", "timeout_s": 3})).json
    assert kept["former_secrets_until"] is not None
    assert verifies(SECRET, await delivered(api, receiver, job["id"]))
    changed = (await api.put(path, {"signing_secret": written})).json
    assert changed["former_secrets_until"] is None
    return changed["signing_secret"], await delivered(api, receiver, job["id"])


@pytest.mark.parametrize("written", [OTHER, SECRET, "generate"])
async def test_a_written_secret_ends_a_rotation_at_once(api: Api, receiver: Receiver, written: str) -> None:
    secret, request = await written_during_a_rotation(api, receiver, written)
    assert verifies(present(secret), request)
    assert len(request.headers["webhook-signature"].split()) == 1


async def test_without_a_secret_nothing_is_signed_even_during_a_rotation(api: Api, receiver: Receiver) -> None:
    secret, request = await written_during_a_rotation(api, receiver, None)
    assert secret is None
    assert "webhook-signature" not in request.headers


async def test_a_webhook_without_a_secret_gets_its_first(api: Api) -> None:
    job = await api.new_job()
    webhook = await api.new_webhook(job["id"])
    api.clock.advance(1)
    rotated = (await api.post(f"/webhooks/{webhook['id']}/rotate-secret", {})).json
    check_secret(rotated["signing_secret"])
    assert rotated == {
        **webhook,
        "signing_secret": rotated["signing_secret"],
        "updated_at": "2026-06-01T00:00:01Z",
    }


async def test_many_rotations_keep_the_header_short(api: Api, receiver: Receiver) -> None:
    job = await api.new_job(webhook={"url": receiver.url, "signing_secret": SECRET})
    for _ in range(20):
        assert (await api.post(f"/webhooks/{job['webhook']['id']}/rotate-secret")).status == 200
    assert len((await delivered(api, receiver, job["id"])).headers["webhook-signature"].split()) == 9


async def test_rotations_that_are_refused(api: Api) -> None:
    job = await api.new_job()
    path = f"/webhooks/{(await api.new_webhook(job['id'], signing_secret=SECRET))['id']}/rotate-secret"
    for body in ({"overlap_s": -1}, {"overlap_s": 604_801}, {"overlap_s": "1"}, {"overlap_s": None}):
        reply = await api.post(path, body)
        assert (reply.status, list(reply.errors)) == (400, ["overlap_s"])
    assert (await api.post(path, {"secret": SECRET})).status == 400
    assert (await api.post(path, user=None)).status == 401
    assert (await api.post(path, user="bob")).status == 403
    nowhere = await api.post("/webhooks/01970000-0000-7000-8000-000000000003/rotate-secret")
    assert (nowhere.status, nowhere.json["error_code"]) == (404, "WEBHOOK_NOT_FOUND")
    assert (await api.get(path)).status == 405
    stored = present(await api.service.stores.webhooks.get(path.split("/")[2]))
    assert (stored.signing_secret, stored.former_secrets) == (SECRET, ())
    assert SECRET not in json.dumps((await api.get("/webhooks")).json) + repr(stored)
