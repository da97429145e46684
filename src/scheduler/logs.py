"""Writes log lines, as JSON or as text for a terminal, in a thread, so that a slow reader does not delay the event
loop.

A reader of standard error that stalls, or a disk that is full, would stop the event loop in the middle of a write. So
lines wait in a bounded queue; what does not fit is dropped and counted, and one line has that number once there is room
again.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import orjson

from scheduler.config.log import LogConfig
from scheduler.domain.characters import escape_unprintable
from scheduler.domain.clock import SECOND, format_instant

_MOST_WAITING = 10_000
"""Lines that wait to be written; a burst of this size is kept while the reader catches up."""
_FLUSH_S = 1.0
"""How long the end of the process waits for a reader that does not read."""

_OWN_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure_logging(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send log lines to ``stream`` (standard error) in the configured format; replaces what was set up before."""
    if stream is None:
        # None when the process was started with a closed standard error
        stream = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    as_text = config.format == "text" or (config.format == "auto" and stream.isatty())
    formatter = TextFormatter() if as_text else JsonFormatter()
    root = logging.getLogger()
    old = root.handlers[0] if root.handlers else None
    same = isinstance(old, LineHandler) and old.writer.stream is stream
    writer = old.writer if isinstance(old, LineHandler) and same else LineWriter(stream)
    handler = LineHandler(writer)
    handler.setFormatter(formatter)
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    for chatty in ("aiosqlite", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # APScheduler warns of every beat during a look, which is expected here.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def dropped_lines() -> int:
    """How many log lines were dropped since the start of the process."""
    return sum(handler.writer.dropped for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))


class LineWriter:
    """Writes lines to ``stream`` from a thread of its own. Lines for a stream that fails or was closed are dropped."""

    def __init__(self, stream: TextIO, *, most_waiting: int = _MOST_WAITING) -> None:
        self.stream = stream
        self.dropped = 0
        """Lines that did not fit into the queue, or that the stream refused."""
        self._waiting: queue.Queue[str] = queue.Queue(most_waiting)
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> bool:
        """Hand in a line, without its line break. Never waits; false when it was dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Wait until everything handed in so far was given to the stream, or the time is up."""
        deadline = time.monotonic() + timeout_s
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks and (left_s := deadline - time.monotonic()) > 0:
                self._waiting.all_tasks_done.wait(left_s)

    def _run(self) -> None:
        while True:
            lines = [self._waiting.get()]
            with suppress(queue.Empty):
                while len(lines) < 100:
                    lines.append(self._waiting.get_nowait())
            try:
                self.stream.write("".join(f"{line}\n" for line in lines))
                self.stream.flush()
            except (OSError, ValueError):  # a pipe without a reader, a full disk, a closed stream
                self.dropped += len(lines)
            for _ in lines:
                self._waiting.task_done()


class LineHandler(logging.Handler):
    """Formats records where they are made and hands the lines to a writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer
        self._told = writer.dropped

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self.writer.write(line) and self.writer.dropped > self._told:
            lost, self._told = self.writer.dropped - self._told, self.writer.dropped
            message = "%d log lines were dropped: their reader was too slow, or refused them"
            lines = logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, (lost,), None)
            self.writer.write(self.format(lines))

    def flush(self) -> None:
        """Wait a second at most for the lines that wait; the end of the process calls it."""
        self.writer.flush()


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters are escaped, as JSON does."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": format_instant(int(record.created * SECOND)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(event, default=str).decode()


class TextFormatter(logging.Formatter):
    """Lines for a person at a terminal; control characters in what others wrote are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items() if value is not None)
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname.lower():7} "
        line += f"{record.getMessage()} {extras}".rstrip()
        line = escape_unprintable(line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN_ATTRIBUTES}
