"""Checks of settings that are texts: addresses, database URLs, the sealing key, networks and egress rules.

Each ``problem_with_x`` returns what is wrong in words, or ``None``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
import stat
from pathlib import Path
from urllib.parse import urlsplit

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.egress_rule import parse_egress_rule
from scheduler.domain.webhooks.url import canonical_host, is_address

_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?:")
_FORMS = (
    "must be sqlite:///RELATIVE or sqlite:////ABSOLUTE, a path of a file, or postgresql://USER:PASSWORD@HOST/DATABASE"
)


def postgres_dsn(url: str) -> str | None:
    """The address of a PostgreSQL database as its driver takes it; ``None`` for another kind of URL."""
    return _POSTGRES.sub("postgresql:", url, count=1) if _POSTGRES.match(url) else None


def shown_url(url: str) -> str:
    """The URL of a database without its passwords: that of the user, and that of the key of a client certificate."""
    return re.sub(
        r"(?<=//)([^:/@]*):.*@|(?<=[?&])((?:ssl)?password=)[^&]*", _without_password, url, flags=re.IGNORECASE
    )


def sqlite_path(url: str) -> Path:
    """The file that ``sqlite:///relative`` or ``sqlite:////absolute`` names. Raises ``ValueError`` for other URLs."""
    path = url.removeprefix("sqlite:///")
    if path == url or not path.strip("/"):
        raise ValueError(_FORMS)
    if path == ":memory:":
        raise ValueError("must be a file: jobs in memory would not survive a restart")
    if "?" in path or "#" in path:
        raise ValueError("must be a plain path, without ? and #")
    return Path(path)


def decode_sealing_key(text: str) -> bytes:
    """The 32 bytes of a sealing key written as base64, in either alphabet of RFC 4648. Raises ``ValueError``."""
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("must be base64 of exactly 32 bytes, such as `openssl rand -base64 32` prints")
    return key


def problem_with_database_url(url: str) -> str | None:
    try:
        if dsn := postgres_dsn(url):
            _require_postgres_address(dsn)
        else:
            sqlite_path(url)
    except ValueError as error:
        return str(error)
    return None


def _require_postgres_address(dsn: str) -> None:
    """Raises ``ValueError`` unless ``dsn`` has the form and the port of a URL that libpq reads."""
    parts = urlsplit(dsn)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not dsn.startswith("postgresql://") or port == 0:
        raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, the port a number from 1 to 65535")


def _without_password(found: re.Match[str]) -> str:
    return f"{found[1]}:***@" if found[1] is not None else f"{found[2]}***"


def problem_with_secret_file(path: Path) -> str | None:
    """Who can write a secret can choose it. Raises ``OSError`` when there is no such file."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        return f"{path} can be written by every user of this machine, who may have replaced the secret: chmod 600 it"
    return None


def problem_with_metrics_token(text: str) -> str | None:
    if re.fullmatch(r"[!-~]{16,}", text) is None:
        return "must have 16 characters or more, printable ones of ASCII without blanks"
    return None


def problem_with_secret_key(text: str) -> str | None:
    try:
        decode_sealing_key(text)
    except ValueError as error:
        return str(error)
    return None


def problem_with_hosts(hosts: tuple[str, ...]) -> str | None:
    if not hosts:
        return "must not be empty"
    return next((problem for problem in map(_problem_with_host, hosts) if problem), None)


def _problem_with_host(host: str) -> str | None:
    if _is_host(host) or is_address(host.partition("%")[0]):
        return None
    return f'must be one address or host name without a port, not "{host}"'


def problem_with_public_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        fine = False
    if fine and not (parts.query or parts.fragment or parts.username or re.search(r"\s", url)):
        return None
    return f'must be an http or https address such as https://scheduler.example.org, not "{url}"'


def problem_with_networks(entries: tuple[str, ...]) -> str | None:
    other = next((entry for entry in entries if not _is_network(entry)), None)
    return None if other is None else f'"{other}" is no network (172.18.0.0/16) and no address'


def problem_with_egress(entries: tuple[str, ...]) -> str | None:
    try:
        for entry in entries:
            parse_egress_rule(entry)
    except ValueError as error:
        return str(error)
    return None


def problem_with_ca_file(path: Path) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return f"must have certificates in PEM, which {path} has not"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None


def problem_with_proxy(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "http" and bool(parts.port) and _is_host(parts.hostname or "")
        fine &= parts.path in ("", "/") and not (parts.query or parts.fragment)
    except ValueError:
        fine = False
    if fine and url.isascii() and not re.search(r"\s", url):
        return None
    return "must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special characters percent-encoded"


def _is_host(text: str) -> bool:
    """Is it a host name or an address, without a port and without brackets?"""
    try:
        canonical_host(text)
    except SchedulerError:
        return ":" in text and "%" not in text and is_address(text)
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
