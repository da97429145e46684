"""The campaign for several nodes over one Postgres database: kills, freezes, and restarts of the server.

A life is one epoch of one node here, told by the ``worker_id`` of its rows. It ends with a kill, or with the loss of
its lease; the checker is the same as for one process.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp
import asyncpg

from tests.crash.campaign import Campaign, Plan
from tests.crash.evidence import ROWS, Evidence, Glimpse, Life, Row
from tests.crash.oracle import SECOND
from tests.crash.receiver import CrashReceiver, now
from tests.crash.service import Api, ServiceProcess, make_token
from tests.postgres import Server

T = TypeVar("T")

_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_AWAY = 5 * SECOND
"""So long after a crash of the server, at the latest, everything is settled again (P8)."""
_SETTLING = SECOND
"""So long, on a busy machine, the way to the disk may take through a server and beside nodes that are just starting."""


@dataclass(frozen=True, kw_only=True)
class NodePlan(Plan):
    """A campaign over ``nodes`` processes."""

    nodes: int = 3
    freezes: int = 1
    """Nodes that are stopped for longer than their lease and then go on."""
    restarts: int = 0
    """Crashes of the database server."""
    lease_s: float = 2.0


class Blow(NamedTuple):
    """What was done to a process, and when; to all of them when ``pid`` is 0."""

    at: int
    pid: int
    kind: str


async def run_node_campaign(plan: NodePlan, server: Server, data_dir: Path) -> tuple[Evidence, list[Blow]]:
    """Carry out ``plan`` on a new database. Raises ``AssertionError`` or ``TimeoutError`` when it cannot go on."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(CrashReceiver())
        url = await server.create(migrated=False)
        view = PostgresView(url)
        stack.callback(view.close)
        headers = {"Authorization": f"Bearer {await make_token(data_dir)}", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=30)
        api = Api(await stack.enter_async_context(aiohttp.ClientSession(headers=headers, timeout=timeout)))
        campaign = _NodeCampaign(plan, server, url, data_dir, receiver=receiver, view=view, api=api)
        stack.push_async_callback(campaign.end)
        try:
            return await campaign.run(), campaign.blows
        except AssertionError as error:
            error.add_note("\n".join(["errors that the nodes logged:", *campaign.complaints[-20:]]))
            raise


