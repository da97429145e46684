"""The documentation pages: everything they load comes from this service, and their policy permits nothing else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from scheduler.api.http.docs import STATIC
from tests.api.conftest import Api

PAGES = {"/docs": "swagger-ui", "/redoc": "redoc"}
VENDORED = {
    "swagger-ui/swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui/swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "redoc/redoc.standalone.js": "dcaf76612bc4a3fbcc923a8966dee2f6146a5f32e5ce1b6f02dd60cbbf89500b",
}
"""SHA-256 of the files as they were published: an edit of one fails its test."""


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_loads_only_what_is_here(api: Api, page: str) -> None:
    reply = await api.get(page, user=None)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    links = set(re.findall(r'(?:src|href)="(.*?)"', reply.text)) - {"data:,"}
    assert any(PAGES[page] in link for link in links)
    for link in links:
        assert not re.match(r"(\w+:)?//|/", link), f"{link} is not relative to the page"
        loaded = await api.get(f"/{link}", user=None)
        assert loaded.status == 200, link
        expected = {"js": "text/javascript", "css": "text/css", "json": "application/json"}[link.rpartition(".")[2]]
        assert loaded.headers["Content-Type"].partition(";")[0] == expected


@pytest.mark.parametrize("page", PAGES)
async def test_the_policy_of_a_page_is_strict(api: Api, page: str) -> None:
    reply = await api.get(page, user=None)
    policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe-eval" not in str(policy)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=", reply.text), "inline code would not run"


def test_swagger_ui_asks_nobody_and_reads_no_address_from_the_query() -> None:
    script = (STATIC / "docs" / "swagger-init.js").read_text()
    assert "validatorUrl: null" in script
    assert "queryConfigEnabled: false" in script
    assert 'url: "openapi.json"' in script


@pytest.mark.parametrize("name", VENDORED)
async def test_vendored_files_are_as_published(api: Api, name: str) -> None:
    content = (STATIC / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == VENDORED[name]
    async with api.session.get(f"/static/{name}") as response:
        assert await response.read() == content
        again = await api.get(f"/static/{name}", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("folder", ["swagger-ui", "redoc"])
async def test_licences_are_shipped_and_shown(api: Api, folder: str) -> None:
    assert "License" in (await api.get(f"/static/{folder}/LICENSE", user=None)).text
    notices = list((STATIC / folder).glob("*.LICENSE.txt"))
    assert notices
    for notice in notices:
        assert (await api.get(f"/static/{folder}/{notice.name}", user=None)).status == 200


@pytest.mark.parametrize(
    "path",
    ["README.md", "docs/swagger.html", "docs", "", "redoc/", "../../api/app.py", "..%2f..%2fapi%2fapp.py", "redoc/%00"],
)
async def test_no_other_file_can_be_had(api: Api, path: str) -> None:
    assert (await api.get(f"/static/{path}", user=None)).status == 404


def test_every_file_of_the_package_is_listed_in_its_readme() -> None:
    folders = {entry.name for entry in Path(STATIC).iterdir() if entry.is_dir()}
    assert folders == {name for name in folders if f"`{name}`" in (STATIC / "README.md").read_text()}
