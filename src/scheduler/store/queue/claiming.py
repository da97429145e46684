"""Claiming: which executions start next, and which of them step aside for others.

The oldest go first. One whose account has its share of the pool, or whose receiver's host has its limit, is moved to a
lane once; from then on nobody has to look past it, and it is found there as soon as the lane has room.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from scheduler.domain.clock import SECOND, Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.runs.execution import Hold
from scheduler.domain.slots import Places, account_lane
from scheduler.domain.webhooks.target import split_url
from scheduler.store.database import Database, Row, Transaction
from scheduler.store.queue.claims import CLAIM_COLUMNS, CLAIMED_FROM
from scheduler.store.queue.holds import RELEASE_BUFFERED
from scheduler.store.queue.nodes import is_member

_READY = f"e.status = 'queued' AND e.held = {Hold.NONE} AND e.available_at <= :now"
_MOVE = f"UPDATE executions SET held = {Hold.BACKLOG}, lane = :lane WHERE id = :id AND status = 'queued'"
_WINDOW = 512
"""So many executions are looked at, at most, for those that have to step aside."""
_LANES_AT_ONCE = 16
_TRUST = SECOND // 10
"""For so long an account that owned all jobs is taken to be the only one still."""


class Claimer:
    """Claims for one worker, which is the only one to do so in this process. Knows what waits in lanes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lanes: dict[str, None] | None = None
        """The lanes that executions wait in, those first that are to be looked at first; ``None``: not known."""
        self._lanes_at: Instant = 0
        self._sole: str | None = None
        self._sole_at: Instant = 0
        self.is_kept_waiting = False
        """Did the last claim leave the executions of the one account there is where they were?"""

    def opens_at(self, places: Places, now: Instant) -> Instant | None:
        """When something may start that waits now, other than because a place is given back; ``None``: it is not known.

        While one account waits for itself alone that is when to look whether it still is alone.
        """
        times = [places.opens_at(lane, now) for lane in self._lanes or ()]
        if self.is_kept_waiting:
            times.append(self._sole_at + _TRUST)
        return min((at for at in times if at is not None), default=None)

    @property
    def keeps_back(self) -> bool:
        """May a place that is given back let something start?"""
        return bool(self._lanes) or self.is_kept_waiting

    async def claim(self, now: Instant, limit: int, places: Places, *, worker_id: str) -> list[Row]:
        """Mark up to ``limit`` executions that may start at ``now`` as ``running``, as far as ``places`` lets them.

        Committed before it returns. ``places`` stays as it is.
        """
        if self._lanes is None or (self._db.is_shared and not self._lanes_at <= now < self._lanes_at + SECOND):
            # other nodes move executions to lanes, too, and may not be there any more to look into them
            self._lanes, self._lanes_at = await self._find_lanes(self._lanes or {}), now
        if self._sole is not None and not self._sole_at <= now < self._sole_at + _TRUST:
            self._sole = None
        places = places.copy(sole=self._sole)
        if self._sole is not None:
            limit = min(limit, places.room(account_lane(self._sole), now))
        if limit <= 0:
            self.is_kept_waiting = True
            return []
        lanes = self._lanes
        self._lanes = None  # unless the transaction says what there is, it has to be found out again
        made = await self._db.transaction(lambda tx: self._take(tx, limit, _Selection(places, now, lanes), worker_id))
        self._lanes = made.lanes
        if made.places.sole != self._sole:
            self._sole, self._sole_at = made.places.sole, now
        self.is_kept_waiting = self._sole is not None and (len(made.chosen) == limit or bool(made.passed_by))
        return made.chosen

    async def _find_lanes(self, known: dict[str, None]) -> dict[str, None]:
        """The lanes there are, those that are ``known`` in the order they have."""
        rows = await self._db.fetch_all(
            f"SELECT DISTINCT lane FROM executions WHERE status = 'queued' AND held = {Hold.BACKLOG}"
        )
        found = {row["lane"] for row in rows}
        return dict.fromkeys([*(lane for lane in known if lane in found), *sorted(found - known.keys())])

    async def _take(self, tx: Transaction, limit: int, selection: _Selection, worker_id: str) -> _Selection:
        if self._db.is_shared and not await is_member(tx, worker_id):
            raise SchedulerError("SERVICE_UNAVAILABLE", f"{worker_id} has lost its lease")
        now = selection.now
        ready = await self._ready(tx, now, limit)
        # Mostly settlements let go who waited for them; of a predecessor that was cancelled there is none.
        if len(ready) < limit and await tx.execute_many(RELEASE_BUFFERED, [{}]):
            ready = await self._ready(tx, now, limit)
        waiting = await self._first_in_lanes(tx, limit, selection)
        selection.choose(sorted([*waiting, *ready], key=_age) if waiting else ready, limit)
        if selection.moves:
            await self._make_way(tx, limit, selection)
        await tx.execute_many(
            """
            UPDATE executions SET status = 'running', worker_id = :worker_id, started_at = :now WHERE id = :id
            """,
            [{"id": row["id"], "worker_id": worker_id, "now": now} for row in selection.chosen],
        )
        return selection

    async def _make_way(self, tx: Transaction, limit: int, selection: _Selection) -> None:
        """Move those that were passed by out of the way of all others, unless there are no others."""
        sole = await self._sole_account(tx, selection)
        if sole is not None:
            selection.let_alone(sole, limit)
            return
        selection.places.sole = None
        is_full = len(selection.chosen) == limit
        if not is_full:
            selection.look_past(await self._window(tx, selection.now, with_urls=selection.places.counts_hosts))
        await tx.execute_many(_MOVE, selection.moved())
        if not is_full:
            # now and not at the next claim: by then as many may have come again that go before the others
            selection.choose(await self._ready(tx, selection.now, limit), limit)
            await tx.execute_many(_MOVE, selection.moved())

    async def _ready(self, tx: Transaction, now: Instant, limit: int) -> Sequence[Row]:
        return await tx.fetch_all(
            f"""
            SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM} WHERE {_READY}
            ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
            """,
            {"now": now, "limit": limit},
        )

    async def _first_in_lanes(self, tx: Transaction, limit: int, selection: _Selection) -> list[Row]:
        """The oldest in each lane that has room, as many as that; a few lanes at a time, by turns."""
        found: list[Row] = []
        for lane, room in selection.open_lanes():
            rows = await tx.fetch_all(
                f"""
                SELECT {CLAIM_COLUMNS} FROM {CLAIMED_FROM}
                WHERE e.status = 'queued' AND e.held = {Hold.BACKLOG} AND e.lane = :lane
                ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
                """,
                {"lane": lane, "limit": min(room, limit)},
            )
            selection.looked_into(lane, is_empty=not rows)
            found += rows
        return found

    async def _window(self, tx: Transaction, now: Instant, *, with_urls: bool) -> Sequence[Row]:
        """The first that are ready, more of them than a claim takes, with what decides who steps aside."""
        url, webhook = ("w.url", "LEFT JOIN webhooks w ON w.id = e.webhook_id") if with_urls else ("NULL", "")
        return await tx.fetch_all(
            f"""
            SELECT e.id, e.account_id, e.held, e.lane, {url} AS w_url FROM executions e {webhook} WHERE {_READY}
            ORDER BY e.available_at LIMIT :limit FOR NO KEY UPDATE OF e SKIP LOCKED
            """,
            {"now": now, "limit": _WINDOW},
        )

    async def _sole_account(self, tx: Transaction, selection: _Selection) -> str | None:
        """The account that would step aside, if there is nobody to step aside for: it owns all jobs there are."""
        account_id, *others = {row["account_id"] for row in selection.passed_by}
        if others or selection.had_lanes or not selection.places.limits_nothing:
            return None
        row = await tx.fetch_one(
            """
            SELECT EXISTS (SELECT 1 FROM jobs WHERE account_id < :id)
                OR EXISTS (SELECT 1 FROM jobs WHERE account_id > :id) AS others
            """,
            {"id": account_id},
        )
        return None if row is None or row["others"] else account_id


