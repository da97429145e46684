"""Which time zone data are in force: the newer of the system's and the tzdata package's, or those an operator names.

All of them are directories of compiled zones (TZif, RFC 9636), made from a release of the IANA database such as 2026a.
``PYTHONTZPATH`` names directories that go before any other, whatever their release. A zone that the data in force do
not have is looked for in the others.
"""

from __future__ import annotations

import os
import re
import struct
import sysconfig
import zoneinfo
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Source = Literal["system", "package", "operator"]
SOURCES: tuple[Source, ...] = ("system", "package", "operator")

_RELEASE = re.compile(r"([0-9]{4})([a-z]{1,2})\S*", re.ASCII)
_VERSION_FILES = (("tzdata.zi", "# version "), ("+VERSION", ""), ("version", ""))
"""Files that name the release in their first line, behind a prefix: of Linux, of macOS, of some distributions."""
_NAMES = {"system": "the system", "package": "the tzdata package", "operator": "PYTHONTZPATH"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneData:
    """The time zone data of this process."""

    source: Source
    version: str | None
    """The release, such as 2026a; ``None`` when the data do not say."""
    directories: tuple[str, ...]
    """Where a zone is looked for, in this order; the first belong to the source."""

    def to_mapping(self) -> dict[str, str | None]:
        """The data as JSON values, for operators."""
        return {"version": self.version, "source": self.source}

    def __str__(self) -> str:
        return f"{self.version or 'of an unknown release'}, from {_NAMES[self.source]}"


def find_zone_data() -> ZoneData:
    """The data that are in force by what is installed at this moment."""
    path = zoneinfo.TZPATH
    built_in = sysconfig.get_config_var("TZPATH") or ""
    by_operator = "PYTHONTZPATH" in os.environ or list(path) != [part for part in built_in.split(os.pathsep) if part]
    return choose_zone_data(path, _package(), by_operator=by_operator)


def choose_zone_data(path: tuple[str, ...], package: tuple[str, ...], *, by_operator: bool) -> ZoneData:
    """Choose the data: from the directories of the system (or operator) in ``path``, or from those of the package."""
    path_version, package_version = _first_version(path), _first_version(package)
    if by_operator:
        return ZoneData(source="operator", version=path_version, directories=(*path, *package))
    # Data without a release cannot be compared; the package always has one, and a way to update it.
    if package_version and (path_version is None or is_newer(package_version, path_version)):
        return ZoneData(source="package", version=package_version, directories=(*package, *path))
    return ZoneData(source="system", version=path_version, directories=(*path, *package))


def read_rules(data: ZoneData, name: str) -> bytes:
    """The compiled zone of a valid ``name``. Raises ``LookupError`` when no directory has one, or but a part of it."""
    file = _find(data, name)
    try:
        rules = file.read_bytes() if file is not None else b""
    except OSError:
        rules = b""
    if not is_compiled_zone(rules):
        raise LookupError(name)
    return rules


def is_compiled_zone(rules: bytes) -> bool:
    """Is this a whole file of RFC 9636, section 3? ``zoneinfo`` never returns for some truncated files."""
    if rules[:4] != b"TZif":
        return False
    end = _block_end(rules, 0, time_size=4)
    if rules[4:5] == b"\0":
        return end == len(rules)
    end = _block_end(rules, end, time_size=8)
    footer = rules[end:]
    return end < len(rules) and len(footer) >= 2 and footer[:1] == footer[-1:] == b"\n"


def _block_end(rules: bytes, start: int, *, time_size: int) -> int:
    """Where the data block ends whose header begins at ``start``; beyond the end where there is no whole header."""
    header = rules[start : start + 44]
    if len(header) < 44 or header[:4] != b"TZif":
        return len(rules) + 1
    ut, standard, leaps, times, types, characters = struct.unpack(">6l", header[20:])
    size = times * (time_size + 1) + types * 6 + characters + leaps * (time_size + 4) + standard + ut
    return start + 44 + int(size)


def file_stamp(data: ZoneData, name: str) -> tuple[str, int, int] | None:
    """Identifies the state of a zone's file: its path, when it was written, its size; ``None`` without a file."""
    file = _find(data, name)
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_mtime_ns, found.st_size


def _find(data: ZoneData, name: str) -> Path | None:
    files = (Path(directory, name) for directory in data.directories)
    return next((file for file in files if file.is_file()), None)


def _package() -> tuple[str, ...]:
    """The directory of the tzdata package; found anew each time, since it may be updated under a running process."""
    spec = find_spec("tzdata")
    return tuple(f"{place}/zoneinfo" for place in spec.submodule_search_locations or ()) if spec else ()


def _first_version(directories: tuple[str, ...]) -> str | None:
    """The release of the first directory that exists."""
    directory = next((directory for directory in map(Path, directories) if directory.is_dir()), None)
    if directory is None:
        return None
    for name, prefix in _VERSION_FILES:
        try:
            with (directory / name).open(encoding="ascii", errors="replace") as file:
                line = file.readline(100)
        except OSError:
            continue
        words = line.removeprefix(prefix).split()
        if line.startswith(prefix) and words and _RELEASE.fullmatch(words[0]):
            return words[0]
    return None


def is_newer(version: str | None, other: str | None) -> bool:
    """Is a release newer than another? 2025z comes before 2025aa, and that before 2026a; unknown ones are not newer."""
    return version is not None and other is not None and _order(version) > _order(other)


def _order(version: str) -> tuple[int, int, str]:
    match = _RELEASE.fullmatch(version)
    return (int(match[1]), len(match[2]), match[2]) if match else (0, 0, "")