class _NodeCampaign(Campaign):
    def __init__(
        self,
        plan: NodePlan,
        server: Server,
        url: str,
        data_dir: Path,
        *,
        receiver: CrashReceiver,
        view: PostgresView,
        api: Api,
    ) -> None:
        super().__init__(plan, data_dir, receiver=receiver, view=view, api=api)
        self._nodes_plan = plan
        self._server = server
        self._url = url
        self._postgres = view
        self._nodes: list[ServiceProcess] = []
        self._has_orphans = False
        """Whether a node that was killed or stopped had requests in flight, which others had to take over."""
        self.blows: list[Blow] = []

    async def run(self) -> Evidence:
        plan = self._nodes_plan
        self._evidence.lives.append(Life(started_at=now()))  # until rows tell whose requests they were
        self._watching = asyncio.create_task(self._watch_stalls())
        await self._start_all()
        await self._set_up()
        blows = ["kill"] * plan.kills + ["freeze"] * plan.freezes + ["restart"] * plan.restarts
        self._random.shuffle(blows)
        for kind in blows:
            await self._strike(kind)
        while not self._has_orphans:  # the dead had nothing in hand: then there was nothing to take over yet
            await self._strike("kill")
        await self._run_dry()
        return self._evidence

    async def _strike(self, kind: str) -> None:
        """Let the nodes work for a while, then strike, and start what has ended."""
        writer = asyncio.create_task(self._write_things())
        await self._arrivals(self._random.randint(10, 80))
        await {"kill": self._kill_some, "freeze": self._freeze, "restart": self._restart_server}[kind]()
        writer.cancel()
        with suppress(asyncio.CancelledError, AssertionError):
            await writer
        self._evidence.snapshots += self._view.rows(since_at=now() - 20 * SECOND)
        self._evidence.glimpses += self._view.next_runs(now())
        await self._start_all()

    async def end(self) -> None:
        await super().end()
        for node in self._nodes:
            with suppress(ProcessLookupError):
                node.signal(signal.SIGCONT)
            await node.end()

    async def _start_all(self) -> None:
        """See to it that there are as many nodes as there should be, and that one of them can be asked.

        A start during a crash of the server ends in one sentence, as it should, and is repeated.
        """
        self._nodes = [node for node in self._nodes if not node.has_ended]
        while len(self._nodes) < self._nodes_plan.nodes:
            node = await ServiceProcess.start(
                self._plan.program,
                self._data_dir,
                allow=self._receiver.url.removeprefix("http://"),
                SCHEDULER_DATABASE__URL=self._url,
                SCHEDULER_DATABASE__POOL_SIZE="5",
                SCHEDULER_ENGINE__LEASE_S=str(self._nodes_plan.lease_s),
                SCHEDULER_ENGINE__CONCURRENCY="24",
            )
            node.complaints = self._evidence.complaints
            self._nodes.append(node)
        await self._ready()

    async def _ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    self._api.base = await self._nodes[0].ready()
                except AssertionError:
                    await self._nodes[0].gone()
                    await self._start_all()
                else:
                    return

    async def _arrivals(self, count: int) -> None:
        async with asyncio.timeout(60):
            await self._receiver.arrivals(len(self._receiver.requests) + count)

    async def _kill_some(self) -> None:
        """The busiest mostly, any other sometimes, rarely all at once."""
        lot = self._random.random()
        if lot < 0.1:
            chosen = list(self._nodes)
        else:
            busiest = self._postgres.busiest()
            chosen = [node for node in self._nodes if node.pid == busiest] if lot < 0.7 else []
            chosen = chosen or [self._random.choice(self._nodes)]
        for node in chosen:
            self.blows.append(Blow(now(), node.pid, "kill"))
            node.kill()
        for node in chosen:
            self._nodes.remove(node)
            await node.gone()
        self._has_orphans |= any(self._postgres.running(node.pid) for node in chosen)

    async def _freeze(self) -> None:
        """Stop the busiest for longer than its lease, and let it go on."""
        busiest = self._postgres.busiest()
        node = next((node for node in self._nodes if node.pid == busiest), self._nodes[0])
        self.blows.append(Blow(now(), node.pid, "freeze"))
        node.signal(signal.SIGSTOP)
        self._has_orphans |= self._postgres.running(node.pid) > 0
        until = now() + int((self._nodes_plan.lease_s + 2.5) * SECOND)
        while now() < until:
            await self._pause()
        node.signal(signal.SIGCONT)
        await self._arrivals(20)

    async def _restart_server(self) -> None:
        self.blows.append(Blow(now(), 0, "restart"))
        await asyncio.to_thread(self._server.crash)
        await self._pause()
        await asyncio.to_thread(self._server.start)
        await self._arrivals(20)

    async def _end_in_peace(self) -> None:
        for node in self._nodes:
            code = await node.stop()
            assert code == 0, "\n".join([f"a node ended with {code}:", *node.told])
        self._nodes.clear()

    def _gather(self) -> None:
        evidence = self._evidence
        evidence.rows = self._view.rows()
        evidence.job_ids = {glimpse.job_id for glimpse in self._view.next_runs(now())}
        stall = max(life.stall for life in evidence.lives)
        workers = sorted({row.worker_id for row in evidence.rows if row.worker_id}, key=_epoch)
        evidence.lives = [self._life(worker, workers, stall) for worker in workers]
        numbers = {worker: number for number, worker in enumerate(workers)}
        whose = {row.id: row.worker_id for row in evidence.rows}
        for request in evidence.requests:
            request.life = numbers.get(whose.get(request.execution_id) or "", 0)

    def _life(self, worker: str, workers: Sequence[str], stall: int) -> Life:
        """The epoch of this worker.

        It ended with the last blow before the next epoch of its process, and before others closed its attempts.
        """
        pid, began_at = _pid(worker), _epoch(worker)
        following = [_epoch(other) for other in workers if _pid(other) == pid and _epoch(other) > began_at]
        closed = [row.finished_at or 0 for row in self._evidence.rows if row.worker_id == worker and row.interrupted]
        until = min([*following, *closed], default=now())
        ends = [
            blow.at
            for blow in self.blows
            if blow.pid in (0, pid) and began_at < blow.at < until and (following or blow.kind != "restart")
        ]
        if not ends and any(f"the lease of {worker} was lost" in complaint for complaint in self.complaints):
            # A machine that is too busy starves a node of its lease, too: then it has not renewed it for that long.
            ends = [at - int(self._nodes_plan.lease_s * SECOND) for at in closed]
        killed_at = max(ends, default=None)
        # What was answered while the server was away could not be settled before the end came.
        away = [killed_at - blow.at for blow in self.blows if blow.kind == "restart" and killed_at is not None]
        waited = max((time for time in away if 0 <= time < _AWAY), default=0)
        return Life(started_at=began_at, killed_at=killed_at, stall=stall, settling=waited + _SETTLING)


