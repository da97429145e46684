"""Events reach their listeners, and the table in ``domain/events.py`` names all who tell and all who listen."""

from __future__ import annotations

import ast
import logging
import re
from collections import defaultdict
from pathlib import Path

import pytest

import scheduler
from scheduler.domain import events as module
from scheduler.domain.events import Committed, DatabaseBroken, Events, WorkReady
from scheduler.service import Service

PACKAGE = Path(scheduler.__file__).parent
_WORDS = {
    "trigger loop": "TriggerLoop",
    "peers": "Peers",
    "worker pool": "WorkerPool",
    "telemetry": "Telemetry",
    "lifecycle": "Engine",
    "sweeper": "Sweeper",
    "kept bytes": "KeptBytes",
    "clock watch": "ClockWatch",
    "key cache": "ApiKeyCache",
}


def test_listeners_are_called_in_order_with_their_own_type_only() -> None:
    events = Events()
    heard: list[object] = []
    events.listen(Committed, lambda event: heard.append(("first", event)))
    events.listen(Committed, lambda event: heard.append(("second", event)))
    events.listen(WorkReady, heard.append)
    events.tell(Committed(seconds=1.5))
    events.tell(DatabaseBroken(why="this one has no listener"))
    assert heard == [("first", Committed(seconds=1.5)), ("second", Committed(seconds=1.5))]


def test_a_listener_that_fails_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[WorkReady] = []

    def fail(_: WorkReady) -> None:
        raise ZeroDivisionError

    events.listen(WorkReady, fail)
    events.listen(WorkReady, heard.append)
    with caplog.at_level(logging.ERROR):
        events.tell(WorkReady())
    assert heard == [WorkReady()]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def _column(number: int) -> dict[str, set[str]]:
    """One column of the table of the module's docstring, by event."""
    rows: defaultdict[str, set[str]] = defaultdict(set)
    lines = (module.__doc__ or "").splitlines()
    rules = [at for at, line in enumerate(lines) if line.startswith("====")]
    starts = [match.start() for match in re.finditer(r"=+", lines[rules[0]])]
    ends = [*starts[1:], None]
    name = ""
    for line in lines[rules[1] + 1 : rules[2]]:
        name = line[: ends[0]].strip() or name
        cell = re.sub(r"\([^)]*\)", "", line[starts[number] : ends[number]])
        rows[name] |= {one.strip() for one in cell.split(",") if one.strip()}
    return dict(rows)


def _tellers() -> dict[str, set[str]]:
    """The modules that call ``tell(Event(...))``, by event."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tell":
                event = node.args[0]
                assert isinstance(event, ast.Call), f"{path}:{node.lineno}: write the event in the call of tell"
                found[ast.unparse(event.func)].add(path.relative_to(PACKAGE).with_suffix("").as_posix())
    return dict(found)


def test_the_table_names_the_modules_that_tell() -> None:
    assert _tellers() == _column(1)


async def test_the_table_names_the_listeners_of_a_service(service: Service) -> None:
    service.api()
    found = {
        kind.__name__: {listener.__qualname__.partition(".")[0] for listener in listeners}
        for kind, listeners in service.events.listeners().items()
    }
    assert found == {event: {_WORDS[one] for one in listeners} for event, listeners in _column(2).items()}
