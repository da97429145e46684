"""``scheduler healthcheck`` against a server that answers what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result

from scheduler.cli.healthcheck import healthcheck


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/health/ready": 200, "/health": 200, "/draining": 503}.get(self.path, 404))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def check(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(healthcheck, arguments, env={"SCHEDULER_CONFIG": None, **environ})


@pytest.mark.parametrize("path", ["", "/", "/health"])
def test_a_ready_service_is_exit_code_0(path: str, port: int) -> None:
    result = check("--url", f"http://127.0.0.1:{port}{path}")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_without_an_address_it_asks_where_the_service_is_configured_to_listen(host: str, port: int) -> None:
    assert check(SCHEDULER_SERVER__PORT=str(port), SCHEDULER_SERVER__HOST=host).exit_code == 0


def test_a_proxy_of_the_environment_is_not_asked(port: int) -> None:
    assert check("--url", f"http://127.0.0.1:{port}", http_proxy="http://127.0.0.1:9").exit_code == 0


def test_a_service_that_is_not_ready_is_exit_code_1(port: int) -> None:
    url = f"http://127.0.0.1:{port}/draining"
    result = check("--url", url)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{url}: answered 503\n")
    result = check("--url", url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"url": url, "ready": False, "reason": "answered 503"}


def test_a_service_that_does_not_answer_is_exit_code_1() -> None:
    result = check("--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("http://127.0.0.1:1/health/ready: no answer: ")


@pytest.mark.parametrize(("url", "code"), [("localhost:8000", 2), ("file:///etc/passwd", 2), ("", 1)])
def test_what_is_no_url_is_refused(url: str, code: int) -> None:
    """An empty one is none: the service is asked where it is configured to listen, and does not."""
    assert check("--url", url).exit_code == code
