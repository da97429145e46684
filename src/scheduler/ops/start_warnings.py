"""Warnings at a start, for the operator."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from scheduler.config import Config
from scheduler.ops.data_dir import sealing_key_path


def start_warnings(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence each; ``environ`` has the variables of the process."""
    for path in (sealing_key_path(config), config.data_dir / "jwt.secret"):
        if _is_world_readable(path):
            yield f"{path} can be read by every user of this machine: chmod 600 it"
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        places = [place for place in environ.get(name, "").split(":" if name == "SSL_CERT_DIR" else "\0") if place]
        if places and not any(Path(place).exists() for place in places):
            yield f"{name} is {environ[name]}, which does not exist: certificates of receivers are verified without it"


def _is_world_readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # there is none, or it cannot be read, which is reported by what reads it
