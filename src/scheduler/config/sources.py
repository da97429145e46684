"""Reads settings from a TOML file, the environment and flags, and checks them against one table of settings.

Each reader returns the values it accepted and the problems of the others; none stops at the first problem.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler.config.checks import problem_with_secret_file
from scheduler.config.settings import PREFIX, PlacedSetting, accept

_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Found:
    """An accepted value and its origin."""

    value: Any
    origin: str
    """``FILE:LINE``, a variable or a flag."""
    name: str = ""
    """The path of the setting, where the origin does not tell it."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of a configuration; its text is ``FILE:LINE: section.key: message`` or ``VARIABLE: message``."""

    origin: str
    message: str
    setting: str = ""
    """Its path, where the origin does not tell it."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.setting, self.message) if part)


@dataclass(kw_only=True)
class Reading:
    """What one source gave, by the path of the setting."""

    found: dict[str, Found] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """The paths of the settings whose value was not accepted."""

    def take(self, setting: PlacedSetting, raw: object, *, origin: str, name: str = "") -> None:
        """Check ``raw`` and add it to what was found or to the problems; ``name`` is the path where they need it."""
        try:
            self.found[setting.path] = Found(value=accept(setting, raw), origin=origin, name=name)
        except ValueError as error:
            self.refused.add(setting.path)
            self.problems.append(Problem(origin=origin, setting=name, message=str(error)))


def read_file(path: Path, settings: Mapping[str, PlacedSetting]) -> Reading:
    """The settings of a TOML file (UTF-8); origins are ``FILE:LINE``."""
    reading = Reading()
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        reading.problems.append(Problem(origin=str(path), message=f"cannot be read: {error.strerror}"))
        return reading
    except UnicodeDecodeError as error:
        reading.problems.append(Problem(origin=str(path), message=f"not UTF-8 at byte {error.start}"))
        return reading
    except (ValueError, RecursionError) as error:
        reading.problems.append(_syntax_problem(path, text, str(error)))
        return reading
    lines = _lines_of_keys(text)
    for name, raw in _settings_in(document, settings):
        line = lines.get(name) or lines.get(name.partition(".")[0], 1)
        origin = f"{path}:{line}"
        if name in settings:
            reading.take(settings[name], raw, origin=origin, name=name)
        else:
            reading.problems.append(Problem(origin=origin, setting=name, message=_unknown_name(name, settings)))
    return reading


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    """The message of the TOML parser, with its line in the form of the other origins."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    what, line, column = match.groups() if match else (message, None, None)
    at = f"{path}:{line or max(1, text.count(chr(10)))}"
    return Problem(origin=at, message=f"not TOML: {what}" + (f" (column {column})" if column else ""))


def _settings_in(document: Mapping[str, Any], settings: Mapping[str, PlacedSetting]) -> Iterator[tuple[str, object]]:
    """Each value with its dotted name; a table that is no section is one value under its own name."""
    sections = {path.partition(".")[0] for path in settings if "." in path}
    for name, value in document.items():
        if name in sections and isinstance(value, dict):
            yield from ((f"{name}.{inner}", raw) for inner, raw in value.items())
        else:
            yield name, value


def _lines_of_keys(text: str) -> dict[str, int]:
    """The line on which each key or table of a valid document begins.

    A statement is the shortest run of lines that parses on its own, so strings and arrays over several lines need no
    grammar of ours.
    """
    found: dict[str, int] = {}
    table: tuple[str, ...] = ()
    begun, pending = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        pending += line + "\n"
        try:
            statement = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        path = _first_path(statement)
        is_table = pending.lstrip().startswith("[")
        if is_table:
            table = path
        whole = path if is_table else table + path
        for depth in (1, 2):
            found.setdefault(".".join(whole[:depth]), begun)
        begun, pending = number + 1, ""
    return found


def _first_path(statement: object) -> tuple[str, ...]:
    """The names that lead to the value of a single statement."""
    while isinstance(statement, list):
        statement = statement[0] if statement else None
    if not isinstance(statement, dict) or not statement:
        return ()
    name, inner = next(iter(statement.items()))
    return (name, *_first_path(inner))


def _unknown_name(name: str, settings: Mapping[str, PlacedSetting]) -> str:
    section, _, last = name.rpartition(".")
    names = [*settings, *{f"[{path.partition('.')[0]}]" for path in settings if "." in path}]
    if f"[{name}]" in names:
        return f"is a section: write [{name}] and its keys below"
    namesakes = [path for path in settings if path.rpartition(".")[2] == last]
    siblings = {path.rpartition(".")[2]: path for path in settings if path.rpartition(".")[0] == section}
    near = [siblings[close] for close in difflib.get_close_matches(last, siblings, n=1)] or namesakes
    return "unknown key" + _did_you_mean(near or ([] if section else difflib.get_close_matches(name, names, n=1)))


def _did_you_mean(candidates: Iterable[str]) -> str:
    best = next(iter(candidates), None)
    return f", did you mean {best}?" if best else ""


def read_environment(
    environ: Mapping[str, str], settings: Mapping[str, PlacedSetting], *, skip: Iterable[str] = ()
) -> Reading:
    """The settings of the environment; origins are names of variables.

    The settings in ``skip`` are set by a flag, so their variables are not read. An unknown variable is a problem if it
    has two underscores in a row, as ours have; others belong to other programs (Kubernetes sets ``SCHEDULER_PORT`` for
    a service of that name).
    """
    reading = Reading()
    known: set[str] = set()
    decided = frozenset(skip)
    for setting in settings.values():
        known |= {setting.variable, setting.variable + "_FILE"} if setting.secret else {setting.variable}
        if setting.path in decided:
            continue
        if setting.secret and setting.variable + "_FILE" in environ:
            _take_secret_file(reading, setting, environ)
            continue
        name = next((name for name in (setting.variable, *setting.aliases) if name in environ), None)
        if name is not None:
            reading.take(setting, _from_text(setting, environ[name]), origin=name)
    for name in sorted(environ.keys() - known):
        if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX):
            near = difflib.get_close_matches(name, sorted(known), n=1)
            reading.problems.append(Problem(origin=name, message="unknown variable" + _did_you_mean(near)))
    return reading


def _take_secret_file(reading: Reading, setting: PlacedSetting, environ: Mapping[str, str]) -> None:
    name = setting.variable + "_FILE"
    if setting.variable in environ:
        reading.problems.append(Problem(origin=name, message=f"set together with {setting.variable}: keep one of them"))
        return
    try:
        if problem := problem_with_secret_file(Path(environ[name])):
            reading.problems.append(Problem(origin=name, message=problem))
            return
        text = Path(environ[name]).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        reading.problems.append(Problem(origin=name, message=f"{environ[name]} cannot be read: {why}"))
        return
    reading.take(setting, text, origin=name)


def _from_text(setting: PlacedSetting, text: str) -> object:
    """The text of a variable as the value that a file would hold, or the text itself where it is no such value."""
    if setting.optional and not text:
        return None
    if setting.kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if setting.kind is int:
        return int(text) if re.fullmatch(r"[+-]?[0-9]{1,30}", text.strip()) else text
    if setting.kind is float:
        return float(text) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text.strip()) else text
    if setting.kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def read_flags(flags: Mapping[str, object], settings: Mapping[str, PlacedSetting], names: Mapping[str, str]) -> Reading:
    """The settings of flags by path, ``None`` where a flag was not given; origins are ``names``."""
    reading = Reading()
    for path, raw in flags.items():
        if raw is not None:
            reading.take(settings[path], raw, origin=names[path])
    return reading
