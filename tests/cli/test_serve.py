"""``scheduler serve`` as a process: its banner, its demo, and the errors that it ends with."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest

from scheduler.cli.banner import Started, banner, reachable_url
from scheduler.demo import demo_jobs, demo_receiver
from scheduler.domain.schedule.zones import zone_data

STARTED = Started(
    url="http://localhost:8000",
    data_dir="d",
    created=("scheduler.db", "jwt.secret", "secret.key"),
    user="admin",
    token="a.b.c",
    token_life_s=30 * 86_400,
)
TRY = "curl -X POST http://localhost:8000/api/jobs -H 'Authorization: Bearer a.b.c' -H 'Content-Type: application/json'"


def environment(**more: str) -> dict[str, str]:
    ours = ("SCHEDULER_", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scheduler", *arguments]


def ending(*arguments: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(**environ), check=False)
    return done.returncode, done.stdout, done.stderr


@contextmanager
def serving(*arguments: str, stderr: int = subprocess.PIPE, **environ: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("serve", "--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment(**environ),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def started_event(stream: IO[str] | None) -> dict[str, Any]:
    assert stream is not None
    for line in stream:
        event: dict[str, Any] = json.loads(line)
        if event["message"] == "started":
            return event
    raise AssertionError("the process ended without the event")


def ask(url: str, *, token: str | None = None, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as answer:
        return answer.status, json.load(answer)


def test_first_start_second_start_and_a_token_in_between(tmp_path: Path) -> None:
    data_dir = str(tmp_path / "data")
    with serving("--data-dir", data_dir) as process:
        event = started_event(process.stderr)
        assert event["files_made"] == ["scheduler.db", "jwt.secret", "secret.key"]
        assert event["zone_data"] == str(zone_data())
        assert ask(f"{event['url']}/health") == (200, {"status": "healthy", "service": "scheduler"})
        code, token, _ = ending("token", "create", "--data-dir", data_dir)
        assert code == 0
        assert ask(f"{event['url']}/api/jobs", token=token.strip())[1]["items"] == []
        process.send_signal(signal.SIGTERM)
        rest = process.communicate()
        assert process.returncode == 0
        assert rest[0] == ""
        assert "eyJ" not in json.dumps(event) + rest[1]
    with serving("--data-dir", data_dir, "--dev") as process:
        event = started_event(process.stderr)
        assert event["files_made"] == []
        assert ask(f"{event['url']}/api/jobs", token=token.strip())[0] == 200
        process.send_signal(signal.SIGINT)
        # Not communicate(): what was read ahead with the first line would be lost to it.
        assert process.stderr is not None and "loopback and private networks" in process.stderr.read()
        assert process.wait(20) == 0


def test_a_start_warns_of_what_an_operator_should_know(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    (tmp_path / "secret.key").chmod(0o644)
    with serving("--data-dir", str(tmp_path), SSL_CERT_FILE="/nowhere.pem") as process:
        started_event(process.stderr)
        assert process.stderr is not None
        warnings = [json.loads(process.stderr.readline()) for _ in range(2)]
    assert [warning["level"] for warning in warnings] == ["warning"] * 2
    assert "secret.key can be read by every user" in warnings[0]["message"]
    assert "SSL_CERT_FILE is /nowhere.pem, which does not exist" in warnings[1]["message"]


def test_on_a_terminal_the_line_to_try_works_when_pasted(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    with serving("--data-dir", str(tmp_path / "data"), stderr=end) as process, os.fdopen(terminal, "rb") as screen:
        os.close(end)
        lines: list[str] = []
        while not any("Ctrl-C" in line for line in lines):
            lines.append(screen.readline().decode().rstrip())
        assert lines[0] == "scheduler 1.0.0   first start"
        pasted = next(line.split("Try", 1)[1] for line in lines if line.startswith("  Try"))
        words = shlex.split(pasted)
        assert words[:4] == ["curl", "-X", "POST", words[3]]
        status, job = ask(words[3], token=words[5].removeprefix("Authorization: Bearer "), body=words[9].encode())
        assert (status, job["name"], job["schedule"]) == (201, "first", "*/10 * * * * *")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_the_demo_prints_a_line_for_each_delivery(tmp_path: Path) -> None:
    wanted = {
        r"demo: always works +attempt 1 +answered 200",
        r"demo: fails twice, then works +attempt 3 +answered 200",
        r"demo: always fails +attempt 2 +answered 503",
    }
    with serving("--data-dir", str(tmp_path / "data"), "--demo") as process:
        assert process.stdout is not None
        while wanted:
            line = process.stdout.readline()
            assert line, process.communicate()
            wanted = {pattern for pattern in wanted if not re.search(pattern, line)}
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = ending("serve", "--port", str(port), "--data-dir", str(tmp_path))
    assert (code, out) == (4, "")
    assert err.splitlines()[-1] == f"port {port} on 127.0.0.1 is taken: choose another with --port"
    assert "Traceback" not in err


def test_an_address_of_another_machine_is_one_sentence(tmp_path: Path) -> None:
    code, out, err = ending("serve", "--host", "192.0.2.1", "--port", "0", "--data-dir", str(tmp_path))
    assert (code, out) == (4, "")
    assert err.splitlines()[-1] == "192.0.2.1 is no address of this machine: choose another with --host"


def test_a_bad_configuration_is_told_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[server]\nport = 'x'\n")
    code, out, err = ending("serve", "--config", str(path), SCHEDULER_LOG__LEVEL="loud", SCHEDULER_DATA_DIR="d")
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        f'{path}:2: server.port: must be a whole number, not "x"',
        'SCHEDULER_LOG__LEVEL: must be one of debug, info, warning, error, not "loud"',
    ]


def test_a_data_directory_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = ending("serve", "--data-dir", str(tmp_path / "file"))
    assert (code, out) == (4, "")
    assert err == f"the data directory {tmp_path / 'file'} is no directory: choose another with --data-dir\n"


def test_the_banner_of_a_first_start() -> None:
    job = '{"name":"first","schedule":"*/10 * * * * *","webhook":{"url":"https://example.com/","method":"GET"}}'
    assert banner(STARTED).splitlines() == [
        "scheduler 1.0.0   first start",
        "  created    d/scheduler.db (SQLite, WAL), jwt.secret, secret.key — keep copies with your backups",
        f"  Time zones {zone_data()}",
        "  API docs   http://localhost:8000/docs",
        "  Metrics    http://localhost:8000/metrics    Health  http://localhost:8000/health",
        "  Token      a.b.c   user admin, 30 days; another: scheduler token create --data-dir d",
        f"  Try        {TRY} -d '{job}'",
        "  Ctrl-C stops (waits for running webhooks).",
    ]


def test_the_banner_of_a_later_start_with_a_demo_on_an_open_network() -> None:
    later = replace(STARTED, created=(), data_dir="scheduler-data", demo_url="http://127.0.0.1:9/hello", is_dev=True)
    lines = banner(later).splitlines()
    assert lines[0] == "scheduler 1.0.0"
    assert lines[4].endswith("another: scheduler token create")
    assert '"webhook":{"url":"http://127.0.0.1:9/hello","method":"POST"}' in lines[5]
    assert "loopback and private networks" in lines[6]


@pytest.mark.parametrize(
    ("listening", "public", "shown"),
    [
        ("http://127.0.0.1:8000", None, "http://localhost:8000"),
        ("http://0.0.0.0:81", None, "http://localhost:81"),
        ("http://[::]:81", None, "http://localhost:81"),
        ("http://192.0.2.7:81", None, "http://192.0.2.7:81"),
        ("http://0.0.0.0:81", "https://jobs.example.org/", "https://jobs.example.org"),
    ],
)
def test_the_address_shown_is_one_to_click(listening: str, public: str | None, shown: str) -> None:
    assert reachable_url(listening, public) == shown


async def test_the_demo_receiver_behaves_as_each_job_says() -> None:
    lines: list[str] = []
    async with demo_receiver(lines.append) as port, aiohttp.ClientSession() as session:
        seen = {}
        for job in demo_jobs(port):
            statuses = []
            for run in ("run-1", "run-1", "run-1", "run-2"):
                async with session.post(job["webhook"]["url"], headers={"webhook-id": run}) as answer:
                    statuses.append(answer.status)
            seen[job["name"]] = statuses
        async with session.get(f"http://127.0.0.1:{port}/my-own") as answer:
            assert answer.status == 200
    assert seen == {
        "demo: always works": [200, 200, 200, 200],
        "demo: fails twice, then works": [503, 503, 200, 503],
        "demo: always fails": [503, 503, 503, 503],
    }
    assert len(lines) == 13
    assert lines[6].endswith("demo: fails twice, then works  attempt 3  answered 200")
    assert "attempt 1  answered 503" in lines[7]


def test_the_banner_names_the_database_of_a_server() -> None:
    page = banner(replace(STARTED, server="postgresql://ann@db/scheduler"))
    assert "  Database   postgresql://ann@db/scheduler" in page.splitlines()


def test_the_banner_has_no_token_where_an_identity_provider_makes_them() -> None:
    page = banner(replace(STARTED, token=None))
    assert "Token      from your identity provider" in page
    assert "Try" not in page
    assert "None" not in page
