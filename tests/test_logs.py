"""Log lines are written without waiting for their reader: lines for one that stalls, or is gone, are dropped."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from scheduler.config.log import LogConfig
from scheduler.logs import LineHandler, LineWriter, configure_logging, dropped_lines


class Gate(io.StringIO):
    """A reader that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.open = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.open.wait(20)
        return super().write(text)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_a_stalled_reader_does_not_take_is_dropped_and_counted() -> None:
    gate = Gate()
    writer = LineWriter(gate, most_waiting=3)
    assert writer.write("first")
    assert gate.entered.wait(20)
    assert [writer.write(f"line {number}") for number in range(5)] == [True, True, True, False, False]
    gate.open.set()
    writer.flush(20)
    assert (gate.getvalue(), writer.dropped) == ("first\nline 0\nline 1\nline 2\n", 2)


def test_a_flush_gives_up_on_a_stalled_reader() -> None:
    gate = Gate()
    writer = LineWriter(gate)
    writer.write("never read")
    assert gate.entered.wait(20)
    writer.flush(0.01)
    assert gate.getvalue() == ""
    gate.open.set()
    writer.flush(20)


def test_the_next_line_tells_how_many_were_dropped(root: logging.Logger) -> None:
    gate = Gate()
    writer = LineWriter(gate, most_waiting=2)
    handler = LineHandler(writer)
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for number in range(5):
        root.info("line %d", number)
        assert gate.entered.wait(20)
    assert dropped_lines() == 2
    gate.open.set()
    writer.flush(20)
    root.info("again")
    writer.flush(20)
    root.info("and again")
    writer.flush(20)
    lines = gate.getvalue().splitlines()
    assert [line for line in lines if "dropped" in line] == [
        "2 log lines were dropped: their reader was too slow, or refused them"
    ]
    assert lines[-1] == "and again"


def test_a_pipe_without_a_reader_costs_the_lines_only(root: logging.Logger) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    configure_logging(LogConfig(format="json"), stream)
    root.warning("there is no reader any more")
    root.handlers[0].flush()
    assert dropped_lines() == 1
    with suppress(BrokenPipeError):
        stream.close()


def test_a_new_level_keeps_the_lines_in_order(root: logging.Logger) -> None:
    stream = io.StringIO()
    for level in ("info", "debug", "error"):
        configure_logging(LogConfig(format="json", level=level), stream)
        logging.getLogger("scheduler.x").debug("at %s", level)
        logging.getLogger("scheduler.x").error("at %s", level)
    root.handlers[0].flush()
    told = [(line["level"], line["message"]) for line in map(json.loads, stream.getvalue().splitlines())]
    assert told == [("error", "at info"), ("debug", "at debug"), ("error", "at debug"), ("error", "at error")]
