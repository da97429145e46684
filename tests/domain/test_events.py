"""Events reach their listeners, and the table in ``domain/events.py`` names all of them."""

from __future__ import annotations

import logging
import re

import pytest

from scheduler.domain import events as module
from scheduler.domain.events import Committed, DatabaseBroken, Events, WorkReady
from scheduler.service import Service

_WORDS = {
    "trigger loop": "TriggerLoop",
    "peers": "Peers",
    "worker pool": "WorkerPool",
    "telemetry": "Telemetry",
    "lifecycle": "Engine",
    "sweeper": "Sweeper",
    "clock watch": "ClockWatch",
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


def _table() -> dict[str, set[str]]:
    """The listeners of each event by the table of the module's docstring."""
    rows: dict[str, set[str]] = {}
    lines = (module.__doc__ or "").splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("====")]
    starts = [match.start() for match in re.finditer(r"=+", lines[rules[0]])]
    name = ""
    for line in lines[rules[1] + 1 : rules[2]]:
        name = line[: starts[1]].strip() or name
        listeners = re.sub(r"\([^)]*\)", "", line[starts[2] :]).split(",")
        rows.setdefault(name, set()).update(_WORDS[one.strip()] for one in listeners if one.strip())
    return rows


async def test_the_table_names_the_listeners_of_a_service(service: Service) -> None:
    found = {
        kind.__name__: {listener.__qualname__.partition(".")[0] for listener in listeners}
        for kind, listeners in service.events.listeners().items()
    }
    assert found == _table()
