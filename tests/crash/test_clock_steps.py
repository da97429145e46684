"""Clocks that jump under a running service, and services that were stopped for a minute or a year."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.crash.checker import check
from tests.crash.episode import PROMPT, Episode, side_by_side
from tests.crash.evidence import Evidence, Request, Row
from tests.crash.oracle import SECOND
from tests.crash.receiver import Answer
from tests.crash.report import verdict
from tests.crash.stepping_service import ClockOffset

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
POLICIES = ("latest", "all", "none")
STOPS = {"1 min": MINUTE, "1 h": HOUR, "26 h": 26 * HOUR, "400 d": 400 * DAY}
LIMIT = 20
_NEVER = 1 << 62


@dataclass(kw_only=True)
class Steps:
    """A life whose clock is set forward by an hour, back, forward by a day, and back."""

    evidence: Evidence
    jobs: dict[str, str]
    """Jobs of every second, by their catch-up policy."""
    forward: list[tuple[int, int]] = field(default_factory=list)
    """The latest time that the clock had shown, and the one that it was set forward to."""
    during_repeat: list[tuple[set[str], set[str]]] = field(default_factory=list)
    """The rows of those jobs right after the clock was set back, and some new job's runs later."""
    retried: list[Request] = field(default_factory=list)
    """The requests of a run whose retry was planned for the middle of the first hour."""


async def step(data_dir: Path) -> Steps:
    clock = ClockOffset(data_dir.with_suffix(".clock"))
    async with Episode(data_dir, clock=clock.now) as episode:
        failing: set[str] = set()

        def script(request: Request) -> Answer:
            request.arrived_at += clock.get()
            under_way = episode.view.rows(since_at=_NEVER)
            is_failing = any(row.id == request.execution_id and row.job_id in failing for row in under_way)
            return Answer(500) if is_failing and request.attempt == 1 else PROMPT

        episode.receiver.script = script
        await episode.begin("-m", "tests.crash.stepping_service", str(data_dir.with_suffix(".clock")))
        url = episode.receiver.url
        ids = await episode.add_jobs(*(body(url, "* * * * * *", catchup=policy) for policy in POLICIES))
        told = Steps(evidence=episode.evidence, jobs=dict(zip(POLICIES, ids, strict=True)))
        (retried,) = await episode.add_jobs(body(url, "@every 520w", retry={"max_attempts": 2, "delays": [1800]}))
        episode.evidence.jobs.pop()  # of no interest to the checker: it has no due time
        failing.add(retried)
        await episode.api.call("POST", f"/api/jobs/{retried}/trigger")
        for span in (HOUR, DAY):
            await quiet(episode, clock)
            latest = max([clock.now(), *(until_at for _, until_at in told.forward)])
            told.forward.append((latest, clock.now() + span))
            began_s = time.monotonic()
            clock.set(clock.get() + span)
            async with asyncio.timeout(30):
                await episode.receiver.arrivals(len(episode.evidence.requests) + 1)
            print(f"set forward by {span // HOUR} h: the first request came {time.monotonic() - began_s:.2f} s later")
            await episode.receiver.until(episode.is_caught_up)
            await quiet(episode, clock)
            clock.set(clock.get() - span)
            await repeat(episode, told)
        await episode.run_dry()
        (run_id,) = {row.run_id for row in episode.evidence.rows if row.job_id == retried}
        told.retried = [request for request in episode.evidence.requests if request.run_id == run_id]
        return told


async def quiet(episode: Episode, clock: ClockOffset) -> None:
    """Wait for the middle of a second in which nothing is under way but the retry that is planned for later."""

    def is_quiet() -> bool:
        rows = episode.view.rows(since_at=_NEVER)
        under_way = [row for row in rows if row.available_at <= clock.now()]
        return not under_way and 400_000 < clock.now() % SECOND < 700_000 and bool(episode.evidence.requests)

    await episode.receiver.until(is_quiet)


