"""Quotas of accounts (jobs, API keys) and of users (accounts, jobs), as the operator has set them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.store.database import Transaction

_RETRY_AFTER_S = 60
"""Arbitrary: only deleting something makes room."""


class _Quota(NamedTuple):
    holder: str
    words: str
    setting: str
    counting: str


_QUOTAS: Final[Mapping[str, _Quota]] = {
    "jobs": _Quota(
        "account {}",
        "jobs",
        "limits.jobs_per_account",
        # two counts by an index each: a row would have to be read to see that it is not deleted
        """
        SELECT (SELECT COUNT(*) FROM jobs WHERE account_id = :holder)
          - (SELECT COUNT(*) FROM jobs WHERE account_id = :holder AND deleted_at IS NOT NULL) AS n
        """,
    ),
    "keys": _Quota(
        "account {}",
        "keys in force",
        "limits.keys_per_account",
        """
        SELECT COUNT(*) AS n FROM api_keys WHERE account_id = :holder AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > :now)
        """,
    ),
    "accounts": _Quota(
        "user {}",
        "accounts that they made",
        "limits.accounts_per_user",
        "SELECT COUNT(*) AS n FROM accounts WHERE created_by = :holder AND deleted_at IS NULL",
    ),
    "jobs of users": _Quota(
        "user {}",
        "jobs in the accounts that they made",
        "limits.jobs_per_user",
        """
        SELECT COUNT(*) AS n FROM accounts a JOIN jobs j ON j.account_id = a.id AND j.deleted_at IS NULL
        WHERE a.created_by = :holder
        """,
    ),
}


async def over_quota(
    tx: Transaction,
    what: Literal["jobs", "keys", "accounts", "jobs of users"],
    wanted: Mapping[str, int],
    *,
    most: int,
    now: Instant = 0,
) -> SchedulerError | None:
    """The refusal to add what is ``wanted`` by holder, if one would then have more than ``most``; 0 is no limit.

    The holders are accounts, by id, or users. Returned, not raised: when a transaction raises, those that share its
    commit are run again.
    """
    quota = _QUOTAS[what]
    for holder, more in sorted(wanted.items()) if most else ():
        # locked, so that two transactions that add at the same time count each other
        await tx.advisory_lock(f"{quota.setting} of {holder}")
        row = await tx.fetch_one(quota.counting, {"holder": holder, "now": now})
        present = row["n"] if row else 0
        if present + more > most:
            return SchedulerError(
                "RATE_LIMITED",
                f"{quota.holder.format(holder)} has {present} {quota.words} and may have {most} ({quota.setting}): "
                f"{more} more would be too many",
                retry_after_s=_RETRY_AFTER_S,
            )
    return None


async def jobs_over_quota(
    tx: Transaction, wanted: Mapping[str, int], *, per_account: int, per_user: int
) -> SchedulerError | None:
    """The refusal to add so many jobs by account; those of one user's accounts are counted together as well."""
    if refusal := await over_quota(tx, "jobs", wanted, most=per_account):
        return refusal
    by_user: Counter[str] = Counter()
    for account_id, more in wanted.items() if per_user else ():
        row = await tx.fetch_one("SELECT created_by FROM accounts WHERE id = :id", {"id": account_id})
        if row is not None and row["created_by"] is not None:
            by_user[row["created_by"]] += more
    return await over_quota(tx, "jobs of users", by_user, most=per_user)
