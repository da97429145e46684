"""Metrics that scrapers accept, and log lines that no value can forge."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scheduler.config.log import LogConfig
from scheduler.logs import configure_logging
from scheduler.service import Service
from tests.conftest import Receiver, SetClock
from tests.factories import add_job, claim_and_die, fire_and_deliver, rendered_metrics


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def _figures(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, _ = await rendered_metrics(service)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_counters_equal_the_rows(service: Service, receiver: Receiver, clock: SetClock) -> None:
    await add_job(service.stores, clock.now(), urls=[receiver.url, "http://127.0.0.1:1/refused"])
    clock.advance(60)
    await fire_and_deliver(service)
    figures = await _figures(service)
    assert figures["scheduler_executions_total", (("status", "success"),)] == 1
    assert figures["scheduler_executions_total", (("status", "failure"),)] == 1
    assert figures["scheduler_executions_total", (("status", "dead_letter"),)] == 0
    assert figures["scheduler_jobs_polled_total", ()] == 1
    assert figures["scheduler_jobs_enqueued_total", ()] == 2
    assert figures["scheduler_fire_lag_seconds_count", ()] == 2
    assert figures["scheduler_queue_depth", ()] == 1
    assert figures["scheduler_last_tick_timestamp_seconds", ()] == clock.now() / 1_000_000


async def test_attempts_that_a_crash_left_are_counted_and_logged(
    service: Service, receiver: Receiver, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    job = await add_job(service.stores, clock.now(), urls=[receiver.url])
    once = await add_job(service.stores, clock.now(), urls=[receiver.url], delivery="at_most_once")
    for one in (job, once):
        await service.engine.firer.start_run(one.id, clock.now())
    await claim_and_die(service.stores, clock.now())
    clock.advance(3600)
    with caplog.at_level(logging.INFO, logger="scheduler.attempts"):
        assert await service.engine.rescuer.rescue() == 2
    figures = await _figures(service)
    assert figures["scheduler_executions_total", (("status", "failure"),)] == 2
    assert figures["scheduler_rescued_total", ()] == 2
    assert figures["scheduler_fire_lag_seconds_count", ()] == 2
    durations = ("scheduler_attempt_duration_seconds_count", ())
    assert durations not in figures, "an hour without a process is no duration of an attempt"
    lines = [line.__dict__ for line in caplog.records if line.name == "scheduler.attempts"]
    assert sorted((line["job_id"], line["status"], line["error"].split()[0]) for line in lines) == sorted(
        (one.id, "failure", "interrupted") for one in (job, once)
    )


async def test_every_name_has_the_prefix_and_none_the_label_job(service: Service) -> None:
    figures = await _figures(service)
    assert all(name.startswith("scheduler_") for name, _ in figures)
    assert all(label != "job" for _, labels in figures for label, _ in labels)
    assert figures["scheduler_process_resident_memory_bytes", ()] > 1_000_000
    assert figures["scheduler_process_open_fds", ()] > 3


def _logged(text: str, style: str, **extra: Any) -> str:
    stream = io.StringIO()
    configure_logging(LogConfig(level="info", format=style), stream)
    logging.getLogger("scheduler.test").info("%s", text, extra=extra)
    logging.getLogger().handlers[0].flush()
    return stream.getvalue()


@pytest.mark.usefixtures("restored_logging")
def test_a_line_cannot_be_forged() -> None:
    evil = 'x\n{"level":"error"}\x1b[31m'
    for style in ("json", "text", "auto"):
        written = _logged(evil, style, name_of_job=evil)
        assert written.count("\n") == 1 and "\x1b" not in written
    event = json.loads(_logged(evil, "json", name_of_job=evil))
    assert event["message"] == evil and event["name_of_job"] == evil and event["level"] == "info"
