"""Rotates the key of a data directory again and again, and each time dies of SIGKILL one step later.

``python -m tests.cli.dying_rotation DIR`` prints a line for each death, reads all secrets after it, as a start would,
and rotates once more without a kill. Ends with the first rotation that survives.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scheduler.config import Config
from scheduler.ops import data_dir, files
from scheduler.ops import rotate_key as rotation
from scheduler.store import sealing
from tests.cli.test_secrets import everything_opens


def main() -> None:
    config = Config(data_dir=Path(sys.argv[1]))
    for steps in itertools.count():
        killed_at = rotate_for(steps, config)
        if killed_at is None:
            return
        print(killed_at, flush=True)
        assert asyncio.run(everything_opens(config)), killed_at
        asyncio.run(rotation.rotate_sealing_key(config))
        assert len(data_dir.read_sealing_keys(config)) == 1, killed_at


def rotate_for(steps: int, config: Config) -> str | None:
    """Where a rotation was killed that was given so many steps; ``None`` when they sufficed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _die_after(steps, lambda name: os.write(writing, name.encode()))
        asyncio.run(rotation.rotate_sealing_key(config))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        killed_at = pipe.read()
    assert (os.waitstatus_to_exitcode(status), bool(killed_at)) in ((-signal.SIGKILL, True), (0, False))
    return killed_at or None


def _die_after(steps: int, tell: Callable[[str], Any]) -> None:
    left = steps

    def step(name: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            tell(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            step(f"before {name}")
            result = real(*arguments, **named)
            step(f"after {name}")
            return result

        setattr(owner, name, call)

    watch(files, "create")  # the draft of the key file
    watch(Path, "replace")  # the draft becomes the key file
    watch(sealing, "_anew")  # each row, inside the transaction
    watch(rotation, "_compact")  # the transaction is committed


if __name__ == "__main__":
    main()
