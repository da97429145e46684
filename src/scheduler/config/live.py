"""Live settings: compares a configuration that was read again with the one in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from scheduler.config import SETTINGS, Config


@dataclass(frozen=True, kw_only=True)
class Reread:
    """A configuration that was read again, compared with the one in force."""

    config: Config
    """The one in force with the live settings of the new one."""
    applied: tuple[str, ...]
    """The live settings that are different."""
    needs_restart: tuple[str, ...]
    """The other settings that are different; they stay as they are."""


def reread(running: Config, new: Config) -> Reread:
    """What of ``new`` takes effect in a process that runs with ``running``."""
    different = [path for path in SETTINGS if attrgetter(path)(new) != attrgetter(path)(running)]
    applied = tuple(path for path in different if SETTINGS[path].live)
    sections: dict[str, dict[str, Any]] = {}
    for path in applied:
        section, _, name = path.rpartition(".")
        sections.setdefault(section, {})[name] = attrgetter(path)(new)
    return Reread(
        config=_with_sections(running, sections),
        applied=applied,
        needs_restart=tuple(path for path in different if not SETTINGS[path].live),
    )


def _with_sections(config: Config, sections: Mapping[str, Mapping[str, Any]]) -> Config:
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in sections.items()})
