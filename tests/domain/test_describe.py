"""The description of a schedule in English says exactly when the schedule fires."""

from __future__ import annotations

import pytest

from scheduler.domain.schedule.text import parse_schedule

SINCE_1970 = " of elapsed time, counted from 1970-01-01 00:00:00 UTC"


def description(text: str, timezone: str | None = "UTC", day_match: str = "or") -> str:
    return parse_schedule(text, timezone=timezone, anchor_at=0, day_match=day_match).describe()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/10 * * * *", "every 10 minutes"),
        ("0,30 * * * *", "every 30 minutes"),
        ("*/7 * * * *", "every 7th minute from 0 through 56 of every hour"),
        ("5,35 * * * *", "at minutes 5 and 35 of every hour"),
        ("0-29 * * * *", "at minutes 0 through 29 of every hour"),
        ("30 * * * *", "at minute 30 of every hour"),
        ("5-5 * * * *", "at minute 5 of every hour"),
        ("0 * * * *", "every hour"),
        ("0 */2 * * *", "every 2 hours"),
        ("0 1-23/2 * * *", "every 2nd hour from 01:00 through 23:00"),
        ("0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00 every day"),
        ("0 9-17 * * 1-5", "every hour from 09:00 through 17:00 on Monday through Friday"),
        ("*/10 9-17 * * *", "every 10 minutes from 09:00 through 17:59"),
        ("*/5 22-2 * * *", "every 5 minutes from 22:00 through 02:59"),
        ("* 2 * * *", "every minute from 02:00 through 02:59"),
        ("*/20 */8 * * *", "every 20 minutes of every 8th hour"),
        ("*/20 1,5,9 * * *", "every 20 minutes of the hours 01, 05 and 09"),
        ("0 2 * * *", "at 02:00 every day"),
        ("15 */6 * * *", "at 00:15, 06:15, 12:15 and 18:15 every day"),
        ("0 2 1 * *", "at 02:00 on day 1 of the month"),
        ("0 2 1,15 * *", "at 02:00 on days 1 and 15 of the month"),
        ("0 2 */2 * *", "at 02:00 on every 2nd day from 1 through 31 of the month"),
        ("0 2 * * MON", "at 02:00 on Monday"),
        ("0 2 * * FRI-MON", "at 02:00 on Friday through Monday"),
        ("0 2 * * 1,3,5", "at 02:00 on Monday, Wednesday and Friday"),
        ("0 2 1 * MON", "at 02:00 on day 1 of the month or on Monday"),
        ("0 2 1-31 * MON", "at 02:00 on every day of the month or on Monday"),
        ("0 2 1 * 0-6", "at 02:00 on day 1 of the month or on any day of the week"),
        ("0 2 1 5,6 MON", "at 02:00 on day 1 of the month or on Monday, in May and June"),
        ("0 2 ? NOV-FEB *", "at 02:00 every day in November through February"),
        ("0 2 29 2 *", "at 02:00 on day 29 of the month in February"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        (
            "0 0 L-1,L-3 * *",
            "at 00:00 on the day before the last day and the third day before the last day of the month",
        ),
        ("0 0 15W * *", "at 00:00 on the weekday (Monday to Friday) nearest to day 15 of the month"),
        ("0 0 LW * *", "at 00:00 on the last weekday (Monday to Friday) of the month"),
        ("0 0 * * FRI#2", "at 00:00 on the second Friday of the month"),
        ("0 0 * * 1,5L", "at 00:00 on Monday and the last Friday of the month"),
        ("0 0 13 * FRI#2", "at 00:00 on day 13 of the month or on the second Friday of the month"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("30 5 2 * * *", "at 02:05:30 every day"),
        ("*/30 0 2 * * *", "at 02:00:00 and 02:00:30 every day"),
        ("*/5 0 2 * * *", "every 5 seconds of minute 0 from 02:00 through 02:59"),
        ("*/5 */15 * * * *", "every 5 seconds of every 15th minute of every hour"),
        ("*/5 * 9-17 * * *", "every 5 seconds from 09:00 through 17:59"),
        ("@daily", "at 00:00 every day"),
        ("@weekly", "at 00:00 on Sunday"),
        ("0 0 L-22 * *", "at 00:00 on the 22nd day before the last day of the month"),
        ("@every 1h30m", f"every 1 hour 30 minutes{SINCE_1970}"),
        ("@every 120m", f"every 2 hours{SINCE_1970}"),
        ("@every 1s", f"every second{SINCE_1970}"),
        ("@at 2026-12-24T18:00:00Z", "once, at 2026-12-24 18:00:00 UTC"),
        ("@at 2026-12-24T18:00:00.25+01:00", "once, at 2026-12-24 17:00:00.25 UTC"),
        ("0 2 * * *\n0 3 * * MON", "at 02:00 every day; and at 03:00 on Monday"),
    ],
)
def test_a_schedule_is_described_in_english(text: str, words: str) -> None:
    assert description(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 2 1 * MON", "at 02:00 on day 1 of the month, but only on Monday"),
        ("0 2 8-14 5 FRI", "at 02:00 on days 8 through 14 of the month, but only on Friday, in May"),
    ],
)
def test_day_match_and_is_described_as_a_restriction(text: str, words: str) -> None:
    assert description(text, day_match="and") == words