async def repeat(episode: Episode, told: Steps) -> None:
    """In the time that comes a second time a new job runs, and the old ones have had their runs."""

    def ids(job_ids: set[str]) -> set[str]:
        return {row.id for row in episode.view.rows() if row.job_id in job_ids and row.status == "success"}

    known = {job.id for job in episode.evidence.jobs}
    (new,) = await episode.add_jobs(body(episode.receiver.url, "* * * * * *"))
    before = ids(known)
    await episode.receiver.until(lambda: len(ids({new})) >= 2)
    told.during_repeat.append((before, ids(known)))


@dataclass(kw_only=True)
class Stops:
    """Lives with longer and longer pauses between them."""

    evidence: Evidence
    jobs: dict[str, str]
    """Jobs of every minute, by their catch-up policy."""
    next_run_at: dict[str, int]
    created_at: int
    stops: dict[str, tuple[int, int]]
    """When the service was stopped and when it was started again."""

    def rows(self, policy: str, after: int, until: int) -> list[Row]:
        """What accounts for the due times of a span, in their order."""
        rows = [
            row for row in self.evidence.rows if row.job_id == self.jobs[policy] and after < row.scheduled_at <= until
        ]
        return sorted(rows, key=lambda row: row.scheduled_at)


async def stop_and_start(data_dir: Path) -> Stops:
    clock = ClockOffset(data_dir.with_suffix(".clock"))
    program = ("-m", "tests.crash.stepping_service", str(data_dir.with_suffix(".clock")))
    async with Episode(data_dir, clock=clock.now) as episode:
        set_to(clock, clock.now())
        created_at = clock.now()
        await episode.begin(*program)
        ids = await episode.add_jobs(*(body(episode.receiver.url, "* * * * *", catchup=policy) for policy in POLICIES))
        stops: dict[str, tuple[int, int]] = {}
        for name, pause in STOPS.items():
            assert await episode.service.stop() == 0
            stopped_at = clock.now()
            set_to(clock, stopped_at + pause)
            await episode.begin(*program)
            stops[name] = (stopped_at, clock.now())
            await episode.receiver.until(lambda: episode.is_caught_up() and not episode.view.unfinished())
        next_run_at = {one.job_id: one.next_run_at or 0 for one in episode.view.next_runs(0)}
        assert await episode.service.stop() == 0
        episode.gather()
        jobs = dict(zip(POLICIES, ids, strict=True))
        return Stops(evidence=episode.evidence, jobs=jobs, next_run_at=next_run_at, created_at=created_at, stops=stops)


