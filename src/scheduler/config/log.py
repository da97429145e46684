"""What is logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from scheduler.config.settings import Setting


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is logged, on standard error."""

    level: Annotated[
        str, Setting("The lowest level that is written.", choices=("debug", "info", "warning", "error"), live=True)
    ] = "info"
    format: Annotated[
        str,
        Setting(
            "json: one object a line; text: for people; auto: text on a terminal, json elsewhere.",
            choices=("auto", "json", "text"),
            live=True,
        ),
    ] = "auto"
