"""README agrees with the program: tables, commands, links and examples."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from scheduler import __version__
from scheduler.api.app import openapi_document
from scheduler.api.http.errors import STATUS_OF
from scheduler.config import SETTINGS, Config, load_config
from scheduler.domain.events import Events
from scheduler.domain.jobs.retry import RetryPolicy
from scheduler.domain.runs.execution import Status
from scheduler.domain.runs.explanation import Verdict
from scheduler.domain.webhooks.signing import sign
from scheduler.ops.data_dir import open_data_dir
from scheduler.ops.start_error import StartError
from scheduler.service import open_service
from scheduler.telemetry import Telemetry
from tests.factories import USER, add_job

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "scheduler"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
SPANS = re.findall(r"`([^`]+)`", PROSE)
"""What stands in the text as code."""


def _chapter(heading: str) -> str:
    """The text from this heading to the next of its level."""
    (chapter,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    return str(chapter)


def _first_cells(text: str) -> list[str]:
    """What stands as code in the first column of the tables."""
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _command_lines() -> list[str]:
    """Each use of the command line, from the name of the command on."""
    code = [line for kind, text in BLOCKS if kind in ("sh", "toml", "ini") for line in text.splitlines()] + SPANS
    return [found for line in code for found in re.findall(r"(?:^|[ /(])scheduler +([a-z][^#)`]*)", line)]


def _options_by_command() -> dict[str, set[str]]:
    options: dict[str, set[str]] = {}
    for line in _command_lines():
        words = re.match(r"[a-z-]+(?: [a-z][a-z-]*)?(?= |$)", line)
        assert words, line
        options.setdefault(words[0], set()).update(re.findall(r"--[a-z-]+", line))
    return options


COMMANDS = _options_by_command()


def _test_command() -> str:
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    return str(command)


def test_ci_runs_the_documented_test_command() -> None:
    assert _test_command() in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_endpoint_of_the_api_is_in_the_table() -> None:
    table = _chapter("The API")
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


def test_the_contents_name_every_chapter_in_order() -> None:
    chapters = re.findall(r"^## (.*)$", PROSE, re.MULTILINE)
    listed = re.findall(r"\[([^]]*)\]\(#", _chapter("Contents"))
    assert listed == chapters[chapters.index("Contents") + 1 :]


def test_every_link_within_leads_to_a_heading() -> None:
    anchors = {_anchor(heading) for heading in re.findall(r"^#+ (.*)$", PROSE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_it_names_takes_its_options(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scheduler", *command.split(), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert COMMANDS[command] <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_every_setting_it_names_exists() -> None:
    sections = {path.partition(".")[0] for path in SETTINGS if "." in path}
    named = [name for span in SPANS if "/" not in span for name in re.findall(r"\b[a-z]+\.[a-z_*]+", span)]
    settings = {name for name in named if name.partition(".")[0] in sections}
    assert len(settings) > 20
    assert {name for name in settings if name not in SETTINGS} == {"retention.*"}


def test_every_variable_it_names_is_read() -> None:
    known = {"SCHEDULER_CONFIG"}
    for setting in SETTINGS.values():
        known |= {setting.variable, *setting.aliases, *([f"{setting.variable}_FILE"] if setting.secret else [])}
    assert set(re.findall(r"SCHEDULER_[A-Z_]*[A-Z]", README)) <= known


def test_the_defaults_in_the_table_are_those_of_the_program() -> None:
    lines = re.findall(r"^\| (`[^|]*`) \| (`[^|]*`) \|", _chapter("Configuration"), re.MULTILINE)
    told = {names: values.strip("`").split("`, `") for names, values in lines}
    real = {names: [SETTINGS[name].default for name in names.strip("`").split("`, `")] for names in told}
    with_defaults = [names for names in told if None not in real[names]]
    assert len(with_defaults) >= 5
    assert {names: told[names] for names in with_defaults} == {
        names: [", ".join(one) if isinstance(one, tuple) else str(one).lower() for one in real[names]]
        for names in with_defaults
    }


def test_the_configuration_file_in_it_is_accepted(tmp_path: Path) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    (tmp_path / "scheduler.toml").write_text(text, encoding="utf-8")
    config = load_config(path=tmp_path / "scheduler.toml", environ={}, flags={})
    assert list(config.egress.allow) == tomllib.loads(text)["egress"]["allow"]


def test_every_file_and_folder_it_names_exists() -> None:
    files = {name for name in re.findall(r"[\w./]+\.py\b", README) if not name.startswith(".")}
    folders = {name for name in _first_cells(_chapter("Developing")) if re.fullmatch(r"[a-z]+", name)}
    nested = {span for span in SPANS if re.fullmatch(r"(?:api|store|engine|domain|tests)(?:/[a-z_]+)+", span)}
    assert len(files) > 20 and len(folders) > 5 and nested
    assert [name for name in files | folders | nested if not any((at / name).exists() for at in (ROOT, PACKAGE))] == []


async def test_a_database_starts_after_the_statements_for_a_lost_key(tmp_path: Path) -> None:
    (statements,) = re.findall(r'^sqlite3 scheduler-data/scheduler.db "(.*?)"$', README, re.DOTALL | re.MULTILINE)
    config = Config(data_dir=tmp_path)
    async with open_service(config, open_data_dir(config)) as service:
        await add_job(service.stores, service.clock.now(), webhook={"headers": {"Authorization": "Bearer x"}})
    (tmp_path / "secret.key").unlink()
    with pytest.raises(StartError, match="is not the key"):
        async with open_service(config, open_data_dir(config)):
            pass
    with closing(sqlite3.connect(tmp_path / "scheduler.db")) as database:
        database.executescript(statements)
    async with open_service(config, open_data_dir(config)) as service:
        page = await service.stores.webhooks.page(USER, skip=0, limit=1)
    assert [webhook.headers for webhook in page.items] == [None]


def test_it_explains_every_metric_there_is() -> None:
    body, _ = Telemetry(Events(), pool_size=1).render(pool_in_use=0, counts={}, waiting_s=0.0, dropped_log_lines=0)
    measured = set(re.findall(r"^# TYPE (\w+)", body.decode(), re.MULTILINE))
    assert set(_first_cells(_chapter("Health, metrics and logs"))) - {"/health"} >= measured
    assert set(re.findall(r"`(scheduler_\w+)", README)) == measured


def test_it_lists_every_error_code_with_its_status() -> None:
    rows = re.findall(r"^\| (`[A-Z].*?) \| (\d{3}) \|$", _chapter("The API"), re.MULTILINE)
    told = {code: int(status) for codes, status in rows for code in re.findall(r"`([A-Z_]+)`", codes)}
    assert told == STATUS_OF


def test_it_lists_every_status_verdict_and_field_of_a_policy() -> None:
    assert set(_first_cells(_chapter("How it works"))) == {status.value for status in Status}
    assert {verdict.value for verdict in Verdict} <= set(re.findall(r"`(\w+)`", _chapter("Explaining a due time")))
    assert {one.name for one in fields(RetryPolicy)} <= set(_first_cells(_chapter("Retries and dead letters")))


@pytest.mark.parametrize(
    ("noun", "schema"), [("jobs", "JobDocument"), ("webhooks", "WebhookDocument"), ("executions", "ExecutionDocument")]
)
def test_every_field_it_adds_is_in_the_answers(noun: str, schema: str) -> None:
    (item,) = re.findall(
        rf"^\* {noun}: (.*?)(?=^\* |\n\n)", _chapter("Coming from the original system"), re.MULTILINE | re.DOTALL
    )
    named = set(" ".join(re.findall(r"`([^`]+)`", item)).split()) - {"skipped", "cancelled"}
    assert named and named <= set(openapi_document()["components"]["schemas"][schema]["properties"])


def test_the_changelog_knows_this_version() -> None:
    assert f"**{__version__}**" in README[README.index("## Changelog") :]
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'image.version="{__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")
