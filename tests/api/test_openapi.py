"""The document: valid, complete, the same each time, and true of the application as it runs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from scheduler.api.app import openapi_document
from scheduler.api.http.openapi import document
from scheduler.domain.clock import SystemClock
from scheduler.service import Service
from tests.api.conftest import Api, Serve
from tests.checks import present
from tests.conftest import OpenService

EXAMPLES = 3
"""Generated requests per operation and phase: enough to meet every field, few enough for every commit."""


def test_the_document_is_valid_openapi() -> None:
    openapi_document.cache_clear()
    made = openapi_document()
    assert made["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(made).iter_errors()) == []


async def test_the_document_is_the_same_however_often_it_is_made(api: Api) -> None:
    served = await api.get("/openapi.json", user=None)
    assert served.json == openapi_document()
    assert document(api.service.api()) == document(api.service.api()) == openapi_document()


async def test_every_route_but_the_pages_is_in_the_document(service: Service) -> None:
    paths = openapi_document()["paths"]
    routed = {
        (route.method.lower(), present(route.resource).canonical)
        for route in service.api().router.routes()
        if route.method != "HEAD"
    }
    pages = {("get", path) for path in ("/docs", "/redoc", "/static/{name}")}
    assert {(method, path) for path, operations in paths.items() for method in operations} | pages == routed


def test_operations_tell_how_they_may_refuse() -> None:
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            assert {"400", "500", "503"} <= statuses, (method, path)
            assert ("401" in statuses) == (operation.get("security") != []), (method, path)
            assert ("413" in statuses) == ("requestBody" in operation), (method, path)
            assert ("404" in statuses) or "{" not in path, (method, path)
    names = [
        operation["operationId"]
        for operations in openapi_document()["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))


def test_both_paths_of_webhooks_are_the_same() -> None:
    paths = openapi_document()["paths"]
    for path in ("/webhooks", "/webhooks/{webhook_id}", "/webhooks/{webhook_id}/rotate-secret"):
        for method, operation in paths[path].items():
            alias = paths[f"/api{path}"][method]
            assert {**alias, "operationId": operation["operationId"]} == operation


async def test_schemathesis_finds_the_service_to_be_what_the_document_says(
    open_test_service: OpenService, serve: Serve, tmp_path: Path
) -> None:
    """All checks, over HTTP; jobs fire, but nothing is delivered."""
    async with open_test_service(clock=SystemClock()) as service, serve(service) as api:
        service.engine.trigger_loop.start()
        code, output = await run_schemathesis(api, tmp_path)
        service.engine.trigger_loop.stop()
    assert code == 0, output


async def run_schemathesis(api: Api, directory: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"http://{api.host}:{api.port}/openapi.json",
        f"--header=Authorization: Bearer {api.token()}",
        f"--max-examples={EXAMPLES}",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        # the alias answers with the same handlers, and a test above holds the two to each other
        "--exclude-path-regex=^/api/webhooks",
        "--seed=1",
        "--generation-database=none",
        "--suppress-health-check=all",
        "--no-color",
        cwd=directory,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_formats", "PYTHONPATH": str(Path(__file__).parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize("name", ["JobCreate", "WebhookCreate", "AccountForm"])
def test_unknown_fields_are_refused_by_the_document_too(name: str) -> None:
    assert openapi_document()["components"]["schemas"][name]["additionalProperties"] is False
