"""The output of ``scheduler serve`` once it listens: a banner on a terminal, one event in a log."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from scheduler import __version__
from scheduler.domain.schedule.zones import zone_data

DEV_WARNING = "--dev: webhooks may reach loopback and private networks; do not use it where others can make jobs"

_LOCAL = ("127.0.0.1", "0.0.0.0", "::1", "::")  # noqa: S104 - compared with, not listened on

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A service that has begun to listen."""

    url: str
    """The address to show, without a slash at the end."""
    data_dir: str
    created: tuple[str, ...]
    """Files made by this start; none after the first."""
    user: str
    token: str | None
    """``None`` where only an identity provider can make tokens."""
    token_life_s: int
    server: str | None = None
    """The URL of a PostgreSQL database without its password; ``None`` on SQLite."""
    demo_url: str | None = None
    """A URL of the demo receiver that accepts every request."""
    is_dev: bool = False


def reachable_url(listening: str, public: str | None) -> str:
    """The address to show: the public one, or the listener's with a name in place of a local or catch-all address."""
    if public:
        return public.rstrip("/")
    parts = urlsplit(listening)
    if parts.hostname not in _LOCAL:
        return listening.rstrip("/")
    return urlunsplit((parts.scheme, f"localhost:{parts.port}" if parts.port else "localhost", "", "", ""))


def banner(started: Started) -> str:
    """The banner for a terminal, without a line break at its end."""
    return "\n".join(_lines(started))


def _lines(started: Started) -> Iterator[str]:
    yield f"scheduler {__version__}" + ("   first start" if started.created else "")
    if started.created:
        names = [f"{name} (SQLite, WAL)" if name.endswith(".db") else name for name in started.created]
        yield f"  created    {started.data_dir}/{', '.join(names)} — keep copies with your backups"
    if started.server is not None:
        yield f"  Database   {started.server}"
    yield f"  Time zones {zone_data()}"
    yield f"  API docs   {started.url}/docs"
    yield f"  Metrics    {started.url}/metrics    Health  {started.url}/health"
    if started.token is None:
        yield "  Token      from your identity provider; machines use API keys: POST /api/keys"
    else:
        another = "another: scheduler token create" + _data_dir_flag(started.data_dir)
        yield f"  Token      {started.token}   user {started.user}, {_life(started.token_life_s)}; {another}"
        yield f"  Try        {first_job_command(started)}"
    if started.is_dev:
        yield f"  {DEV_WARNING}"
    yield "  Ctrl-C stops (waits for running webhooks)."


def first_job_command(started: Started) -> str:
    """A command for a POSIX shell that creates a job with a webhook every ten seconds."""
    webhook = {"url": started.demo_url or "https://example.com/", "method": "POST" if started.demo_url else "GET"}
    job = json.dumps({"name": "first", "schedule": "*/10 * * * * *", "webhook": webhook}, separators=(",", ":"))
    return (
        f"curl -X POST {shlex.quote(started.url + '/api/jobs')} -H 'Authorization: Bearer {started.token}' "
        f"-H 'Content-Type: application/json' -d '{job}'"
    )


def log_start(started: Started) -> None:
    """Log what the banner says as one event, without the token; ``--dev`` is a warning of its own."""
    event: dict[str, object] = {
        "version": __version__,
        "url": started.url,
        "data_dir": started.data_dir,
        "files_made": started.created,
        "zone_data": str(zone_data()),
    }
    if started.server is not None:
        event["database"] = started.server
    log.info("started", extra=event)
    if started.is_dev:
        log.warning(DEV_WARNING)


def _data_dir_flag(path: str) -> str:
    return "" if path == "scheduler-data" else f" --data-dir {shlex.quote(path)}"


def _life(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}" + ("" if count == 1 else "s")
    return f"{seconds} seconds"
