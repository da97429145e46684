"""Rows as records: what is written comes back, whatever the columns are called and wherever they stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import pytest

from scheduler.store.rows import MAP, Codec, Table


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    spokes: int
    is_spare: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Car:
    id: str
    wheel: Wheel
    colour: Colour
    roof: Colour | None = None
    size: Size = Size.SMALL
    user: str = "ann"
    is_new: bool | None = None
    extras: dict[str, str] | None = None
    secret: str = ""


def shouted(value: str, car_id: str) -> str:
    return f"{car_id}:{value}"


def whispered(value: str, car_id: str) -> str:
    return value.removeprefix(f"{car_id}:")


CARS = Table(
    Car,
    codecs={"extras": MAP, "secret": Codec(encode=shouted, decode=whispered, takes_id=True)},
    renamed={"user": "user_id", "wheel.is_spare": "spare"},
)
PLAIN = Car(id="1", wheel=Wheel(spokes=8), colour=Colour.RED)
FULL = Car(
    id="2",
    wheel=Wheel(spokes=0, is_spare=True),
    colour=Colour.BLUE,
    roof=Colour.RED,
    user="bob",
    is_new=False,
    extras={"radio": "on"},
    secret="s",
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute(f"CREATE TABLE cars ({CARS.columns()}, held)")
    for car in (PLAIN, FULL):
        connection.execute(f"INSERT INTO cars {CARS.values(held='0')}", CARS.encode(car))
    yield connection
    connection.close()


def test_records_come_back_as_they_were_written(db: sqlite3.Connection) -> None:
    rows = db.execute(f"SELECT {CARS.columns('c')} FROM cars c ORDER BY c.id").fetchall()
    assert [CARS.decode(row) for row in rows] == [PLAIN, FULL]


def test_columns_hold_what_a_database_can_compare(db: sqlite3.Connection) -> None:
    row = db.execute("SELECT * FROM cars WHERE id = '2'").fetchone()
    assert {name: row[name] for name in row.keys()} == {  # noqa: SIM118 - a Row iterates over its values
        "id": "2",
        "spokes": 0,
        "spare": 1,
        "colour": "blue",
        "roof": "red",
        "size": 1,
        "user_id": "bob",
        "is_new": 0,
        "extras": '{"radio": "on"}',
        "secret": "2:s",
        "held": 0,
    }


def test_a_row_is_read_from_any_position_and_beside_other_columns(db: sqlite3.Connection) -> None:
    decode = CARS.decoder(1)
    row = db.execute(
        f"SELECT 7 AS n, {CARS.columns('c', prefix='c_')}, 'x' AS id FROM cars c WHERE c.id = '2'"
    ).fetchone()
    assert decode(row) == FULL
    assert (row["n"], row["c_id"], row["id"]) == (7, "2", "x")


def test_given_values_go_before_what_the_row_has(db: sqlite3.Connection) -> None:
    decode = CARS.decoder(given=("user", "colour"))
    row = db.execute(f"SELECT {CARS.columns()} FROM cars WHERE id = '1'").fetchone()
    changed = decode(row, "eve", Colour.BLUE)
    assert (changed.id, changed.user, changed.colour) == ("1", "eve", Colour.BLUE)


def test_fields_without_a_column_take_their_defaults(db: sqlite3.Connection) -> None:
    part = Table(Car, renamed={"user": "user_id"}, without=("wheel.is_spare", "extras", "secret", "roof"))
    row = db.execute(f"SELECT {part.columns()} FROM cars WHERE id = '2'").fetchone()
    assert part.decode(row) == Car(
        id="2", wheel=Wheel(spokes=0), colour=Colour.BLUE, user="bob", is_new=False, size=Size.SMALL
    )
    assert set(part.encode(FULL)) == set(part.names) == {"id", "spokes", "colour", "size", "user_id", "is_new"}


def test_an_update_leaves_fixed_columns_alone(db: sqlite3.Connection) -> None:
    values = CARS.encode(FULL) | {"id": "1"}
    db.execute(f"UPDATE cars SET {CARS.assignments(fixed=('id', 'colour', 'secret'))} WHERE id = :id", values)
    row = db.execute(f"SELECT {CARS.columns()} FROM cars WHERE id = '1'").fetchone()
    changed = CARS.decode(row)
    assert (changed.user, changed.wheel) == (FULL.user, FULL.wheel)
    assert (changed.colour, changed.secret) == (PLAIN.colour, PLAIN.secret)


def test_an_unknown_word_in_a_column_is_an_error(db: sqlite3.Connection) -> None:
    db.execute("UPDATE cars SET colour = 'green'")
    row = db.execute(f"SELECT {CARS.columns()} FROM cars WHERE id = '1'").fetchone()
    with pytest.raises(KeyError):
        CARS.decode(row)