def set_to(clock: ClockOffset, at: int) -> None:
    """Set the clock to the first 20 s past a minute from ``at`` on: far from any due time."""
    target = -(-(at - 20 * SECOND) // MINUTE) * MINUTE + 20 * SECOND
    clock.set(clock.get() + target - clock.now())


def body(url: str, schedule: str, **more: Any) -> dict[str, Any]:
    retry = {"max_attempts": 3, "delays": [0.2], "jitter": 0.1}
    webhook = {"url": f"{url}/hook"}
    return {"name": "job", "schedule": schedule, "retry": retry, "catchup_limit": LIMIT, "webhook": webhook, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("clocks")
    stepped, stopped = await side_by_side(step(folder / "steps"), stop_and_start(folder / "stops"), at_once=2)
    return stepped, stopped


@pytest.fixture
def steps(stories: tuple[Any, Any]) -> Steps:
    if isinstance(stories[0], BaseException):
        raise stories[0]
    told: Steps = stories[0]
    return told


@pytest.fixture
def stops(stories: tuple[Any, Any]) -> Stops:
    if isinstance(stories[1], BaseException):
        raise stories[1]
    told: Stops = stories[1]
    return told


def test_no_promise_is_broken_by_a_clock_that_jumps(steps: Steps) -> None:
    """Every due time, those of the hours that came twice included, has exactly one run or one record."""
    violations = check(steps.evidence)
    assert not violations, verdict(steps.evidence, violations)
    assert not steps.evidence.complaints


def test_what_is_due_after_a_jump_is_caught_up_as_the_policy_says(steps: Steps) -> None:
    for latest, until_at in steps.forward:
        rows = {
            policy: [
                row
                for row in steps.evidence.rows
                if (row.job_id, row.trigger) == (job_id, "catchup") and 0 <= (row.finished_at or 0) - until_at < HOUR
            ]
            for policy, job_id in steps.jobs.items()
        }
        for policy in POLICIES:  # how many they are exactly is for the checker
            assert sum(row.covers for row in rows[policy]) > (until_at - latest) // SECOND - LIMIT
        assert [row.status for row in rows["latest"]] == ["success"]
        assert [row.status for row in rows["none"]] == ["skipped"]
        assert Counter(row.status for row in rows["all"]) == {"skipped": 1, "success": LIMIT}


def test_hours_that_come_twice_have_no_second_run_and_new_jobs_run_in_them(steps: Steps) -> None:
    assert len(steps.during_repeat) == 2
    for before, after in steps.during_repeat:
        assert before == after


def test_a_retry_is_due_when_the_clock_says_so(steps: Steps) -> None:
    """Planned half an hour ahead, it came with the first jump of an hour."""
    first, again = steps.retried
    assert (first.attempt, first.status, again.attempt, again.status) == (1, 500, 2, 200)
    assert 1800 * SECOND <= again.arrived_at - first.arrived_at < HOUR + MINUTE


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("pause", STOPS)
def test_what_was_missed_while_it_was_stopped_is_row_for_row_what_the_policy_says(
    stops: Stops, pause: str, policy: str
) -> None:
    stopped_at, started_at = stops.stops[pause]
    missed = list(range((stopped_at // MINUTE + 1) * MINUTE, started_at + 1, MINUTE))
    told = [
        (row.status, row.trigger, row.covers_from, row.scheduled_at, row.covers)
        for row in stops.rows(policy, stopped_at, started_at)
    ]
    assert told == expected(policy, missed, started_at)


def expected(policy: str, missed: list[int], now: int) -> list[tuple[str, str, int | None, int, int]]:
    """What the specification makes of the missed times."""
    if policy == "latest":
        return merged("success", missed)
    if policy == "none":
        return merged("skipped", missed)
    fresh = [at for at in missed if at >= now - DAY]
    stale, kept = missed[: len(missed) - len(fresh)], fresh[-LIMIT:]
    beyond = fresh[: len(fresh) - len(kept)]
    runs = [one for at in kept for one in merged("success", [at])]
    return [*merged("skipped", stale), *merged("skipped", beyond), *runs]


def merged(status: str, times: list[int]) -> list[tuple[str, str, int | None, int, int]]:
    """One row that stands for all these times; none for none."""
    if not times:
        return []
    return [(status, "catchup", times[0] if len(times) > 1 else None, times[-1], len(times))]


@pytest.mark.parametrize("policy", POLICIES)
def test_over_all_stops_every_due_time_is_accounted_for_once(stops: Stops, policy: str) -> None:
    end_at = stops.next_run_at[stops.jobs[policy]]
    reached_at = stops.created_at // MINUTE * MINUTE
    for row in stops.rows(policy, 0, end_at):
        assert (row.covers_from or row.scheduled_at) == reached_at + MINUTE
        assert row.scheduled_at == reached_at + row.covers * MINUTE
        reached_at = row.scheduled_at
    assert end_at == reached_at + MINUTE


def test_every_run_that_was_caught_up_arrived_once(stops: Stops) -> None:
    runs = Counter((request.run_id, request.attempt) for request in stops.evidence.requests)
    assert runs == Counter((row.run_id, row.attempt) for row in stops.evidence.rows if row.status == "success")
    assert not stops.evidence.complaints
