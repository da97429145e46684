"""Time zone data for tests: those in force in the product, and zones that a test makes up."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from scheduler.domain.schedule.zone_data import ZoneData
from scheduler.domain.schedule.zones import use_zone_data, zone_data, zone_rules


@lru_cache(maxsize=1024)
def zone_info(name: str) -> ZoneInfo:
    """The zone by the data that are in force in the product, as the standard library reads it."""
    return ZoneInfo.from_file(BytesIO(zone_rules(name)), key=name)


def compiled_zone(*changes: tuple[int, float], first: float) -> bytes:
    """A zone that is ``first`` hours ahead of UTC, and from each epoch second on the hours beside it."""
    offsets = [first, *(hours for _, hours in changes)]
    seconds = [round(hours * 3600) for hours in offsets]
    footer = f"\n<T{len(changes)}>{_posix_offset(seconds[-1])}\n".encode()
    return _block([], [0], time_format="l") + _block([at for at, _ in changes], seconds, time_format="q") + footer


def write_zone(directory: Path, name: str, rules: bytes, *, version: str | None = None) -> None:
    """Put a zone into a directory of zones, as one of ``version``."""
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(rules)
    new.replace(file)
    if version is not None:
        (directory / "tzdata.zi").write_text(f"# version {version}\n", encoding="ascii")


@contextmanager
def in_force(
    rules: Mapping[str, bytes], former: Mapping[str, Sequence[tuple[int, bytes]]] | None = None
) -> Iterator[None]:
    """These zones, beside all others, and the rules that held before in them; until the context is left."""
    before = zone_data()
    with tempfile.TemporaryDirectory() as directory:
        for name, compiled in rules.items():
            write_zone(Path(directory), name, compiled)
        directories = (directory, *before.directories)
        use_zone_data(ZoneData(source="operator", version=None, directories=directories), former or {})
        try:
            yield
        finally:
            use_zone_data(before, {})


def _block(times: Sequence[int], offsets: Sequence[int], *, time_format: str) -> bytes:
    names = b"".join(b"T%d\0" % number for number in range(len(offsets)))
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, len(times), len(offsets), len(names))
    types = b"".join(struct.pack(">lbB", offset, 0, number * 3) for number, offset in enumerate(offsets))
    indices = bytes(range(1, len(times) + 1))
    return header + struct.pack(f">{len(times)}{time_format}", *times) + indices + types + names


def _posix_offset(offset: int) -> str:
    sign, size = ("-" if offset > 0 else ""), abs(offset)
    return f"{sign}{size // 3600}:{size // 60 % 60:02d}"