@pytest.mark.parametrize(
    ("text", "timezone", "words"),
    [
        ("0 2 * * *", "Europe/Paris", "at 02:00 every day, Europe/Paris time"),
        (
            "CRON_TZ=Asia/Tokyo 0 2 * * *\n0 3 * * *",
            None,
            "at 02:00 every day, Asia/Tokyo time; and at 03:00 every day, Asia/Tokyo time",
        ),
        (
            "0 2 * * *\n@every 6h\n@at 2026-12-24T18:00:00Z",
            "Asia/Tokyo",
            f"at 02:00 every day, Asia/Tokyo time; and every 6 hours{SINCE_1970}; and once, at 2026-12-24 18:00:00 UTC",
        ),
        ("@at 2026-12-24t18:00:00", "UTC", "once, at 2026-12-24 18:00:00 UTC"),
        ("@at 2026-12-24T18:00:00", "Europe/Paris", "once, at 2026-12-24 18:00:00, Europe/Paris time"),
        ("@at 2026-12-24T18:00:00Z", "Europe/Paris", "once, at 2026-12-24 18:00:00 UTC"),
    ],
)
def test_the_zone_stands_behind_each_line_that_it_holds_for(text: str, timezone: str | None, words: str) -> None:
    assert description(text, timezone) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 31 4,5,6 *", "at 00:00 on day 31 of the month in May"),
        ("0 0 30 2,4 *", "at 00:00 on day 30 of the month in April"),
        ("0 0 29-31 2 *", "at 00:00 on day 29 of the month in February"),
        ("0 0 */2 2 *", "at 00:00 on every 2nd day from 1 through 29 of the month in February"),
        ("0 0 30W,L 2 *", "at 00:00 on the last day of the month in February"),
        ("0 0 30 2 MON", "at 00:00 on Monday in February"),
        (
            "0 0 30 2,3 MON",
            "at 00:00 on day 30 of the month (where the month has it) or on Monday, in February and March",
        ),
        ("0 0 30,31 3,4 *", "at 00:00 on days 30 and 31 of the month (where the month has it) in March and April"),
        ("0 0 1-31 2 *", "at 00:00 on every day of the month in February"),
        ("0 0 31 * *", "at 00:00 on day 31 of the month"),
    ],
)
def test_days_that_never_come_are_not_promised(text: str, words: str) -> None:
    assert description(text) == words


BOTH = " (times that the clocks skip do not run, times that they repeat run twice)"
ONCE = " (times that the clocks skip run right after the change, as one, times that they repeat run once)"
PARIS = ", Europe/Paris time"
ONCE_AT = "once, at 2026-"
LATER = "right after the change"
EARLIER = "the first time"
NONE = " (times that the clocks skip do not run, times that they repeat run once)"


@pytest.mark.parametrize(
    ("text", "policy", "words"),
    [
        ("0 * * * *", "debian", "every hour, Europe/Paris time"),
        ("0 0-23 * * *", "debian", f"every hour, Europe/Paris time{ONCE}"),
        ("*/30 2 * * *", "debian", f"at 02:00 and 02:30 every day, Europe/Paris time{BOTH}"),
        ("0,30 2 * * *", "debian", "at 02:00 and 02:30 every day, Europe/Paris time"),
        ("*/5 2 * * *", "debian", "every 5 minutes from 02:00 through 02:59, Europe/Paris time"),
        ("0-59/5 2 * * *", "debian", f"every 5 minutes from 02:00 through 02:59, Europe/Paris time{ONCE}"),
        ("0 9-17 * * *", "debian", "every hour from 09:00 through 17:00, Europe/Paris time"),
        ("30 2 * * *", "skip", f"at 02:30 every day, Europe/Paris time{NONE}"),
        ("0 * * * *", "skip", f"every hour, Europe/Paris time{NONE}"),
        ("30 2 * * *", "literal", f"at 02:30 every day, Europe/Paris time{BOTH}"),
        ("0 * * * *", "literal", "every hour, Europe/Paris time"),
        ("@at 2026-03-29T02:30:00", "debian", f"{ONCE_AT}03-29 02:30:00{PARIS} (the clocks skip it: {LATER})"),
        ("@at 2026-10-25T02:30:00", "debian", f"{ONCE_AT}10-25 02:30:00{PARIS} (the clocks repeat it: {EARLIER})"),
    ],
)  # fmt: skip
def test_words_say_what_a_change_of_the_clocks_does_where_they_would_mislead(
    text: str, policy: str, words: str
) -> None:
    assert parse_schedule(text, timezone="Europe/Paris", anchor_at=0, dst_policy=policy).describe() == words


def test_a_zone_whose_clocks_never_change_says_nothing_of_changes() -> None:
    for zone in ("UTC", "Etc/GMT+5"):
        for policy in ("debian", "skip", "literal"):
            words = parse_schedule("0 0-23 * * *", timezone=zone, anchor_at=0, dst_policy=policy).describe()
            assert words.removesuffix(", Etc/GMT+5 time") == "every hour"
