"""Loading a configuration in a test, and the problems of one that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from scheduler.config import Config, ConfigError, load_config


def load(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    tmp_path: Path | None = None,
) -> Config:
    path = None
    if text is not None:
        assert tmp_path is not None
        path = tmp_path / "scheduler.toml"
        path.write_text(text)
    return load_config(path=path, environ=environ or {}, flags=flags or {})


def problems(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    tmp_path: Path | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, environ, flags, tmp_path=tmp_path)
    return [str(one).replace(f"{tmp_path}/", "") for one in caught.value.problems]
