"""The documentation: Swagger UI, ReDoc and the OpenAPI document, all served from this package, without a network."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import orjson
from aiohttp import hdrs, web

from scheduler.api.http.answers import Answer
from scheduler.api.http.openapi import document
from scheduler.api.http.operation import open_to_all, operation

STATIC: Final = Path(str(files("scheduler"))) / "ui" / "static"
_SERVED: Final = (
    "docs/redoc-init.js",
    "docs/redoc.css",
    "docs/swagger-init.js",
    "redoc/LICENSE",
    "redoc/redoc.standalone.js",
    "redoc/redoc.standalone.js.LICENSE.txt",
    "swagger-ui/LICENSE",
    "swagger-ui/NOTICE",
    "swagger-ui/swagger-ui-bundle.js",
    "swagger-ui/swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui/swagger-ui.css",
)
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
# Both pages write style attributes at run time; ReDoc searches in a worker that it makes from a blob.
_PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class OpenApiDocument(Answer):
    """This document."""


@operation(tag="documentation", summary="This document, OpenAPI 3.1", answers={200: OpenApiDocument}, public=True)
async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=await asyncio.to_thread(_document_bytes, request.app), content_type="application/json")


@open_to_all
async def swagger_page(request: web.Request) -> web.Response:
    return _page("docs/swagger.html")


@open_to_all
async def redoc_page(request: web.Request) -> web.Response:
    return _page("docs/redoc.html")


@open_to_all
async def static_file(request: web.Request) -> web.StreamResponse:
    """One of a fixed list of files, which browsers revalidate."""
    name = request.match_info["name"]
    if name not in _SERVED:
        raise web.HTTPNotFound
    # fixed, not from the tables of the machine, because browsers run scripts of this type only
    media_type = _MEDIA_TYPES.get(Path(name).suffix, "text/plain")
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8"}
    return web.FileResponse(STATIC / name, headers=headers)


@cache
def _document_bytes(app: web.Application) -> bytes:
    return orjson.dumps(document(app))


def _page(name: str) -> web.Response:
    return web.Response(
        body=_text(name), content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": _PAGE_CSP}
    )


@cache
def _text(name: str) -> bytes:
    return (STATIC / name).read_bytes()
