"""What README says is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from scheduler import __version__
from scheduler.api.app import openapi_document

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


def test_the_changelog_knows_this_version() -> None:
    assert f"**{__version__}**" in README[README.index("## Changelog") :]
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'image.version="{__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")
