"""Copies a database, and dies of SIGKILL when so many rows have been copied.

``python -m tests.cli.dying_copy DIR FROM TO ROWS``, with the URLs that ``scheduler db copy`` takes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from scheduler.config import Config
from scheduler.ops.copy import copy_database


def main() -> None:
    directory, source, target, rows = sys.argv[1:]
    left = int(rows)

    def die_in_time(copied: int) -> None:
        nonlocal left
        left -= copied
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(copy_database(Config(data_dir=Path(directory)), source, target, lambda _: die_in_time))


if __name__ == "__main__":
    main()