class _Selection:
    """Who starts and who steps aside, worked out on a copy of the places."""

    def __init__(self, places: Places, now: Instant, lanes: dict[str, None]) -> None:
        self.places = places.copy(sole=places.sole)
        self.now = now
        self.lanes = dict(lanes)
        self.had_lanes = bool(lanes)
        self.chosen: list[Row] = []
        self.passed_by: list[Row] = []
        self.moves: dict[str, str] = {}
        """The lane that each execution has to move to."""

    def open_lanes(self) -> list[tuple[str, int]]:
        """A few of the lanes that have room, and how much."""
        rooms = ((lane, self.places.room(lane, self.now)) for lane in self.lanes)
        return list(islice(((lane, room) for lane, room in rooms if room > 0), _LANES_AT_ONCE))

    def looked_into(self, lane: str, *, is_empty: bool) -> None:
        """This lane's next turn is after those of the others, or there is nobody in it any more."""
        del self.lanes[lane]
        if not is_empty:
            self.lanes[lane] = None

    def choose(self, rows: Sequence[Row], limit: int) -> None:
        """Let ``limit`` of these start, in their order; who is passed by steps aside."""
        known = {row["id"] for row in self.chosen}
        for row in rows:
            if len(self.chosen) == limit:
                return
            if row["id"] in known:
                continue
            host = self._host(row)
            if self._steps_aside(row, host):
                self.passed_by.append(row)
                continue
            self.places.take(row["account_id"], host, self.now)
            self.chosen.append(row)

    def let_alone(self, account_id: str, limit: int) -> None:
        """Nobody has to step aside: there is but this account, and it gets more than its share."""
        again, self.passed_by = self.passed_by, []
        self.moves, self.lanes = {}, {}
        self.places.sole = account_id
        self.choose(again, limit)
        self.moves, self.lanes = {}, {}

    def moved(self) -> list[dict[str, str]]:
        """The moves that are still to be written down, once."""
        moves, self.moves = self.moves, {}
        return [{"id": row_id, "lane": lane} for row_id, lane in moves.items()]

    def look_past(self, rows: Sequence[Row]) -> None:
        """Who of these could not start either steps aside as well, so that the next look is at others."""
        chosen = {row["id"] for row in self.chosen}
        for row in rows:
            if row["id"] not in chosen:
                self._steps_aside(row, self._host(row))

    def _steps_aside(self, row: Row, host: str | None) -> bool:
        lane = self.places.lane_of(row["account_id"], host, self.now)
        if lane is None:
            return False
        if row["held"] != Hold.BACKLOG or row["lane"] != lane:
            self.moves[row["id"]] = lane
            self.lanes.setdefault(lane)
        return True

    def _host(self, row: Row) -> str | None:
        return host_of(row["w_url"]) if self.places.counts_hosts else None


@lru_cache(maxsize=4096)
def host_of(url: str | None) -> str | None:
    """The host that a webhook's URL names, canonical; ``None`` when there is none."""
    try:
        return split_url(url)[0].host if url is not None else None
    except SchedulerError:
        return None


def _age(row: Row) -> Instant:
    at: Instant = row["available_at"]
    return at
