"""The deliberate bugs still fit the service: with each, it delivers, is killed during a request and delivers on.

That the checker sees the bugs takes minutes: ``python -m tests.crash.long_run --kills 8 --sabotage all``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.broken_service import BUGS
from tests.crash.episode import HELD, PROMPT, Episode, side_by_side
from tests.crash.evidence import Request
from tests.crash.receiver import Answer


async def deliver_with(bug: str, data_dir: Path) -> Sequence[str]:
    """What the service complained about."""
    program = ("-m", "tests.crash.broken_service", bug)
    async with Episode(data_dir) as episode:
        sent = episode.evidence.requests

        def script(request: Request) -> Answer:
            return HELD if request.life == 0 and len(sent) > 1 else PROMPT

        episode.receiver.script = script
        await episode.begin(*program)
        webhook = {"url": f"{episode.receiver.url}/hook"}
        await episode.add_jobs({"name": "job", "schedule": "* * * * * *", "webhook": webhook})
        await episode.receiver.until(lambda: len(sent) > 1)
        await episode.kill()
        await episode.begin(*program)
        await episode.receiver.until(lambda: any(one.life == 1 and one.status == 200 for one in sent))
        return episode.evidence.complaints


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sequence[str] | BaseException]:
    folder = tmp_path_factory.mktemp("bugs")
    ends = await side_by_side(*(deliver_with(bug, folder / bug) for bug in BUGS), at_once=4)
    return dict(zip(BUGS, ends, strict=True))


@pytest.mark.parametrize("bug", BUGS)
def test_the_service_with_a_deliberate_bug_delivers(bug: str, told: dict[str, Sequence[str] | BaseException]) -> None:
    assert told[bug] == []
