"""What a setting is: its meaning, the values it takes, and where it stands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

PREFIX = "SCHEDULER_"
"""What the name of every variable of ours begins with."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Setting:
    """What a setting means and which values it takes; stands in the annotation of its field."""

    meaning: str
    _: KW_ONLY
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[Any], str | None] | None = None
    """Returns what is wrong with a value of the right type, or ``None``."""
    secret: bool = False
    """Never shown, and read from the file that ``<variable>_FILE`` names as well."""
    takes_one: bool = False
    """Of a list: a text alone means a list of that one."""
    live: bool = False
    """A change takes effect on SIGHUP, without a restart."""
    aliases: tuple[str, ...] = ()
    """Further variables; ``PlacedSetting.variable`` goes before them."""
    example: str | tuple[str, ...] = ""
    """Shown where the default is nothing."""


@dataclass(frozen=True, kw_only=True)
class PlacedSetting(Setting):
    """A setting with its path, its type and its default."""

    path: str
    """``section.name``, or ``name`` for a setting that is in no section."""
    kind: type
    """``bool``, ``int``, ``float``, ``str``, ``Path``, or ``tuple`` for a list of texts."""
    optional: bool
    default: Any

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.path.replace(".", "__").upper()


def accept(setting: PlacedSetting, raw: object) -> Any:
    """``raw`` as the value of the setting. Raises ``ValueError`` with what would be right."""
    if raw is None and setting.optional:
        return None
    value = _typed(setting, raw)
    if setting.choices and value not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}, not {_shown(setting, raw)}")
    if (setting.low is not None and value < setting.low) or (setting.high is not None and value > setting.high):
        raise ValueError(f"must be {limits_text(setting)}, not {_shown(setting, raw)}")
    if setting.check is not None and (wrong := setting.check(value)):
        raise ValueError(wrong)
    return value


def limits_text(setting: Setting) -> str:
    """The range of a number in words, or nothing."""
    if setting.low is None and setting.high is None:
        return ""
    if setting.high is None:
        return f"{setting.low:,} or more"
    return f"{setting.low or 0:,} to {setting.high:,}"


def _typed(setting: PlacedSetting, raw: object) -> Any:
    if setting.kind is bool and isinstance(raw, bool):
        return raw
    if setting.kind in (int, float) and isinstance(raw, int | float) and not isinstance(raw, bool):
        return _number(setting, raw)
    if setting.kind is tuple and (raw == "" or (isinstance(raw, list | tuple) and "" in raw)):
        raise ValueError("must be a list of texts, and none of them empty")
    if setting.kind is tuple and setting.takes_one and isinstance(raw, str):
        return (raw,)
    if setting.kind is tuple and isinstance(raw, list | tuple) and all(isinstance(item, str) and item for item in raw):
        return tuple(raw)
    if setting.kind in (str, Path) and isinstance(raw, str | Path):
        return _text(setting, str(raw))
    wanted = {bool: "true or false", int: "a whole number", float: "a number", tuple: "a list of texts"}
    raise ValueError(f"must be {wanted.get(setting.kind, 'a text')}, not {_shown(setting, raw)}")


def _number(setting: PlacedSetting, raw: float) -> float:
    if setting.kind is int:
        if isinstance(raw, int):
            return raw
        raise ValueError(f"must be a whole number, not {raw}")
    if not abs(raw) <= sys.float_info.max:
        raise ValueError(f"must be a number, not {_shown(setting, raw)}")
    return float(raw)


def _text(setting: PlacedSetting, text: str) -> str | Path:
    if not text.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(text):
        raise ValueError("must be one line without control characters")
    if setting.kind is not Path:
        return text
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"names a home directory that does not exist: {text}") from None


def _shown(setting: PlacedSetting, raw: object) -> str:
    if setting.secret:
        return "what it is"
    text = f'"{raw}"' if isinstance(raw, str) else str(raw)
    return text if len(text) <= 60 else text[:57] + "..."
