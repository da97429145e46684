"""How many things an account may have, where the operator has set a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.store.database import Transaction

_RETRY_AFTER_S = 60
"""Time alone makes no room, so there is no hurry to ask again."""


class _Quota(NamedTuple):
    words: str
    setting: str
    counting: str


_QUOTAS: Final[Mapping[str, _Quota]] = {
    "jobs": _Quota("jobs", "limits.jobs_per_account", "SELECT COUNT(*) AS n FROM jobs WHERE account_id = :account_id"),
    "keys": _Quota(
        "keys in force",
        "limits.keys_per_account",
        """
        SELECT COUNT(*) AS n FROM api_keys WHERE account_id = :account_id AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > :now)
        """,
    ),
}


async def over_quota(
    tx: Transaction, what: Literal["jobs", "keys"], wanted: Mapping[str, int], *, most: int, now: Instant = 0
) -> SchedulerError | None:
    """The refusal, when so many more for each of these accounts are more than ``most``; 0 is no limit.

    A value and no exception: a transaction that fails costs those that share its commit a second try.
    """
    quota = _QUOTAS[what]
    for account_id, more in sorted(wanted.items()) if most else ():
        # who adds to the same account at the same moment waits, and counts this
        await tx.execute("SELECT id FROM accounts WHERE id = :id FOR NO KEY UPDATE", {"id": account_id})
        row = await tx.fetch_one(quota.counting, {"account_id": account_id, "now": now})
        present = row["n"] if row else 0
        if present + more > most:
            return SchedulerError(
                "RATE_LIMITED",
                f"account {account_id} has {present} {quota.words} and may have {most} ({quota.setting}): "
                f"{more} more would be too many",
                retry_after_s=_RETRY_AFTER_S,
            )
    return None
