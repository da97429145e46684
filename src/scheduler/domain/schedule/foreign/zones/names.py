"""Which IANA time zone is meant by another name: ``UTC+2``, ``PST``, ``W. Europe Standard Time``, ``europe/paris``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from scheduler.domain.schedule.foreign.names import plain
from scheduler.domain.schedule.foreign.zones.windows import WINDOWS_ZONES
from scheduler.domain.schedule.zones import is_zone

_OFFSET = re.compile(r"(?:(?:Etc/)?UTC|GMT|Z)?\s*([+-])\s*([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
_DISPLAY = re.compile(r"UTC(?:[+-][0-9]{2}:[0-9]{2})?\)\s*(\S.*)", re.IGNORECASE)
_PLACES = {
    "America/Los_Angeles": "Pacific Time, California, San Francisco, Seattle, San Diego, Portland, Las Vegas",
    "America/Denver": "Mountain Time, Colorado, Salt Lake City",
    "America/Chicago": "Central Time, Texas, Dallas, Houston, Austin",
    "America/New_York": "Eastern Time, NYC, Washington, Boston, Miami, Atlanta, Philadelphia",
    "America/Toronto": "Ottawa, Ontario",
    "America/Sao_Paulo": "Brasilia, Rio de Janeiro",
    "UTC": "Coordinated Universal Time, Universal Time Coordinated, UTC Time, GMT Time, Greenwich Mean Time",
    "Europe/London": "England, UK, United Kingdom, Great Britain, British Time, British Summer Time, Edinburgh",
    "Europe/Berlin": "Germany, Deutschland, Central European Time, Munich, Hamburg, Frankfurt, Cologne",
    "Europe/Paris": "France, Lyon",
    "Europe/Rome": "Italy, Italia, Milan",
    "Europe/Madrid": "Spain, Barcelona",
    "Europe/Zurich": "Switzerland, Geneva, Bern",
    "Europe/Amsterdam": "Netherlands, Holland, Rotterdam",
    "Europe/Vienna": "Austria",
    "Europe/Warsaw": "Poland, Krakow",
    "Europe/Istanbul": "Ankara",
    "Asia/Kolkata": "India, India Time, Mumbai, Delhi, New Delhi, Bangalore, Bengaluru, Chennai, Hyderabad, Bombay",
    "Asia/Shanghai": "China, Beijing, Peking, Shenzhen, Guangzhou, China Time",
    "Asia/Tokyo": "Osaka, Kyoto",
    "Asia/Ho_Chi_Minh": "Vietnam, Hanoi",
    "Asia/Karachi": "Pakistan, Islamabad, Lahore",
    "Australia/Sydney": "Canberra",
    "Pacific/Auckland": "New Zealand, Wellington",
}
"""Places and everyday names, by the zone that is meant."""
_ABBREVIATIONS = {
    "PST PDT PT PACIFIC": "America/Los_Angeles",
    "MDT MT MOUNTAIN": "America/Denver",
    "CDT CT CENTRAL": "America/Chicago",
    "EDT ET EASTERN": "America/New_York",
    "CST": "America/Chicago or Asia/Shanghai",
    "AKST AKDT": "America/Anchorage",
    "HDT": "Pacific/Honolulu",
    "AST ADT": "America/Halifax",
    "NST NDT": "America/St_Johns",
    "BRT": "America/Sao_Paulo",
    "ART": "America/Argentina/Buenos_Aires",
    "BST": "Europe/London",
    "CEST MEZ MESZ": "Europe/Berlin",
    "EEST": "Europe/Athens",
    "WEST": "Europe/Lisbon",
    "MSK": "Europe/Moscow",
    "TRT": "Europe/Istanbul",
    "SAST": "Africa/Johannesburg",
    "WAT": "Africa/Lagos",
    "EAT": "Africa/Nairobi",
    "CAT": "Africa/Maputo",
    "GST": "Asia/Dubai",
    "PKT": "Asia/Karachi",
    "IST": "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem",
    "ICT": "Asia/Bangkok",
    "WIB": "Asia/Jakarta",
    "SGT": "Asia/Singapore",
    "HKT": "Asia/Hong_Kong",
    "PHT": "Asia/Manila",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "AWST": "Australia/Perth",
    "ACST ACDT": "Australia/Adelaide",
    "AEST AEDT": "Australia/Sydney",
    "NZST NZDT": "Pacific/Auckland",
    "Z ZULU": "UTC",
}
_BY_ABBREVIATION = {word: zone for words, zone in _ABBREVIATIONS.items() for word in words.split()}
_ODD_OFFSETS = {
    "-09:30": "Pacific/Marquesas",
    "-03:30": "America/St_Johns",
    "+03:30": "Asia/Tehran",
    "+04:30": "Asia/Kabul",
    "+05:30": "Asia/Kolkata",
    "+05:45": "Asia/Kathmandu",
    "+06:30": "Asia/Yangon",
    "+08:45": "Australia/Eucla",
    "+09:30": "Australia/Darwin",
    "+10:30": "Australia/Lord_Howe",
    "+12:45": "Pacific/Chatham",
}


def zone_refusal(name: str) -> str:
    """Why the name of a zone is refused, and which zone is probably meant."""
    meant = meant_zone(name[:64])
    if meant is None:
        return "not an IANA time zone such as Europe/Paris"
    note = "; its sign is the other way round, and a place such as Europe/Paris has daylight saving time"
    return f"not an IANA time zone: write {meant}{note if meant.startswith('Etc/GMT') else ''}"


def meant_zone(name: str) -> str | None:
    """The zone that is meant, perhaps several with "or" between; ``None`` where it is not known."""
    name = name.strip(" \"'()")
    offset = _OFFSET.fullmatch(name.replace("\N{MINUS SIGN}", "-"))
    if offset is not None:
        return _at_offset(offset[1], int(offset[2]), int(offset[3] or 0))
    display = _DISPLAY.fullmatch(name)  # of Windows, such as "UTC+01:00) Amsterdam, Berlin, Bern"
    if display is not None:
        return next((zone for city in display[1].split(",") if (zone := _known().get(_key(city)))), None)
    key = _key(name.partition("(")[0] or name)  # such as "Eastern Time (US & Canada)"
    in_city = _known().get(key.rpartition("/")[2]) if "/" in key else None
    return _BY_ABBREVIATION.get(name.upper()) or _known().get(key) or in_city or _nearly(key)


def sure_zone(name: str) -> str | None:
    """The one zone that is meant by a name, or that it is."""
    meant = name if is_zone(name) else meant_zone(name)
    return meant if meant and is_zone(meant) else None


def names_zone(name: str) -> bool:
    """Is it a name of a zone, of IANA, of Windows, or one that people use?"""
    return name.upper() in _BY_ABBREVIATION or _OFFSET.fullmatch(name) is not None or _key(name) in _known()


def _at_offset(sign: str, hours: int, minutes: int) -> str | None:
    if minutes:
        return _ODD_OFFSETS.get(f"{sign}{hours:02d}:{minutes:02d}")
    if hours == 0:
        return "UTC"
    if hours > (14 if sign == "+" else 12):
        return None
    return f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name if name.isascii() else plain(name)).lower()


def _nearly(key: str) -> str | None:
    """A place of the same continent whose name has perhaps been mistyped: ``Europe/Pairs``."""
    continent, slash, place = key.partition("/")
    if not slash or continent == "etc":
        return None
    places = {
        known.removeprefix(f"{continent}/"): zone for known, zone in _known().items() if known.startswith(continent)
    }
    found = get_close_matches(place, places, n=1, cutoff=0.79)
    return places[found[0]] if found else None


@cache
def _known() -> dict[str, str]:
    """The names of IANA and Windows by their keys, and the former by the key of their last part."""
    names = files("tzdata").joinpath("zones").read_text("ascii").split()
    found: dict[str, str] = {}
    for name in names:
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/")):
            found.setdefault(_key(name.rsplit("/", 1)[1]), name)
    windows = {_key(name): zone for name, zone in WINDOWS_ZONES.items()}
    places = {_key(place): zone for zone, names in _PLACES.items() for place in names.split(",")}
    return found | windows | places | {_key(name): name for name in names}
