"""Evidence without a fault, made by hand, and small changes of it, for the tests of the checker."""

from __future__ import annotations

from typing import Any

from tests.crash.evidence import Evidence, Glimpse, Life, Request, Row, WatchedJob
from tests.crash.oracle import SECOND, run_id_of

T0 = 1_800_000_000 * SECOND
HOOK = "11111111-1111-4111-8111-111111111111"
JOB = "22222222-2222-4222-8222-222222222222"
KILLED_AT = T0 + 2 * SECOND + 100_000
STALE = "stale_connection 127.0.0.1:1 closed the connection"
INTERRUPTED = "interrupted the service stopped while the request was in flight"


def at(second: float) -> int:
    return T0 + round(second * SECOND)


def row(second: int, attempt: int, status: str, **fields: Any) -> Row:
    """Attempt ``attempt`` of the run due at ``second``; started 10 ms after it was available."""
    scheduled_at = at(second)
    available_at = fields.pop("available_at", scheduled_at)
    chosen: dict[str, Any] = {
        "id": f"execution {second}.{attempt}",
        "run_id": run_id_of(HOOK, scheduled_at),
        "job_id": JOB,
        "webhook_id": HOOK,
        "status": status,
        "attempt": attempt,
        "trigger": "schedule" if attempt == 1 else "retry",
        "scheduled_at": scheduled_at,
        "available_at": available_at,
        "covers": 1,
        "covers_from": None,
        "worker_id": "w1",
        "started_at": available_at + 10_000,
        "finished_at": available_at + 50_000,
        "response_code": {"success": 200, "failure": 500}.get(status),
        "error": None if status == "success" else "http_500",
    }
    return Row(**chosen | fields)


def request(of: Row, *, life: int, status: int | None, **fields: Any) -> Request:
    """The request of an attempt, 10 ms after its claim, answered after another 10 ms."""
    assert of.started_at is not None
    arrived_at = of.started_at + 10_000
    chosen: dict[str, Any] = {
        "run_id": of.run_id,
        "attempt": of.attempt,
        "execution_id": of.id,
        "life": life,
        "arrived_at": arrived_at,
        "row_status": "running",
        "ended_at": arrived_at + 10_000,
        "status": status,
    }
    return Request(**chosen | fields)


def story() -> Evidence:
    """Due at seconds 1 to 8: a success, a run that a kill interrupts after its answer, a gap of three that one run
    stands for, a retry, a skipped time, and a retry whose time lies beyond the second kill."""
    first = row(1, 1, "success")
    cut = row(2, 1, "failure", error=INTERRUPTED, response_code=None, finished_at=at(4.5))
    again = row(2, 2, "success", available_at=at(4.5))
    caught_up = row(5, 1, "success", trigger="catchup", covers=3, covers_from=at(3), available_at=at(5.1))
    failed = row(6, 1, "failure", finished_at=at(6.05))
    retried = row(6, 2, "success", available_at=at(6.55))
    skipped = row(7, 1, "skipped", started_at=None, finished_at=at(7.2), response_code=None, error=None)
    broken = row(8, 1, "failure", finished_at=at(8.05))
    late = row(8, 2, "success", available_at=at(8.56))
    rows = [first, cut, again, caught_up, failed, retried, skipped, broken, late]
    lives = [
        Life(started_at=T0, killed_at=KILLED_AT),
        Life(started_at=at(4), killed_at=at(8.2)),
        Life(started_at=at(8.4)),
    ]
    return Evidence(
        jobs=[
            WatchedJob(
                id=JOB,
                webhook_ids=(HOOK,),
                schedule="* * * * * *",
                due_after_at=T0,
                due_until_at=at(8.1),
                perhaps_until_at=at(8.1),
                delays=(0.5,),
                jitter=0.1,
                max_attempts=3,
            )
        ],
        requests=[
            request(first, life=0, status=200),
            request(cut, life=0, status=200, ended_at=KILLED_AT - 50_000),
            request(again, life=1, status=200),
            request(caught_up, life=1, status=200),
            request(failed, life=1, status=500),
            request(retried, life=1, status=200),
            request(broken, life=1, status=500),
            request(late, life=2, status=200),
        ],
        rows=rows,
        lives=lives,
        snapshots=[
            first,
            row(2, 1, "running", finished_at=None, response_code=None, error=None),
            late._replace(status="queued"),
        ],
        glimpses=[Glimpse(at(1.5), JOB, at(2)), Glimpse(at(4.2), JOB, at(3)), Glimpse(at(5.5), JOB, at(6))],
        acknowledged_jobs={JOB},
        acknowledged_executions={first.id},
        job_ids={JOB},
        counts={"success": 5, "failure": 3, "queued": 0, "running": 0},
    )


def swap(evidence: Evidence, second: int, attempt: int, **fields: Any) -> None:
    """Change the row of an attempt."""
    evidence.rows = [
        one._replace(**fields) if (one.id == f"execution {second}.{attempt}") else one for one in evidence.rows
    ]


def drop(evidence: Evidence, second: int, *attempts: int) -> None:
    """Forget attempts, with their requests."""
    gone = {f"execution {second}.{attempt}" for attempt in attempts}
    evidence.rows = [one for one in evidence.rows if one.id not in gone]
    evidence.requests = [one for one in evidence.requests if one.execution_id not in gone]
    evidence.snapshots = [one for one in evidence.snapshots if one.id not in gone]
    evidence.acknowledged_executions -= gone
    evidence.counts = None


def send_again(evidence: Evidence, second: int, attempt: int, **fields: Any) -> None:
    """Another request for the same attempt."""
    of = next(one for one in evidence.rows if one.id == f"execution {second}.{attempt}")
    evidence.requests.append(request(of, **{"life": 2, "status": 200, "arrived_at": at(9), **fields}))
