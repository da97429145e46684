"""Claiming: the transaction that marks executions as ``running``; ``domain.slots`` decides which.

What is ready is read oldest first. What the decision defers is moved to a backlog once, as ``Hold.BACKLOG``; the column
``lane`` has the backlog's name. From then on no claim reads it before its backlog has room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Hold
from scheduler.domain.slots import (
    Candidate,
    Decision,
    FairShare,
    Owner,
    Slots,
    account_backlog,
    is_backlog_of_late,
    is_late,
    user_backlog,
)
from scheduler.domain.webhooks.url import host_of
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.queue.claims import ACCOUNT_USER, CLAIM_COLUMNS, CLAIMED_FROM
from scheduler.store.queue.holds import RELEASE_BUFFERED
from scheduler.store.queue.nodes import is_member

_READY = f"e.status = 'queued' AND e.held = {Hold.NONE} AND e.available_at <= :now"
_WINDOW_ROWS = 512
"""How many ready executions a claim reads at most to find those that have to be deferred."""
_BACKLOGS_PER_CLAIM = 16
_BACKLOGS_KNOWN_FOR = SECOND
_ONLY_OWNER_KNOWN_FOR = SECOND // 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """What one transaction has found and done."""

    rows: list[Row]
    """The executions that are ``running`` now, rows of ``CLAIM_COLUMNS``."""
    backlogs: dict[str, None]
    only_owner: Owner | None
    leaves_ready: bool
    """Are there executions of the only account that were left where they are?"""


class Claimer:
    """Claims for the one worker of this process. Keeps the list of backlogs from claim to claim."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._backlogs: dict[str, None] | None = None
        """The backlogs that are not empty, those first that are to be read first; ``None``: not known."""
        self._backlogs_at: Instant = 0
        self._only_owner: Owner | None = None
        self._only_owner_at: Instant = 0
        self.leaves_ready = False
        """Did the last claim leave executions of the only account where they are, although they are ready?"""

    def opens_at(self, slots: Slots, now: Instant) -> Instant | None:
        """When something deferred may start without a slot being given back; ``None``: that is not known.

        What is left of the only account may start after the next check whether it still is the only one.
        """
        share = slots.share_at(now)
        times = [share.opens_at(backlog) for backlog in self._backlogs or ()]
        if self.leaves_ready:
            times.append(self._only_owner_at + _ONLY_OWNER_KNOWN_FOR)
        return min((at for at in times if at is not None), default=None)

    @property
    def has_deferred(self) -> bool:
        """May a slot that is given back let something start?"""
        return bool(self._backlogs) or self.leaves_ready

    async def claim(self, now: Instant, limit: int, slots: Slots, *, worker_id: str) -> list[Row]:
        """Mark up to ``limit`` executions that may start at ``now`` as ``running``, as far as ``slots`` have room.

        Committed before it returns. ``slots`` are not changed.
        """
        backlogs = await self._known_backlogs(now)
        if not self._only_owner_at <= now < self._only_owner_at + _ONLY_OWNER_KNOWN_FOR:
            self._only_owner = None
        share = slots.share_at(now, at_most=limit, only_owner=self._only_owner)
        if share.limit <= 0:
            self.leaves_ready = True
            return []
        self._backlogs = None  # not known unless the transaction is known to have committed
        claimed = await self._db.transaction(lambda tx: self._claim(tx, share, backlogs, worker_id))
        self._backlogs = claimed.backlogs
        if claimed.only_owner != self._only_owner:
            self._only_owner, self._only_owner_at = claimed.only_owner, now
        self.leaves_ready = claimed.leaves_ready
        return claimed.rows

    async def _known_backlogs(self, now: Instant) -> dict[str, None]:
        """The backlogs that are not empty, known ones in the order they have."""
        known = self._backlogs or {}
        is_fresh = not self._db.is_shared or self._backlogs_at <= now < self._backlogs_at + _BACKLOGS_KNOWN_FOR
        if self._backlogs is not None and is_fresh:
            return known
        # other nodes defer executions, too, and a node may be gone before it has emptied its backlogs
        rows = await self._db.fetch_all(
            f"SELECT DISTINCT lane FROM executions WHERE status = 'queued' AND held = {Hold.BACKLOG}"
        )
        found = {row["lane"] for row in rows}
        self._backlogs_at = now
        return dict.fromkeys([*(backlog for backlog in known if backlog in found), *sorted(found - known.keys())])

    async def _claim(self, tx: Transaction, share: FairShare, backlogs: dict[str, None], worker_id: str) -> Claimed:
        if self._db.is_shared and not await is_member(tx, worker_id):
            raise SchedulerError("SERVICE_UNAVAILABLE", f"{worker_id} has lost its lease")
        claimed = await _ClaimTransaction(tx, share, backlogs).run()
        await tx.execute_many(
            """
            UPDATE executions SET status = 'running', worker_id = :worker_id, started_at = :now WHERE id = :id
            """,
            [{"id": row["id"], "worker_id": worker_id, "now": share.now} for row in claimed.rows],
        )
        return claimed


