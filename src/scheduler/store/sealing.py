"""All sealed secrets of a database: checks whether a sealing key opens them, and seals them with another."""

from __future__ import annotations

from scheduler.store.database import Database, Row, Transaction
from scheduler.store.vault import Vault, binding_of

SEALED_COLUMNS = {"webhooks": ("headers", "signing_secret", "former_secrets", "tls")}
"""The columns with sealed values, by table; their binding contains the ``id`` of the row."""

_CANARY = "sealed with the key of this database"
_CANARY_BINDING = binding_of("key_check", "1", "sealed")
_CANARY_SEALED = "SELECT sealed FROM key_check WHERE id = 1"
BATCH = 500
"""How many rows are read and sealed at a time, within one transaction."""


async def require_key(db: Database, vault: Vault) -> None:
    """Raises ``WrongKeyError`` unless ``vault`` has the key with which the secrets of ``db`` are sealed.

    Opens a known text that every database has; one that has none gets it, once its first secrets can be opened.
    """
    row = await db.fetch_one(_CANARY_SEALED)
    if row is not None:
        vault.open(row["sealed"], binding=_CANARY_BINDING)
        return

    async def adopt(tx: Transaction) -> None:
        for table in SEALED_COLUMNS:
            for found in await _sealed_rows(tx, table, after="", limit=1):
                _anew(vault, table, found)
        await _write_canary(tx, vault)

    await db.transaction(adopt)


async def reseal(db: Database, vault: Vault) -> int:
    """Seal with the first key of ``vault`` what is sealed with another, all in one transaction; returns how many
    values.

    Raises ``WrongKeyError``, and changes nothing, when a value cannot be opened.
    """

    async def work(tx: Transaction) -> int:
        count = sum([await _reseal_table(tx, vault, table) for table in SEALED_COLUMNS])
        await _write_canary(tx, vault)
        return count

    return await db.transaction(work)


async def _reseal_table(tx: Transaction, vault: Vault, table: str) -> int:
    assignments = ", ".join(f"{column} = :{column}" for column in SEALED_COLUMNS[table])
    count, after = 0, ""
    while rows := await _sealed_rows(tx, table, after=after, limit=BATCH):
        changed = [(row["id"], *_anew(vault, table, row)) for row in rows]
        await tx.execute_many(
            f"UPDATE {table} SET {assignments} WHERE id = :id",
            [{"id": row_id, **values} for row_id, values, renewed in changed if renewed],
        )
        count += sum(renewed for _, _, renewed in changed)
        after = rows[-1]["id"]
    return count


async def _sealed_rows(tx: Transaction, table: str, *, after: str, limit: int) -> list[Row]:
    columns = SEALED_COLUMNS[table]
    is_sealed = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    sql = f"SELECT id, {', '.join(columns)} FROM {table} WHERE id > :after AND ({is_sealed}) ORDER BY id LIMIT :limit"
    return list(await tx.fetch_all(sql, {"after": after, "limit": limit}))


def _anew(vault: Vault, table: str, row: Row) -> tuple[dict[str, str | None], int]:
    """The sealed values of a row, all sealed with the first key, and how many had another."""
    values: dict[str, str | None] = {}
    renewed = 0
    for column in SEALED_COLUMNS[table]:
        sealed = row[column]
        if sealed is not None:
            binding = binding_of(table, row["id"], column)
            text = vault.open(sealed, binding=binding)
            if not vault.is_current(sealed):
                sealed = vault.seal(text, binding=binding)
                renewed += 1
        values[column] = sealed
    return values, renewed


async def _write_canary(tx: Transaction, vault: Vault) -> None:
    await tx.execute(
        """
        INSERT INTO key_check (id, sealed) VALUES (1, :sealed) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed
        """,
        {"sealed": vault.seal(_CANARY, binding=_CANARY_BINDING)},
    )
