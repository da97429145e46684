"""The sealing key of a database: checked at the start, and changed for every secret at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.domain.webhooks.webhook import FormerSecret, TlsOptions
from scheduler.store.database import Row, Transaction
from scheduler.store.sealing import SEALED_COLUMNS, require_key, reseal
from scheduler.store.sqlite.database import SqliteDatabase
from scheduler.store.stores import Stores
from scheduler.store.vault import Vault, WrongKeyError, binding_of
from tests.conftest import SECRET_KEY, SetClock
from tests.factories import add_job

OLD, NEW = SECRET_KEY, bytes(reversed(SECRET_KEY))
BINDING = binding_of("webhooks", "1", "headers")
FORMER = FormerSecret(secret="whsec_former", until_at=1)
TLS = TlsOptions(certificate="certificate", key="key")


async def sealed_values(db: SqliteDatabase) -> list[str]:
    columns = ", ".join(SEALED_COLUMNS["webhooks"])
    rows: list[Row] = list(await db.fetch_all(f"SELECT {columns} FROM webhooks ORDER BY id"))
    values = [row[column] for row in rows for column in SEALED_COLUMNS["webhooks"]]
    canary = await db.fetch_all("SELECT sealed FROM key_check")
    return [value for value in (*values, *(row["sealed"] for row in canary)) if value is not None]


async def add_secrets(stores: Stores, clock: SetClock, count: int = 1) -> None:
    webhook = {"headers": {"X-A": "b"}, "signing_secret": "whsec_now", "former_secrets": (FORMER,), "tls": TLS}
    for _ in range(count):
        await add_job(stores, clock.now(), webhook=webhook)


def test_a_value_names_its_key_and_opens_in_its_place_only() -> None:
    old, both = Vault(OLD), Vault(NEW, OLD)
    sealed = old.seal("text", binding=BINDING)
    assert sealed.startswith(old.key_id + ".") and "text" not in sealed
    assert (old.is_current(sealed), both.is_current(sealed)) == (True, False)
    assert old.open(sealed, binding=BINDING) == both.open(sealed, binding=BINDING) == "text"
    assert both.is_current(both.seal("text", binding=BINDING))
    with pytest.raises(
        WrongKeyError, match=f"sealed with key {old.key_id}, at hand is {both.key_id}: give the service"
    ):
        Vault(NEW).open(sealed, binding=BINDING)
    for changed in (sealed[:-6] + "AAAA==", sealed[:20], sealed[:9], f"{old.key_id}.!!!"):
        with pytest.raises(WrongKeyError, match=f"{BINDING} was changed"):
            old.open(changed, binding=BINDING)
    with pytest.raises(WrongKeyError, match="another place"):
        old.open(sealed, binding=binding_of("webhooks", "2", "headers"))


async def test_a_database_remembers_its_key(db: SqliteDatabase) -> None:
    await require_key(db, Vault(OLD))
    await require_key(db, Vault(OLD))
    await require_key(db, Vault(NEW, OLD))
    with pytest.raises(WrongKeyError):
        await require_key(db, Vault(NEW))


async def test_a_database_of_an_earlier_version_is_asked_for_one_of_its_secrets(
    db: SqliteDatabase, stores: Stores, clock: SetClock
) -> None:
    await add_job(stores, clock.now())
    await add_secrets(stores, clock)
    with pytest.raises(WrongKeyError, match="webhooks/"):
        await require_key(db, Vault(NEW))
    await require_key(db, Vault(OLD))
    assert len(await db.fetch_all("SELECT id FROM key_check")) == 1


async def test_every_secret_gets_the_new_key_and_says_the_same(
    db: SqliteDatabase, stores: Stores, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.store.sealing.BATCH", 2)
    await require_key(db, Vault(OLD))
    await add_secrets(stores, clock, 5)
    await add_job(stores, clock.now())
    both, new = Vault(NEW, OLD), Vault(NEW)
    before = (await stores.webhooks.page("ann", skip=0, limit=10)).items
    assert await reseal(db, both) == 20
    assert await reseal(db, both) == 0
    values = await sealed_values(db)
    assert len(values) == 21 and all(map(new.is_current, values))
    await require_key(db, new)
    with pytest.raises(WrongKeyError):
        await require_key(db, Vault(OLD))
    after = (await Stores.over(db, vault=new, worker_id="w").webhooks.page("ann", skip=0, limit=10)).items
    assert after == before
    assert (after[0].former_secrets, after[0].tls) == ((FORMER,), TLS)


async def test_one_that_cannot_be_opened_leaves_all_as_they_were(
    db: SqliteDatabase, stores: Stores, clock: SetClock
) -> None:
    await require_key(db, Vault(OLD))
    await add_secrets(stores, clock, 3)

    async def corrupt(tx: Transaction) -> None:
        await tx.execute("UPDATE webhooks SET headers = 'x.y' WHERE id = (SELECT MAX(id) FROM webhooks)")

    await db.transaction(corrupt)
    before = await sealed_values(db)
    with pytest.raises(WrongKeyError):
        await reseal(db, Vault(NEW, OLD))
    assert await sealed_values(db) == before


async def test_a_compacted_file_has_no_trace_of_what_was_replaced(
    db: SqliteDatabase, stores: Stores, clock: SetClock, tmp_path: Path
) -> None:
    await require_key(db, Vault(OLD))
    await add_secrets(stores, clock, 50)
    await db.maintain()
    traces = Vault(OLD).key_id.encode() + b"."
    await reseal(db, Vault(NEW, OLD))
    assert traces in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    await db.compact()
    assert traces not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