class _ClaimTransaction:
    """Reads candidates, lets ``share`` decide, and moves those that are deferred to their backlogs."""

    def __init__(self, tx: Transaction, share: FairShare, backlogs: dict[str, None]) -> None:
        self._tx = tx
        self._share = share
        self._had_backlogs = not all(map(is_backlog_of_late, backlogs))
        self._backlogs = dict(backlogs)
        self._backlog_of: dict[str, str] = {}
        """The backlog that an execution is in, by its id."""
        self._rows: dict[str, Row] = {}
        self._candidates: dict[str, Candidate] = {}

    async def run(self) -> Claimed:
        """Do all of a claim but mark what starts as ``running``."""
        ready = await self._read_ready()
        # Mostly settlements release the runs behind theirs; a predecessor that was cancelled has no settlement.
        if len(ready) < self._share.limit and await self._tx.execute_many(RELEASE_BUFFERED, [{}]):
            ready = await self._read_ready()
        deferred = await self._read_backlogs()
        self._add(sorted([*deferred, *ready], key=_age) if deferred else ready)
        decision = self._decide()
        if self._moves(decision):
            self._share = replace(self._share, only_owner=await self._find_only_owner(decision))
            decision = self._decide()
            if self._moves(decision):
                decision = await self._defer()
        is_full = len(decision.started) == self._share.limit
        left = any(backlog in self._left_backlogs for backlog in decision.deferred.values())
        return Claimed(
            rows=[self._rows[execution_id] for execution_id in decision.started],
            backlogs=self._backlogs,
            only_owner=self._share.only_owner,
            leaves_ready=self._share.only_owner is not None and (is_full or left),
        )

    async def _defer(self) -> Decision:
        """Move what has no room to its backlog; a claim that is not full goes on with what is ready after it."""
        decision = self._decide()
        if len(decision.started) == self._share.limit:
            await self._move(decision)
            return decision
        await self._move(self._decide(await self._read_window()))
        # now, not at the next claim: by then as many may have become ready again that are read before the others
        self._add(await self._read_ready())
        decision = self._decide()
        await self._move(decision)
        return decision

    def _add(self, rows: Sequence[Row]) -> None:
        self._rows.update((row["id"], row) for row in rows)
        self._candidates |= self._candidates_in(rows)

    def _candidates_in(self, rows: Sequence[Row]) -> dict[str, Candidate]:
        by_host = self._share.limits.depends_on_host
        return {
            row["id"]: Candidate(
                id=row["id"],
                owner=Owner(account_id=row["account_id"], user=row["account_user"]),
                host=host_of(row["w_url"]) if by_host else None,
                is_late=is_late(attempt=row["attempt"], scheduled_at=row["scheduled_at"], created_at=row["created_at"]),
            )
            for row in rows
        }

    def _decide(self, more: Sequence[Row] = ()) -> Decision:
        return self._share.decide((self._candidates | self._candidates_in(more)).values())

    def _moves(self, decision: Decision) -> dict[str, str]:
        """The backlog of each deferred execution that is not in it yet, by id; what stays where it is has none."""
        return {
            execution_id: backlog
            for execution_id, backlog in decision.deferred.items()
            if backlog not in (self._backlog_of.get(execution_id), *self._left_backlogs)
        }

    @property
    def _left_backlogs(self) -> tuple[str, ...]:
        """The backlogs of the only account and its user: what has no room in them stays where it is."""
        only = self._share.only_owner
        return () if only is None else (account_backlog(only.account_id), user_backlog(only.user))

    async def _move(self, decision: Decision) -> None:
        moves = self._moves(decision)
        await self._tx.execute_many(
            f"UPDATE executions SET held = {Hold.BACKLOG}, lane = :backlog WHERE id = :id AND status = 'queued'",
            [{"id": execution_id, "backlog": backlog} for execution_id, backlog in moves.items()],
        )
        self._backlog_of |= moves
        self._backlogs |= dict.fromkeys(moves.values())

    async def _read_ready(self) -> Sequence[Row]:
        return await self._tx.fetch_all(
            f"""
            SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM} WHERE {_READY}
            ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
            """,
            {"now": self._share.now, "limit": self._share.limit},
        )

    async def _read_backlogs(self) -> list[Row]:
        """The oldest in each backlog that has room, as many as that; a few backlogs at a time, in turns."""
        found: list[Row] = []
        rooms = ((backlog, self._share.room(backlog)) for backlog in self._backlogs)
        for backlog, room in list(islice((one for one in rooms if one[1] > 0), _BACKLOGS_PER_CLAIM)):
            rows = await self._tx.fetch_all(
                f"""
                SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM}
                WHERE e.status = 'queued' AND e.held = {Hold.BACKLOG} AND e.lane = :backlog
                ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
                """,
                {"backlog": backlog, "limit": min(room, self._share.limit)},
            )
            del self._backlogs[backlog]
            if rows:
                self._backlogs[backlog] = None  # its next turn is after those of the others
            self._backlog_of.update((row["id"], backlog) for row in rows)
            found += rows
        return found

    async def _read_window(self) -> Sequence[Row]:
        """The first that are ready, more of them than a claim takes, with what a decision needs."""
        by_host = self._share.limits.depends_on_host
        url, webhook = ("w.url", "LEFT JOIN webhooks w ON w.id = e.webhook_id") if by_host else ("NULL", "")
        return await self._tx.fetch_all(
            f"""
            SELECT e.id, e.account_id, {ACCOUNT_USER}, e.attempt, e.scheduled_at, e.created_at, {url} AS w_url
            FROM executions e {webhook} WHERE {_READY}
            ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
            """,
            {"now": self._share.now, "limit": _WINDOW_ROWS},
        )

    async def _find_only_owner(self, decision: Decision) -> Owner | None:
        """The account whose executions are deferred, if it owns all jobs, so that no other account needs the slots."""
        owner, *others = {self._candidates[execution_id].owner for execution_id in decision.deferred}
        if others or self._had_backlogs or not self._share.limits.is_fair_share_only:
            return None
        row = await self._tx.fetch_one(
            """
            SELECT EXISTS (SELECT 1 FROM jobs WHERE account_id < :id)
                OR EXISTS (SELECT 1 FROM jobs WHERE account_id > :id) AS others
            """,
            {"id": owner.account_id},
        )
        return None if row is None or row["others"] else owner


def _age(row: Row) -> Instant:
    at: Instant = row["available_at"]
    return at