class PostgresView:
    """Reads the database over a connection and in a thread of its own, so that callers need not be coroutines."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def status_of(self, run_id: str, attempt: int) -> str | None:
        sql = "SELECT status FROM executions WHERE run_id = $1 AND attempt = $2"
        try:
            rows = self._run(self._ask(sql, run_id, attempt))
        except _TROUBLE:
            return None
        return rows[0]["status"] if rows else "absent"

    def rows(self, since_at: int | None = None) -> list[Row]:
        if since_at is None:
            found = self._fetch(f"{ROWS} ORDER BY run_id, attempt")
        else:
            found = self._fetch(f"{ROWS} WHERE finished_at >= $1 OR status IN ('queued', 'running')", since_at)
        return [Row(*row) for row in found]

    def unfinished(self) -> int:
        return int(self._fetch("SELECT COUNT(*) FROM executions WHERE status IN ('queued', 'running')")[0][0])

    def next_runs(self, now: int) -> list[Glimpse]:
        return [Glimpse(now, row["id"], row["next_run_at"]) for row in self._fetch("SELECT id, next_run_at FROM jobs")]

    def busiest(self) -> int:
        """The process that has most requests in flight; 0 when there is none."""
        rows = self._fetch(
            """
            SELECT worker_id FROM executions WHERE status = 'running' GROUP BY worker_id ORDER BY COUNT(*) DESC LIMIT 1
            """
        )
        return _pid(rows[0]["worker_id"]) if rows else 0

    def running(self, pid: int) -> int:
        """How many attempts of this process are in flight."""
        rows = self._fetch("SELECT worker_id FROM executions WHERE status = 'running'")
        return sum(_pid(row["worker_id"]) == pid for row in rows)

    def integrity(self) -> str:
        return "ok"

    def close(self) -> None:
        if self._connection is not None:
            self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        return self._run(self._ask_until_told(sql, *values))

    async def _ask_until_told(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        while True:
            try:
                return await self._ask(sql, *values)
            except _TROUBLE:
                await asyncio.sleep(0.1)  # the server is being started again

    async def _ask(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url)
        try:
            rows: list[asyncpg.Record] = await self._connection.fetch(sql, *values)
            return rows
        except _TROUBLE:
            self._connection.terminate()
            raise

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def takeovers_s(evidence: Evidence) -> list[float]:
    """How long after the end of a life others had closed what it held, in seconds, shortest first."""
    lives = {f"{life.started_at}": life for life in evidence.lives}
    waits = []
    for row in evidence.rows:
        life = lives.get(str(_epoch(row.worker_id))) if row.worker_id else None
        if row.interrupted and row.finished_at and life and life.killed_at and row.finished_at > life.killed_at:
            waits.append((row.finished_at - life.killed_at) / SECOND)
    return sorted(waits)


def _pid(worker_id: str) -> int:
    return int(worker_id.split(":")[-2])


def _epoch(worker_id: str | None) -> int:
    """When an epoch began, in microseconds: its number, in milliseconds."""
    return int((worker_id or "0").split(":")[-1]) * 1000
