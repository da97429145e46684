"""Rows as records: the fields of a record are the columns of its table, defined once.

A field that is a record itself is stored as the columns of its fields. Statements are written out where they are used;
only their lists of columns come from here. A row is read by position, so a statement has the columns of a ``Table`` in
one piece. Reading and writing are functions that are compiled once, as ``dataclass`` compiles its own, since they run
for every due job and every attempt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from scheduler.store.database import Row

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """How a value that is not NULL is stored and read back."""

    encode: Callable[..., Any]
    decode: Callable[..., Any]
    takes_id: bool = False
    """Do both take the id of the row as a second argument?"""


FLAG = Codec(encode=int, decode=bool)
TEXT = Codec(encode=str, decode=str)
LIST = Codec(encode=lambda items: json.dumps(list(items)), decode=json.loads)
MAP = Codec(encode=lambda items: json.dumps(dict(items)), decode=json.loads)


def enum_codec(kind: type[Enum], *, is_nullable: bool = False) -> Codec:
    """Stores the value of a member. Reading an unknown value raises ``KeyError``, or is ``None`` where that may be."""
    members = {member.value: member for member in kind}
    return Codec(encode=attrgetter("value"), decode=members.get if is_nullable else members.__getitem__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    name: str
    codec: Codec | None
    is_nullable: bool


class Table(Generic[R]):
    """The rows of a table as records of one type.

    Fields, and fields of fields, are named by path: ``timing.schedule``. ``codecs`` has those of fields whose type is
    not enough to choose one: flags and enumerations need none. ``renamed`` has the columns that have another name than
    their field. Fields ``without`` a column are not written and take their defaults when read.
    """

    def __init__(
        self,
        record: type[R],
        *,
        codecs: Mapping[str, Codec] | None = None,
        renamed: Mapping[str, str] | None = None,
        without: tuple[str, ...] = (),
    ) -> None:
        self._record = record
        found = _columns_of(record, "", codecs or {}, renamed or {})
        self._columns = {path: column for path, column in found if path not in without}
        self.names = tuple(column.name for column in self._columns.values())
        self.decode: Callable[[Row], R] = self.decoder()
        """The record of a row that begins with the columns."""
        self.encode: Callable[[R], dict[str, Any]] = self._encoder()
        """The values of a record by column."""

    def columns(self, alias: str = "", *, prefix: str = "") -> str:
        """The columns for a SELECT: ``j.id, j.name``; with a ``prefix``, ``w.id AS w_id, w.url AS w_url``."""
        qualifier = f"{alias}." if alias else ""
        return ", ".join(f"{qualifier}{name} AS {prefix}{name}" if prefix else qualifier + name for name in self.names)

    def values(self, **more: str) -> str:
        """The columns, and ``more`` with their expressions, for an INSERT: ``(id, held) VALUES (:id, 0)``."""
        values = {name: f":{name}" for name in self.names} | more
        return f"({', '.join(values)}) VALUES ({', '.join(values.values())})"

    def assignments(self, *, fixed: tuple[str, ...]) -> str:
        """The columns but for ``fixed`` ones, for an UPDATE: ``name = :name, type = :type``."""
        return ", ".join(f"{name} = :{name}" for name in self.names if name not in fixed)

    def decoder(self, start: int = 0, *, given: tuple[str, ...] = ()) -> Callable[..., R]:
        """What makes a record of a row, in which the columns begin at position ``start``.

        It takes the values of the fields that are ``given`` as further arguments, in their order.
        """
        scope: dict[str, Any] = {}
        return _compiled(("row", *given), self._construction(self._record, "", start, given, scope), scope)

    def _construction(self, record: type, path: str, start: int, given: tuple[str, ...], scope: dict[str, Any]) -> str:
        """The source of what makes a record, such as ``Job(id=row[0], timing=Timing(schedule=row[1]))``."""
        positions = {name: f"row[{start + position}]" for position, name in enumerate(self.names)}
        arguments = []
        for name, hint in get_type_hints(record).items():
            column = self._columns.get(path + name)
            if name in given:
                arguments.append(f"{name}={name}")
            elif column is not None:
                value, row_id = positions[column.name], positions.get("id", "")
                arguments.append(f"{name}={_applied('decode', column, value, row_id, scope)}")
            elif isinstance(hint, type) and is_dataclass(hint):
                arguments.append(f"{name}={self._construction(hint, f'{path}{name}.', start, (), scope)}")
        scope[record.__name__] = record
        return f"{record.__name__}({', '.join(arguments)})"

    def _encoder(self) -> Callable[[R], dict[str, Any]]:
        scope: dict[str, Any] = {}
        items = [
            f"{column.name!r}: {_applied('encode', column, f'record.{path}', 'record.id', scope)}"
            for path, column in self._columns.items()
        ]
        return _compiled(("record",), f"{{{', '.join(items)}}}", scope)


def _columns_of(
    record: type, path: str, codecs: Mapping[str, Codec], renamed: Mapping[str, str]
) -> Iterator[tuple[str, _Column]]:
    for name, hint in get_type_hints(record).items():
        field, kinds = path + name, get_args(hint) or (hint,)
        if field not in codecs and isinstance(hint, type) and is_dataclass(hint):
            yield from _columns_of(hint, f"{field}.", codecs, renamed)
        else:
            is_nullable = type(None) in kinds
            codec = codecs.get(field) or _codec_of(kinds[0], is_nullable=is_nullable)
            yield field, _Column(name=renamed.get(field, name), codec=codec, is_nullable=is_nullable)


def _codec_of(kind: Any, *, is_nullable: bool) -> Codec | None:
    if kind is bool:
        return FLAG
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    return enum_codec(kind, is_nullable=is_nullable) if is_enum else None


def _applied(way: str, column: _Column, value: str, row_id: str, scope: dict[str, Any]) -> str:
    """The source of the value on its ``way`` through the codec of its column; ``None`` stays ``None``."""
    if column.codec is None:
        return value
    function = f"{way}_{column.name}"
    scope[function] = getattr(column.codec, way)
    call = f"{function}({value}, {row_id})" if column.codec.takes_id else f"{function}({value})"
    return f"None if {value} is None else {call}" if column.is_nullable else call


def _compiled(parameters: tuple[str, ...], source: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """The function that returns the value of ``source``, in which ``scope`` has the names."""
    function: Callable[..., Any] = eval(f"lambda {', '.join(parameters)}: {source}", scope)  # noqa: S307 - names of ours
    return function
