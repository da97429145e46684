"""The error that ends a process: an exit code, and one sentence for the operator."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of ``scheduler``; 0 is success."""

    FAILURE = 1
    """Every failure without a code of its own."""
    USAGE = 2
    """Wrong arguments."""
    CONFIGURATION = 3
    """The configuration or a file of the installation is wrong."""
    NOT_PERMITTED = 4
    """The operating system, the disk or the database refuses."""


class StartError(Exception):
    """Why a service or an offline command cannot start or go on, in one sentence for the operator."""

    def __init__(self, message: str, *, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
