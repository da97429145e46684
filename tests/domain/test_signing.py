"""Signatures of Standard Webhooks, against its published vector and its own library."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.signing import check_secret, new_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_vector_of_the_standard() -> None:
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("size", [24, 33, 64])
def test_an_independent_implementation_agrees(size: int) -> None:
    secret = new_secret(os.urandom(size))
    check_secret(secret)
    now, body = int(time.time()), json.dumps({"a": "ü"}).encode()
    headers = {
        "webhook-id": "run",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, "run", now, body),
    }
    assert Verifier(secret).verify(body, headers) == {"a": "ü"}
    assert Verifier(secret).sign("run", datetime.fromtimestamp(now, UTC), body.decode()) == headers["webhook-signature"]
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body, headers | {"webhook-id": "other"})


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "***",
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_not base64!",
        SECRET + "=",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_ü",
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        check_secret(secret)
    assert refused.value.errors == {
        "signing_secret": ["must be whsec_ followed by the base64 of 24 to 64 random bytes"]
    }


@pytest.mark.parametrize("size", [0, 23, 65])
def test_a_new_secret_needs_enough_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        new_secret(bytes(size))
