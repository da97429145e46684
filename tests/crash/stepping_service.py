"""The service on a clock that others move.

``python -m tests.crash.stepping_service FILE serve …`` is ``scheduler serve …`` on a wall clock that is off by the
microseconds in ``FILE``, from the moment they are written there. As with a machine whose clock is set, its timers run
on the monotonic clock, which is not set.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from datetime import datetime, tzinfo
from pathlib import Path

from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from scheduler import cli
from scheduler.domain.clock import SystemClock

_FORMAT = struct.Struct("<q")


class ClockOffset:
    """The microseconds that a clock is off, shared by all who open the same file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_FORMAT.pack(0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORMAT.size)

    def get(self) -> int:
        offset: int = _FORMAT.unpack_from(self._memory)[0]
        return offset

    def set(self, offset: int) -> None:
        _FORMAT.pack_into(self._memory, 0, offset)

    def now(self) -> int:
        """What that clock shows, in epoch microseconds."""
        return time.time_ns() // 1000 + self.get()


def main() -> None:
    clock = ClockOffset(Path(sys.argv.pop(1)))

    class SteppedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> SteppedDatetime:
            return cls.fromtimestamp(clock.now() / 1_000_000, tz)

    def now(_: SystemClock) -> int:
        return clock.now()

    SystemClock.now = now  # type: ignore[method-assign,assignment]
    for module in (schedulers, executors):
        assert module.datetime is datetime, "APScheduler asks for the time in another way: adapt this clock"
        module.datetime = SteppedDatetime
    cli.main()


if __name__ == "__main__":
    main()
