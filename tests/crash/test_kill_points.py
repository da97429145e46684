"""SIGKILL at named points: before and after each commit, and between the steps of a delivery.

In each story one job after the other is due, one each second, so that a single run is on its way when the process dies.
What must have become of that run is asserted for each point; that nothing else went wrong is for the checker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.crash.checker import chains_of, check, duplicates
from tests.crash.dying_service import POINTS
from tests.crash.episode import HELD, PROMPT, Episode, side_by_side, watched
from tests.crash.evidence import Evidence, Request, Row
from tests.crash.oracle import SECOND, run_id_of
from tests.crash.receiver import Answer
from tests.crash.report import verdict

PASSINGS = {"connect": 1, "before-create": 2, "after-create": 2}
"""At which passing the process dies; by default at the second."""
SCHEDULES = ("*/3 * * * * *", "1-59/3 * * * * *", "2-59/3 * * * * *")


@dataclass(frozen=True, kw_only=True)
class Story:
    """What became of one life that ended at a named point, and of the next one."""

    evidence: Evidence
    left: list[Row]
    """The rows on disk when the process was dead."""
    due_at: dict[str, int]
    """Each job's ``next_run_at`` on disk then."""

    def open_run(self, status: str) -> Row:
        """The run that was under way, which had this status on disk; a slow machine may be late with the next one."""
        under_way = [row for row in self.left if row.status in ("queued", "running")]
        first = min(under_way, key=lambda row: row.scheduled_at)
        assert (first.status, first.attempt) == (status, 1)
        return first

    def rows(self, run_id: str) -> list[tuple[int, str]]:
        return [(row.attempt, row.status) for row in self.evidence.rows if row.run_id == run_id]

    def sent(self, run_id: str) -> list[tuple[int, int]]:
        """The requests of a run: in which life, and which attempt."""
        return [(one.life, one.attempt) for one in self.evidence.requests if one.run_id == run_id]

    def repeated(self) -> list[str]:
        """The runs of which more than one request arrived."""
        return [run_id for run_id, chain in chains_of(self.evidence).items() if len(chain.requests) > 1]

    def accepted_again(self) -> list[str]:
        """The runs that a receiver got again although it had accepted them."""
        return [run_id for run_id, chain in chains_of(self.evidence).items() if duplicates(chain)]


async def happen(point: str, data_dir: Path) -> Story:
    async with Episode(data_dir) as episode:
        count = PASSINGS.get(point, 2)

        def script(request: Request) -> Answer:
            is_last = point == "send" and request.life == 0 and len(episode.evidence.requests) >= count
            return HELD if is_last else PROMPT

        episode.receiver.script = script
        await episode.begin("-m", "tests.crash.dying_service", point, str(count))
        await episode.add_jobs(*(body(schedule, episode.receiver.url) for schedule in SCHEDULES))
        if "create" in point:
            with pytest.raises(aiohttp.ClientError):
                await episode.api.call("POST", "/api/jobs", body(SCHEDULES[0], episode.receiver.url, name="cut off"))
        await episode.died()
        left = list(episode.evidence.snapshots)
        due_at = {one.job_id: one.next_run_at or 0 for one in episode.view.next_runs(0)}
        await episode.begin()
        known = {job.id for job in episode.evidence.jobs}
        jobs = (await episode.api.call("GET", "/api/jobs"))["items"]
        for job in jobs:
            if job["id"] not in known:
                webhooks = (await episode.api.call("GET", "/webhooks", job_id=job["id"]))["items"]
                episode.evidence.jobs.append(watched({**job, "webhook": webhooks[0]}))
        return Story(evidence=await episode.run_dry(), left=left, due_at=due_at)


