"""Random schedule texts are refused with a sentence or understood; and another library agrees on the fire times."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from cronsim import CronSim

from scheduler.domain.clock import SECOND, format_instant, from_datetime, parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.schedule.schedule import check_fires
from scheduler.domain.schedule.text import parse_schedule
from tests.checks import present

NOW = parse_instant("2026-03-01T00:00:00Z")
_PIECES: list[str] = [
    *"0123456789**  ,,--//??##LWlwHR@\n\t.:+_=ZTx",
    *(
        "* ",
        "0 ",
        " * * *",
        " * * * *",
        "*/5 ",
        "5-5",
        "1-5",
        "22-2",
        "FRI",
        "mon",
        "JAN",
        "FRI#2",
        "5#5",
        "L5",
        "15W",
        "LW",
    ),
    *(
        "L-3",
        "@every ",
        "@at ",
        "1h30m",
        "90s",
        "2026-12-24T18:00:00",
        "+01:00",
        "CRON_TZ=",
        "Europe/Paris ",
        "@daily",
        "@reboot",
    ),
    *("9999999999", "\u00e9", "\u0663", "\0", "\r\n", "60", "31", "2#", "(1-5)", "30 2 ", "29 2 ", "TZ="),
]

_ITEMS = ["*", "*", "*", "*/2", "?", "0", "1", "3", "5", "12", "29", "31", "61", "2-5", "5-5", "22-3", "1-9/4", "7/3"]
_DAY_ITEMS = ["L", "15W", "LW", "L-3", "MON", "fri-mon", "2#3", "L5", "6L", "feb", "#", "99"]


def noise(choice: random.Random) -> str:
    """Random pieces, fields of random pieces, or a good line with one character changed."""
    kind = choice.random()
    if kind < 0.3:
        return "".join(choice.choices(_PIECES, k=choice.randrange(1, 30)))
    if kind < 0.5:
        return " ".join(
            "".join(choice.choices(_PIECES, k=choice.randrange(1, 4))) for _ in range(choice.randrange(4, 8))
        )
    if kind < 0.8:
        items = _ITEMS * 4 + _DAY_ITEMS
        return " ".join(",".join(choice.choices(items, k=choice.choice([1, 1, 1, 2]))) for _ in range(5))
    line = choice.choice(
        ["0 2 * * *", "*/10 0 2 * * *", "0 0 8-14 * FRI#2", "@every 1h30m", "@at 2026-12-24T18:00:00Z", "0 0 L 2 5L"]
    )
    position = choice.randrange(len(line) + 1)
    return line[:position] + choice.choice(_PIECES) + line[position + choice.randrange(3) :]


def judge(text: str, choice: random.Random) -> bool:
    """True when the text was understood; anything but an answer or a `SchedulerError` is a failure of the test."""
    zone = choice.choice([None, None, "UTC", "America/New_York", "Pacific/Apia"])
    policy = choice.choice(["debian", "skip", "literal"])
    try:
        ours = parse_schedule(
            text, timezone=zone, anchor_at=NOW, dst_policy=policy, day_match=choice.choice(["or", "and"])
        )
        at = check_fires(ours, NOW)
    except SchedulerError as error:
        assert error.code == "INVALID_CRON_EXPRESSION"
        assert error.message.isascii()
        assert len(error.message) < 700
        return False
    assert ours.next_after(at - 1) == at
    assert ours.latest_between(NOW, at) == at
    assert ours.count_between(NOW + 1, at) == 1
    assert ours.describe().isascii()
    assert parse_instant(ours.local(at)) == at
    return True


def test_noise_is_refused_or_understood() -> None:
    choice = random.Random(20260301)
    understood = sum(judge(noise(choice), choice) for _ in range(20_000))
    assert 500 < understood < 15_000


@pytest.mark.parametrize(
    "text",
    [
        *(
            "* * * * *",
            "*/15 * * * *",
            "5 4 * * *",
            "0 22-23 * * 1-5",
            "23 0-20/2 * * *",
            "0 0,12 1 */2 *",
            "0 4 8-14 * *",
        ),
        *(
            "0 0 1,15 * 3",
            "0 0 * * FRI",
            "0 0 L * *",
            "0 0 LW * *",
            "0 0 * * 5#2",
            "0 0 * * 5L",
            "5/15 * * * *",
            "0 0 29 2 *",
        ),
        *("*/10 0 2 * * *", "30 */20 * * * *", "0 0 1 JAN-MAR/2 *", "0 0 31 * *", "1-59/7 3 * * SUN", "0 0 * 2 MON#4"),
    ],
)
def test_cronsim_agrees_where_it_is_right(text: str) -> None:
    theirs = CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    at = parse_instant("2026-01-01T00:00:00Z")
    ours = parse_schedule(text, anchor_at=0)
    for _ in range(200):
        at = present(ours.next_after(at))
        assert format_instant(at) == format_instant(from_datetime(next(theirs)))
    assert at % SECOND == 0
