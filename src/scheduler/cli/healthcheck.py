"""``scheduler healthcheck``: checks whether a running service is ready; for the HEALTHCHECK of a container."""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import click

from scheduler.cli import Failure
from scheduler.cli.config import config_option, data_dir_option, read_config
from scheduler.config import Config
from scheduler.ops.data_dir import recorded_address
from scheduler.ops.start_error import ExitCode

_TIMEOUT_S = 3


@click.command
@click.option(
    "--url",
    metavar="URL",
    help="Base address of the service, or a page of it; default: the service on this data directory, or the configured "
    "host and port.",
)
@config_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print an object with url, ready and reason.")
def healthcheck(*, url: str | None, config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Check whether a running service is ready.

    Exits with 0 if it is and with 1 if it is not.
    """
    address = _page(url or _known_address(read_config(config_file, {"data_dir": data_dir})))
    reason = _problem_with_service(address)
    if as_json:
        click.echo(json.dumps({"url": address, "ready": reason is None, "reason": reason}))
    if reason is None:
        return
    if as_json:
        raise SystemExit(ExitCode.FAILURE)
    raise Failure(f"{address}: {reason}", exit_code=ExitCode.FAILURE)


def _known_address(config: Config) -> str:
    """The address of the service on this machine: as it is on record, or as it is configured."""
    if recorded := recorded_address(config):
        parts = urlsplit(recorded)
        return _reachable(parts.hostname or "", parts.port or 0)
    if config.server.port == 0:
        raise click.UsageError("the configured port is 0 (any free port): name the address with --url")
    return _reachable(config.server.host[0], config.server.port)


def _reachable(host: str, port: int) -> str:
    """The base URL for a client on this machine, which cannot connect to ``0.0.0.0`` or ``::``."""
    if ":" in host or host.replace(".", "").isdigit():
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _page(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise click.UsageError(f'--url must be an http or https address, not "{url}"')
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/health/ready"


def _problem_with_service(address: str) -> str | None:
    # not through the proxy of the environment: the service runs on this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=_TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"answered {error.code}"
    except urllib.error.URLError as error:
        return f"no answer: {error.reason}"
    except (OSError, HTTPException) as error:
        return f"no answer: {error or type(error).__name__}"
