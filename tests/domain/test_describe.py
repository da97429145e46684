"""The plain English of a schedule: what a person reads must be what the schedule does."""

from __future__ import annotations

import pytest

from scheduler.domain.schedule.text import parse_schedule


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
        ("0 0 L-1,L-3 * *", "at 00:00 on 1 day before the last day and 3 days before the last day of the month"),
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
        ("@every 1h30m", "every 1 hour 30 minutes"),
        ("@every 120m", "every 2 hours"),
        ("@every 1s", "every second"),
        ("@at 2026-12-24T18:00:00Z", "once, at 2026-12-24 18:00:00 UTC"),
        ("@at 2026-12-24T18:00:00.25+01:00", "once, at 2026-12-24 17:00:00.25 UTC"),
        ("0 2 * * *\n0 3 * * MON", "at 02:00 every day; and at 03:00 on Monday"),
    ],
)
def test_what_a_schedule_says(text: str, words: str) -> None:
    assert description(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 2 1 * MON", "at 02:00 on day 1 of the month, but only on Monday"),
        ("0 2 8-14 5 FRI", "at 02:00 on days 8 through 14 of the month, but only on Friday, in May"),
    ],
)
def test_day_match_and_is_no_or(text: str, words: str) -> None:
    assert description(text, day_match="and") == words


@pytest.mark.parametrize(
    ("text", "timezone", "words"),
    [
        ("0 2 * * *", "Europe/Paris", "at 02:00 every day, Europe/Paris time"),
        (
            "CRON_TZ=Asia/Tokyo 0 2 * * *\n0 3 * * *",
            None,
            "at 02:00 every day; and at 03:00 every day, Asia/Tokyo time",
        ),
        ("@at 2026-12-24T18:00:00", "Europe/Paris", "once, at 2026-12-24 18:00:00, Europe/Paris time"),
        ("@at 2026-12-24T18:00:00Z", "Europe/Paris", "once, at 2026-12-24 18:00:00 UTC"),
        ("@every 1h", "Europe/Paris", "every hour"),
    ],
)
def test_the_zone_is_named_where_the_wall_clock_counts(text: str, timezone: str | None, words: str) -> None:
    assert description(text, timezone) == words
