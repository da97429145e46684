"""``scheduler openapi``: the document that a running service answers at ``/openapi.json``."""

from __future__ import annotations

import json

import click


@click.command
def openapi() -> None:
    """Print the OpenAPI document as JSON."""
    from scheduler.api.app import openapi_document

    click.echo(json.dumps(openapi_document(), indent=2, ensure_ascii=False))
