"""The rows of jobs as records, and the conditions that leave out deleted ones."""

from __future__ import annotations

import json
from functools import lru_cache

from scheduler.domain.jobs.job import Job
from scheduler.domain.jobs.retry import DEFAULT_POLICY, RetryPolicy
from scheduler.store.database import Database
from scheduler.store.rows import Codec, Table


@lru_cache(maxsize=1024)
def decode_policy(text: str) -> RetryPolicy:
    """The retry policy of a ``retry`` column; the default where that cannot be read.

    A claim reads many at once, so one that is damaged must not prevent the delivery of the others. Cached: most jobs
    have one of a few policies.
    """
    try:
        return RetryPolicy.from_mapping(json.loads(text))
    except (ValueError, TypeError, AttributeError):
        return DEFAULT_POLICY


@lru_cache(maxsize=1024)
def _encode_policy(policy: RetryPolicy) -> str:
    return json.dumps(policy.to_mapping(), sort_keys=True)


def _decode_tags(text: str) -> tuple[str, ...]:
    """The tags of a column; none where they cannot be read: many jobs are read at once to be fired."""
    try:
        return tuple(json.loads(text))
    except (ValueError, TypeError):
        return ()


_POLICY = Codec(encode=_encode_policy, decode=decode_policy)
_TAGS = Codec(encode=json.dumps, decode=lambda text: _decode_tags(text) if text != "[]" else ())

JOBS = Table(Job, codecs={"retry": _POLICY, "tags": _TAGS})
UPDATE_JOB = f"UPDATE jobs SET {JOBS.assignments(fixed=('id', 'account_id', 'created_at'))} WHERE id = :id"

IS_LIVE = "j.deleted_at IS NULL"
"""Is job ``j`` not deleted? The rows of a deleted one are removed in slices, see ``deletion.py``."""
IS_DELETED = "j.deleted_at IS NOT NULL"


async def has_deleted_jobs(db: Database, user: str) -> bool:
    """Are there rows of deleted jobs in the accounts of ``user``?

    Lists check this first: the index that counts jobs does not have ``deleted_at``.
    """
    row = await db.fetch_one(
        f"""
        SELECT 1 AS one FROM members m JOIN jobs j ON j.account_id = m.account_id
        WHERE m.user_id = :user AND {IS_DELETED} LIMIT 1
        """,
        {"user": user},
    )
    return row is not None
