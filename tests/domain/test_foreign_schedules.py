"""Schedules of other systems are refused with advice that means the same, and never something else."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from pathlib import Path

import pytest

from scheduler.domain.clock import parse_instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.schedule.foreign.advice import advise
from scheduler.domain.schedule.foreign.zones.windows import WINDOWS_ZONES
from scheduler.domain.schedule.text import parse_schedule
from scheduler.domain.schedule.zones import load_zone
from tests.domain.cost import units
from tests.domain.test_schedule_fuzz import noise

NOW = parse_instant("2026-06-01T00:00:00Z")
GIVEN: list[dict[str, str]] = json.loads((Path(__file__).parent / "data" / "foreign_schedules.json").read_text())
IN_WORDS = {  # where the data say in words what a refusal must lead to
    "0 0 12 ? * MON-FRI *": ("0 0 12 ? * MON-FRI", "weekdays count from Sunday = 0 here"),
    "every 5 minutes": ("@every 5m or */5 * * * *",),
    "0 2 * * * Europe/Paris": ("timezone", "CRON_TZ=Europe/Paris 0 2 * * *"),
    "cron_tz=Europe/Paris 0 2 * * *": ("upper case", "CRON_TZ=Europe/Paris 0 2 * * *"),
    "0 9 * * MON - FRI": ("blanks", "write 0 9 * * MON-FRI"),
    "0 9 * * * root /usr/bin/backup": ("fields alone", "write 0 9 * * *;"),
    "0 0 * * #2": ("a day is missing before the #, as in FRI#2",),
    "@every 1M": ("months", "no fixed interval", "m is minutes"),
    "@at 2026-02-30T00:00:00Z": ("there is no 30 February",),
    "@at 2027-01-01T09:00": ("seconds are missing", "write @at 2027-01-01T09:00:00"),
    "0 9 * * MON\u2013FRI": ("write -", "write 0 9 * * MON-FRI"),
    '"0 9 * * *"': ("without the quotes", "write 0 9 * * *"),
}


def refusal(text: str, timezone: str | None = None) -> str:
    with pytest.raises(SchedulerError) as caught:
        parse_schedule(text, timezone=timezone, anchor_at=NOW)
    message = caught.value.message.removeprefix("schedule: ")
    assert message.isascii() and len(message) < 700 and '""' not in message
    return message


def proposed(message: str) -> list[str]:
    """The schedules that a refusal says to write."""
    found = re.search(r"\bwrite ([^;]*)", re.sub(r"\([^)]*\)", "", message))
    return found[1].split(" or ") if found else []


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: given["text"])
def test_a_foreign_schedule_leads_to_what_was_meant(given: dict[str, str]) -> None:
    message = refusal(given["text"])
    for words in IN_WORDS.get(given["text"], (given["the refusal must lead to"],)):
        assert words in message
    assert given.get("and never to") not in proposed(message)


@pytest.mark.parametrize(
    ("text", "write"),
    [
        # EventBridge
        ("0 12 ? * 2-6 *", ["0 12 * * MON-FRI"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", ["0/5 8-17 * * MON-FRI"]),
        ("cron(0 9 ? * 6L *)", ["0 9 * * FRIL"]),
        ("cron(0 9 ? * 6#3 *)", ["0 9 * * FRI#3"]),
        ("cron(0 9 ? * 1,7 *)", ["0 9 * * SUN,SAT"]),
        ("cron(0 9 L * ? *)", ["0 9 L * *"]),
        ("10 7/5 * * FRI 2027", ["10 7/5 * * FRI"]),
        ("cron(0 8 * * * *)", ["0 8 * * *"]),
        ("cron(0 8 1 1 ? 2027)", ["@at 2027-01-01T08:00:00"]),
        ("rate(1 day)", ["@every 1d", "@daily"]),
        ("rate(90 minutes)", ["@every 90m"]),
        ("at(2027-01-01T00:00:00)", ["@at 2027-01-01T00:00:00"]),
        # Quartz
        ("0 0 12 ? * 2-6 2026-2028", ["0 0 12 ? * MON-FRI"]),
        ("0 0 12 1 1 ? 2030", ["@at 2030-01-01T12:00:00"]),
        ("0 15 10 ? * 6L 2022-2029", ["0 15 10 ? * FRIL"]),
        ("0 0 12 ? * L", ["0 0 12 ? * SAT"]),
        ("0 0 12 ? * L *", ["0 0 12 ? * SAT"]),
        ("0 0 12 1/1 * ? *", ["0 0 12 1/1 * ?"]),
        ("0 0/5 14,18 * * ? *", ["0 0/5 14,18 * * ?"]),
        # systemd
        ("*:0/15", ["*/15 * * * *"]),
        ("*-*-* 03:00:00", ["0 3 * * *"]),
        ("*-*-01 04:00", ["0 4 1 * *"]),
        ("Mon,Wed *-*-* 10:00:30", ["30 0 10 * * MON,WED"]),
        ("Sat *-*-1..7 18:00", ["0 18 1-7 * SAT"]),
        ("*-*~3 12:00", ["0 12 L-2 * *"]),
        ("OnCalendar=*-*-* 02:30:00 Europe/Paris", ["CRON_TZ=Europe/Paris 30 2 * * *"]),
        ("OnUnitActiveSec=15min", ["@every 15m"]),
        ("OnCalendar=Mon-Fri 08-18:00/5", ["*/5 8-18 * * MON-FRI"]),
        ("weekly", ["@weekly", "0 0 * * MON"]),
        ("minutely", ["* * * * *"]),
        # ISO 8601 and other notations
        ("PT90M", ["@every 90m"]),
        ("P1DT12H", ["@every 1d12h"]),
        ("P1M", ["@monthly"]),
        ("R/2026-07-01T00:00:00Z/PT1H", ["@every 1h"]),
        ("2026-12-24 18:00", ["@at 2026-12-24T18:00:00"]),
        ("20261224T180000Z", ["@at 2026-12-24T18:00:00Z"]),
        ("1798135200", ["@at 2026-12-24T18:00:00Z"]),
        ("24.12.2026 18:00", ["@at 2026-12-24T18:00:00"]),
        ("Thu, 24 Dec 2026 18:00:00 GMT", ["@at 2026-12-24T18:00:00Z"]),
        # iCalendar
        ("RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=0", ["0 9 * * *"]),
        ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYHOUR=9", ["0 9 * * MON,WED,FRI"]),
        ("FREQ=MONTHLY;BYDAY=2FR,-1MO;BYHOUR=10;BYMINUTE=30", ["30 10 * * FRI#2,MONL"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", ["0 0 LW * *"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["0 0 L * *"]),
        ("FREQ=HOURLY;INTERVAL=6", ["@every 6h"]),
        ("DTSTART;TZID=Europe/Paris:20260601T093000\nRRULE:FREQ=WEEKLY", ["30 9 * * MON"]),
        # Jenkins and others that choose a time
        ("H/15 * * * *", ["*/15 * * * *"]),
        ("H H(2-7) * * 1-5", ["0 2 * * 1-5"]),
        ("0~59 3 * * *", ["0 3 * * *"]),
        # plain words
        ("every minute", ["@every 1m", "* * * * *"]),
        ("every day at 9am", ["0 9 * * *"]),
        ("weekdays at 8:15pm", ["15 20 * * MON-FRI"]),
        ("every monday and friday at 10:30", ["30 10 * * MON,FRI"]),
        ("first monday of the month at 10:00", ["0 10 * * MON#1"]),
        ("2nd,third mon,wed of march 17:00", ["0 17 * MAR MON#2,WED#2,MON#3,WED#3"]),
        ("last day of the month", ["0 0 L * *"]),
        ("on the 15th of every month", ["0 0 15 * *"]),
        ("1,15 of month 09:00", ["0 9 1,15 * *"]),
        ("january 1 at 9am", ["0 9 1 JAN *"]),
        ("twice a day", ["@every 12h", "0 */12 * * *"]),
        ("every 1h30m", ["@every 1h30m"]),
        ("every 10 minutes from 09:00 to 17:00", ["*/10 9-16 * * *"]),
        ("every hour between 9am and 5pm on weekdays", ["0 9-17 * * MON-FRI"]),
        ("noon", ["0 12 * * *"]),
        ("every 1.day", ["@every 1d", "@daily"]),
        ("every: 5 minutes", ["@every 5m", "*/5 * * * *"]),
        ("every friday at 5pm UTC", ["CRON_TZ=UTC 0 17 * * FRI"]),
        ("in 10 minutes", ["@in 10m"]),
        ("t\u00e4glich um 9 Uhr", ["0 9 * * *"]),
        ("toutes les 5 minutes", ["@every 5m", "*/5 * * * *"]),
        ("jeden Montag um 10:30", ["30 10 * * MON"]),
        # calls and labels
        ("crontab(minute=0, hour=7, day_of_week='mon')", ["0 7 * * mon"]),
        ("timedelta(minutes=5)", ["@every 5m"]),
        ("fixedRate = 5000", ["@every 5s"]),
        ("- cron: '0 9 * * *'", ["0 9 * * *"]),
        # crontabs
        ("*/5 * * * * curl https://example.com/x?a=b", ["*/5 * * * *"]),
        ("@daily root /usr/local/bin/backup", ["@daily"]),
        ("10 7   * * 2-7   root   /usr/local/bin/testcmd", ["10 7 * * 2-7"]),
        ("0 9 * * * # every morning", ["0 9 * * *"]),
        ("*/10 * * * * * /bin/true", ["*/10 * * * * *"]),
        # zones
        ("0 2 * * * (Europe/Paris)", ["CRON_TZ=Europe/Paris 0 2 * * *"]),
        ("0 2 * * * PST", ["CRON_TZ=America/Los_Angeles 0 2 * * *"]),
        ("TZ=europe/paris 0 2 * * *", ["CRON_TZ=Europe/Paris 0 2 * * *"]),
        ("every day at 9am Europe/Paris", ["CRON_TZ=Europe/Paris 0 9 * * *"]),
        # slips
        ("*/120 * * * *", ["@every 120m"]),
        ("0 */36 * * *", ["@every 36h"]),
        ("*/90 * * * * *", ["@every 90s"]),
        ("0 24 * * *", ["0 0 * * *"]),
        ("/5 * * * *", ["*/5 * * * *"]),
        ("0 0 25-L * *", ["0 0 25-31 * *"]),
        ("+14m", ["@in 14m"]),
        ("@at +14m", ["@in 14m"]),
        ("@every 1min", ["@every 1m"]),
        ("0 24 * * MON", []),
        ("0 9:30 * * *", ["30 9 * * *"]),
        ("0 9 * * Monday-Friday", ["0 9 * * MON-FRI"]),
        ("0 9 * * MO-FR", ["0 9 * * MON-FRI"]),
        ("0 9 1 MAI *", ["0 9 1 MAY *"]),
        ("0 9 * * mon, wed, fri", ["0 9 * * mon,wed,fri"]),
        ("0 9 * * 1 2 3", ["0 9 * * 1,2,3"]),
        ("* / 5 * * * *", ["*/5 * * * *"]),
        ("\\*/5 \\* \\* \\* \\*", ["*/5 * * * *"]),
        ("0 9 * * \u201cMON\u201d", ["0 9 * * MON"]),
        ("*\u00a0*\u00a0* * *", ["* * * * *"]),
        ("\ufeff0 9 * * *", ["0 9 * * *"]),
        ("\u0660 \u0669 * * *", ["0 9 * * *"]),
        ("@every 5 minutes", ["@every 5m"]),
        ("@every 1.5h", ["@every 1h30m"]),
        ("@every 5", ["@every 5m", "@every 5s"]),
        ("@every 1H", ["@every 1h"]),
        ("@every PT10M", ["@every 10m"]),
        ("@every 1mo", ["@monthly"]),
        ("@every 1y", ["@yearly"]),
        ("@in 10 minutes", ["@in 10m"]),
        ("in an hour", ["@in 1h"]),
        ("0 9 * * MON to FRI", ["0 9 * * MON-FRI"]),
        ("0 9 * * Monday through Friday", ["0 9 * * MON-FRI"]),
        ("0 9 * * 1 bis 5", ["0 9 * * 1-5"]),
        ("0 9 * * MON and FRI", ["0 9 * * MON,FRI"]),
        ("0 9 to 17 * * *", ["0 9-17 * * *"]),
        ("FREQ=DAILY;INTERVAL=2;BYHOUR=9", ["@every 2d"]),
        ("@quarterly", ["0 0 1 1,4,7,10 *"]),
        ("@at 2027-01-01 9:00 Europe/Paris", ["@at 2027-01-01T09:00:00"]),
        # nothing here means it, or nobody can tell what is meant
        ("0 9 * *", []),
        ("hello world", []),
        ("-5 * * * *", []),
        ("every 5 bananas", []),
        ("every day except sunday", []),
        ("every 5 minutes at 9am", []),
        ("0 9 * * 1 2027", []),
        ("tomorrow at 9am", []),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=3,4", []),
        ("0 ? * * *", []),
        ("@reboot", []),
    ],
)
def test_what_to_write_here_is_a_schedule_that_means_the_same(text: str, write: list[str]) -> None:
    assert proposed(refusal(text)) == write
    for schedule in write:
        parse_schedule(schedule, timezone=None, anchor_at=NOW)


CLOCKS = {
    "9am": "0 9", "5pm": "0 17", "5 p.m.": "0 17", "12am": "0 0", "12pm": "0 12", "8:15pm": "15 20", "09:30": "30 9",
    "17h30": "30 17", "noon": "0 12", "midnight": "0 0", "6 o'clock": "0 6", "23:59:30": "30 59 23",
}  # fmt: skip
DAYS = {
    "every day": "* * *", "daily": "* * *", "every monday": "* * MON", "on fridays": "* * FRI",
    "weekdays": "* * MON-FRI", "every weekend": "* * SAT,SUN",
    "tuesdays and thursdays": "* * TUE,THU", "monday through friday": "* * MON-FRI",
    "on the 1st of every month": "1 * *", "first monday of the month": "* * MON#1", "last day of the month": "L * *",
    "last friday of every month": "* * FRIL", "first weekday of the month": "1W * *", "every year on july 4": "4 JUL *",
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["@at 9am", "@at 10:00", "@at noon", "@at midnight", "@at daily", "@in 1M", "@in 1 month", "@in 1y", "@in P1M",
     "in 1 month", "in a month", "in a year", "a year from now", "after 2 months"],
)  # fmt: skip
def test_what_is_meant_once_never_leads_to_a_repetition(text: str) -> None:
    message = refusal(text)
    assert proposed(message) == [] and "2026-12-24T18:00:00" in message


@pytest.mark.parametrize(
    "rule",
    ["FREQ=DAILY;INTERVAL=2;BYHOUR=9,17", "FREQ=DAILY;INTERVAL=2;BYHOUR=9;BYMINUTE=0,30",
     "FREQ=HOURLY;INTERVAL=2;BYHOUR=9", "FREQ=MINUTELY;INTERVAL=10;BYHOUR=9", "FREQ=SECONDLY;INTERVAL=5;BYSECOND=0"],
)  # fmt: skip
def test_an_interval_of_a_rule_is_proposed_only_for_one_run_a_period(rule: str) -> None:
    assert proposed(refusal(rule)) == []


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("form", ["{day} at {clock}", "at {clock} {day}", "{day} {clock}", "{clock}, {day}"])
def test_a_day_and_a_time_of_day_in_words_lead_to_exactly_them(day: str, form: str) -> None:
    for clock, times in CLOCKS.items():
        text = form.format(day=day, clock=clock)
        assert proposed(refusal(text)) == [f"{times} {DAYS[day]}"], text


@pytest.mark.parametrize("number", [1, 2, 5, 7, 45, 90])
def test_a_number_of_units_in_any_notation_leads_to_that_interval(number: int) -> None:
    units = {"s": ("second", "S"), "m": ("minute", "M"), "h": ("hour", "H"), "d": ("day", "D"), "w": ("week", "W")}
    for unit, (word, letter) in units.items():
        words = f"{number} {word}{'s' * (number > 1)}"
        iso = f"P{number}{letter}" if unit in "dw" else f"PT{number}{letter}"
        for text in (f"every {words}", f"rate({words})", words, f"@every {words}", iso, f"R/{iso}", f"{number}{word}s"):
            assert proposed(refusal(text))[0] == f"@every {number}{unit}", text


@pytest.mark.parametrize("day", range(1, 8))
def test_weekdays_that_count_from_sunday_as_1_lead_to_their_names(day: int) -> None:
    name = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")[day - 1]
    assert proposed(refusal(f"cron(0 9 ? * {day} *)")) == [f"0 9 * * {name}"]
    assert proposed(refusal(f"0 0 9 ? * {day}#2 *")) == [f"0 0 9 ? * {name}#2"]
    assert proposed(refusal(f"0 0 9 ? * {day}L 2027")) == [f"0 0 9 ? * {name}L"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("H H * * *", "spread_s: 86400"),
        ("H/15 * * * *", "spread_s: 900"),
        ("0 0 12 ? * MON 2026-2028", "ends_at 2029-01-01T00:00:00Z"),
        ("FREQ=DAILY;BYHOUR=9;COUNT=5", "max_runs: 5"),
        ("DTSTART;TZID=Europe/Paris:20260601T093000\nRRULE:FREQ=DAILY", "timezone: Europe/Paris"),
        ("Fri *-*-13 12:00", 'day_match: "and"'),
        ("now", "POST /api/jobs/{id}/trigger"),
        ("tomorrow at 9am", "@at 2026-12-24T18:00:00"),
        ("@every 500ms", "whole seconds are the shortest"),
        ("R5/PT5M", "max_runs"),
        ("FREQ=DAILY;UNTIL=20270101T090000Z", "a second after 2027-01-01T09:00:00Z"),
        ("MAILTO=root", "leave it out"),
        ("0 9 * * Mont", '"Mont" in day-of-week'),
        ("0 9 * * Mon-Fryday", '"Mon-Fryday" in day-of-week'),
        ("0 9 * feb-Juno *", '"feb-Juno" in month'),
    ],
)
def test_what_is_no_schedule_is_said_beside_it_and_items_are_quoted_as_written(text: str, words: str) -> None:
    assert words in refusal(text)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("UTC+2", "Etc/GMT-2"),
        ("GMT-5", "Etc/GMT+5"),
        ("+02:00", "Etc/GMT-2"),
        ("UTC+5:30", "Asia/Kolkata"),
        ("PST", "America/Los_Angeles"),
        ("CEST", "Europe/Berlin"),
        ("CST", "America/Chicago or Asia/Shanghai"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("eastern standard time", "America/New_York"),
        ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome", "Europe/Amsterdam"),
        ("europe/paris", "Europe/Paris"),
        ("America/New York", "America/New_York"),
        ("newyork", "America/New_York"),
        ("Paris", "Europe/Paris"),
        ("Europe/Pairs", "Europe/Paris"),
        ("utc", "UTC"),
        ("Z", "UTC"),
        ("Etc/UTC+3", "Etc/GMT-3"),
        ("Asia/Mumbai", "Asia/Kolkata"),
        ("Europe/Munich", "Europe/Berlin"),
        ("Eastern Time (US & Canada)", "America/New_York"),
        ("Coordinated Universal Time", "UTC"),
    ],
)
def test_another_name_of_a_zone_leads_to_the_zone(name: str, write: str) -> None:
    assert f"not an IANA time zone: write {write}" in refusal("0 2 * * *", timezone=name)
    for zone in write.split(" or "):
        load_zone(zone)


def test_every_zone_of_windows_has_a_zone_here() -> None:
    assert len(WINDOWS_ZONES) > 130
    for zone in WINDOWS_ZONES.values():
        load_zone(zone)


@pytest.mark.parametrize("name", ["", " ", "Mars/Olympus", "UTC+25", "Europe/Xyzzy", "120"])
def test_an_unknown_zone_leads_to_none(name: str) -> None:
    message = refusal("0 2 * * *", timezone=name)
    assert "IANA" in message and "write" not in message


def test_no_refusal_quotes_nothing_or_takes_longer_than_5_ms() -> None:
    choice = random.Random(20261127)
    foreign = [given["text"] for given in GIVEN] + [
        "every 5 minutes", "FREQ=WEEKLY;BYDAY=MO", "cron(0 10 * * ? *)", "W. Europe Standard Time", "H H * * *",
        "mon..fri *-*-* 09:00", "P1DT1H", "first monday of month 09:00", "R/2026-01-01/PT1H", "minutes=5", "1 2 3 4 5",
    ]  # fmt: skip
    refusal("every 5 minutes Europe/Paris")  # reads the names of the zones once
    for _ in range(3000):
        kinds = [noise(choice), _mutated(choice, choice.choice(foreign)), " ".join([choice.choice(foreign)] * 5)]
        text = choice.choice(kinds)
        message = _judged(text)
        assert '""' not in message and message.isascii() and len(message) < 1000
        for schedule in proposed(message):
            parse_schedule(schedule.strip(), timezone=None, anchor_at=NOW)
        assert units(partial(_judged, text), enough=MOST_UNITS) < MOST_UNITS, text


MOST_UNITS = 8
"""About 8 ms, see ``units``."""
PIECES = (
    *(
        "1 ",
        "a",
        "every ",
        "0-",
        "*,",
        "( ",
        "mon,",
        "1h",
        "at 9 ",
        "FREQ=A;",
        "=",
        "\u2013",
        "/",
        "a=1 ",
        "1,",
        '"',
        ".;",
    ),
    *(
        "UTC+1 ",
        "+01:00 ",
        "Europe/Paris ",
        "tz:a",
        "first,",
        "1st ",
        "1 of month ",
        "1.5h ",
        "# a",
        "DTSTART;TZID=",
        "1:1",
    ),
    *("H(1-", "1..", "P1", "R/", "and ", "from 1 to 2 ", "x from now ", "jan 1 ", "24.12.2026 ", 'a="b" ', "\u00e9 "),
)


@pytest.mark.parametrize("piece", PIECES)
def test_advice_on_long_texts_is_cheap(piece: str) -> None:
    text = (piece * 512)[:512]
    assert units(lambda: advise(text, "no", lambda _: False), enough=MOST_UNITS) < MOST_UNITS


def _mutated(choice: random.Random, text: str) -> str:
    position = choice.randrange(len(text) + 1)
    return text[:position] + choice.choice(" *-,/?#LWH0123456789aeM.:\u2013") + text[position + choice.randrange(2) :]


def _judged(text: str) -> str:
    """The refusal, or nothing where the text is a schedule."""
    try:
        parse_schedule(text, timezone=None, anchor_at=NOW)
    except SchedulerError as error:
        return error.message
    return ""