def body(schedule: str, url: str, name: str = "job") -> dict[str, Any]:
    retry = {"max_attempts": 3, "delays": [0.2], "jitter": 0.1}
    # each due time gets a run of its own, however long the next start takes
    job = {"name": name, "schedule": schedule, "catchup": "all", "retry": retry}
    return {**job, "webhook": {"url": f"{url}/hook"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story | BaseException]:
    """All of them, told side by side: they mostly wait for the next second."""
    folder = tmp_path_factory.mktemp("kill-points")
    told = await side_by_side(*(happen(point, folder / point) for point in POINTS), at_once=4)
    return dict(zip(POINTS, told, strict=True))


@pytest.fixture
def story(request: pytest.FixtureRequest, stories: dict[str, Story | BaseException]) -> Story:
    """The story of the point that the test is marked with; no promise was broken in it."""
    found = stories[request.param]
    if isinstance(found, BaseException):
        raise found
    violations = check(found.evidence)
    assert not violations, verdict(found.evidence, violations)
    assert not found.evidence.complaints
    return found


def at(*points: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("story", points, indirect=True)


@at("before-fire")
def test_what_was_about_to_fire_is_due_still(story: Story) -> None:
    killed_at = story.evidence.lives[0].killed_at or 0
    due_at, job_id = min((due_at, job_id) for job_id, due_at in story.due_at.items())
    assert due_at <= killed_at
    (job,) = [job for job in story.evidence.jobs if job.id == job_id]
    run_id = run_id_of(job.webhook_ids[0], due_at)
    assert run_id not in {row.run_id for row in story.left}
    assert story.sent(run_id) == [(1, 1)]
    assert story.rows(run_id) == [(1, "success")]
    assert not story.repeated()


@at("after-fire")
def test_what_was_fired_is_queued_and_the_job_has_gone_on(story: Story) -> None:
    run = story.open_run("queued")
    assert story.due_at[run.job_id] == run.scheduled_at + 3 * SECOND
    assert story.sent(run.run_id) == [(1, 1)]
    assert story.rows(run.run_id) == [(1, "success")]
    assert not story.repeated()


@at("before-claim")
def test_what_was_about_to_be_claimed_has_not_been_sent(story: Story) -> None:
    run = story.open_run("queued")
    assert story.sent(run.run_id) == [(1, 1)]
    assert story.rows(run.run_id) == [(1, "success")]
    assert not story.repeated()


@at("after-claim", "connect")
def test_what_was_claimed_and_not_sent_is_sent_once_as_the_second_attempt(story: Story) -> None:
    run = story.open_run("running")
    assert story.sent(run.run_id) == [(1, 2)]
    assert story.rows(run.run_id) == [(1, "failure"), (2, "success")]
    assert not story.repeated()


@at("send")
def test_what_was_sent_and_not_answered_is_sent_again(story: Story) -> None:
    run = story.open_run("running")
    assert story.sent(run.run_id) == [(0, 1), (1, 2)]
    assert story.rows(run.run_id) == [(1, "failure"), (2, "success")]
    assert story.repeated() == [run.run_id]
    assert not story.accepted_again()


@at("response", "before-settle")
def test_an_answer_that_is_not_on_disk_makes_one_duplicate(story: Story) -> None:
    run = story.open_run("running")
    assert story.sent(run.run_id) == [(0, 1), (1, 2)]
    assert story.rows(run.run_id) == [(1, "failure"), (2, "success")]
    assert story.repeated() == story.accepted_again() == [run.run_id]


@at("after-settle")
def test_an_answer_that_is_on_disk_makes_none(story: Story) -> None:
    assert {row.status for row in story.left} == {"success"}
    last = max(story.left, key=lambda row: row.finished_at or 0)
    assert story.sent(last.run_id) == [(0, 1)]
    assert story.rows(last.run_id) == [(1, "success")]
    assert not story.repeated()


@at("before-create")
def test_a_job_that_was_not_committed_is_not_there(story: Story) -> None:
    assert len(story.due_at) == len(story.evidence.job_ids) == len(SCHEDULES)


@at("after-create")
def test_a_job_that_was_committed_is_there_whole_though_nobody_was_told(story: Story) -> None:
    """The checker has found all its runs; it was read from the API of the second life, webhook and all."""
    assert len(story.due_at) == len(story.evidence.job_ids) == len(SCHEDULES) + 1
    assert {job.id for job in story.evidence.jobs} == story.evidence.job_ids


def test_every_point_has_its_test() -> None:
    marks = [
        mark for name, test in globals().items() if name.startswith("test_") for mark in getattr(test, "pytestmark", [])
    ]
    assert sorted(point for mark in marks for point in mark.args[1]) == sorted(POINTS)
