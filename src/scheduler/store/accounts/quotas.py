"""Limits on how many jobs and API keys an account may have, as the operator has set them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.store.database import Transaction

_RETRY_AFTER_S = 60
"""Arbitrary: only deleting something makes room."""


class _Quota(NamedTuple):
    words: str
    setting: str
    counting: str


_QUOTAS: Final[Mapping[str, _Quota]] = {
    "jobs": _Quota(
        "jobs",
        "limits.jobs_per_account",
        # two counts by an index each: a row would have to be read to see that it is not deleted
        """
        SELECT (SELECT COUNT(*) FROM jobs WHERE account_id = :account_id)
          - (SELECT COUNT(*) FROM jobs WHERE account_id = :account_id AND deleted_at IS NOT NULL) AS n
        """,
    ),
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
    """The refusal to add what is ``wanted`` by account, if one would then have more than ``most``; 0 is no limit.

    Returned, not raised: when a transaction raises, those that share its commit are run again.
    """
    quota = _QUOTAS[what]
    for account_id, more in sorted(wanted.items()) if most else ():
        # locked, so that two transactions that add at the same time count each other
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
