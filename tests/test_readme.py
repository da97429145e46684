"""What README says is what the program does."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from scheduler import __version__
from scheduler.api.app import openapi_document
from scheduler.domain.webhooks.signing import sign

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _test_command() -> str:
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    return command


def test_ci_runs_the_documented_test_command() -> None:
    assert _test_command() in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_endpoint_of_the_api_is_in_the_table() -> None:
    table = README[README.index("## The API") : README.index("### Schedules")]
    named = set(re.findall(r"/[a-z-]+", table))
    for path in openapi_document()["paths"]:
        for part in re.findall(r"/[a-z-]+", path):
            assert part in named, f"{path} is missing"


@pytest.mark.parametrize("number", [0, 1], ids=["with the library", "by hand"])
def test_receivers_verify_requests_as_it_says(number: int) -> None:
    verified: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[number], verified)
    is_ours = verified["is_ours"]
    now, secret, other = int(time.time()), "whsec_" + "QUJD" * 11, "whsec_" + "REVG" * 11
    for body in (b"", b'{"a": "\xc3\xbc"}', b"plain"):
        headers = {
            "webhook-id": "run",
            "webhook-timestamp": str(now),
            "webhook-signature": f"{sign(other, 'run', now, body)} {sign(secret, 'run', now, body)}",
        }
        assert is_ours(secret, headers, body)
        assert is_ours(other, headers, body)
        assert not is_ours("whsec_" + "R0hJ" * 11, headers, body)
        assert not is_ours(secret, headers, body + b" ")
        assert not is_ours(secret, headers | {"webhook-id": "another"}, body)
        assert not is_ours(secret, {name: headers[name] for name in headers if "id" not in name}, body)
        assert not is_ours(secret, {"webhook-signature": headers["webhook-signature"]}, body)
        for moved_s in (-400, 400):
            late = str(now + moved_s)
            signed = sign(secret, "run", now + moved_s, body)
            assert not is_ours(secret, headers | {"webhook-timestamp": late, "webhook-signature": signed}, body)


def test_the_changelog_knows_this_version() -> None:
    assert f"**{__version__}**" in README[README.index("## Changelog") :]
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'image.version="{__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")
