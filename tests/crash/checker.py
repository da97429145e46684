"""Decides from the evidence of a campaign whether the promises I1 to I10 were kept.

* I1 each due (webhook, time) has exactly one chain of executions, and no time that was not due has one
* I2 each request has a row, on disk as ``running`` before it arrived; rows and answers tell the same story
* I3 a (``webhook-id``, attempt) arrives at most once
* I4 a ``webhook-id`` has a second 2xx only if an attempt was in flight at a kill; none with ``at_most_once``
* I5 a kill causes no more duplicates than requests were in flight at it
* I6 attempts are 1..k, a final row never changes, every run ends as its policy says
* I7 ``next_run_at`` only grows
* I8 a retry keeps its planned time, and that is the one its policy gives
* I9 what the API acknowledged is there
* I10 the database is sound, its log bounded, its counts equal the metrics

It shares no code with the service: schedules and identities are worked out by ``tests.crash.oracle``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tests.crash.evidence import FINAL, Evidence, Life, Request, Row, WatchedJob
from tests.crash.oracle import SECOND, due_times, run_id_of

GRACE = 300_000
"""An answer given so shortly before a kill, in microseconds, counts as in flight: its settlement was on the way.

The time for which the machine stood still, for the campaign too, is added: it says nothing about the service.
"""
CRASH_REPEATS = 3
WAL_LIMIT = 64 * 1024 * 1024
_PLANNED = ("schedule", "catchup")


class Violation(NamedTuple):
    """A promise that was broken."""

    invariant: str
    what: str
    run_id: str | None = None


class Chain(NamedTuple):
    """What is known of one run."""

    rows: list[Row]
    requests: list[Request]


def check(evidence: Evidence) -> list[Violation]:
    """Every violation that the evidence shows; empty when all promises were kept."""
    chains = chains_of(evidence)
    jobs = {job.id: job for job in evidence.jobs}
    found = [*_due_times(evidence, chains)]
    for run_id, chain in chains.items():
        if chain.rows:
            job = jobs.get(chain.rows[0].job_id)
            found += [
                Violation(invariant, what, run_id)
                for invariant, what in (*_attempts(chain), *_ending(chain, job), *_plan(chain, job))
            ]
        found += [
            Violation(invariant, what, run_id)
            for invariant, what in (*_requests(chain), *_answers(chain), *_repeats(chain, jobs, evidence))
        ]
    found += _duplicates_per_kill(evidence, chains)
    found += _snapshots(evidence)
    found += _next_runs(evidence)
    found += _acknowledged(evidence)
    found += _database(evidence)
    return found


def chains_of(evidence: Evidence) -> dict[str, Chain]:
    """Rows by attempt and requests by arrival, for each run that has either."""
    chains: defaultdict[str, Chain] = defaultdict(lambda: Chain([], []))
    for row in sorted(evidence.rows, key=lambda row: row.attempt):
        chains[row.run_id].rows.append(row)
    for request in sorted(evidence.requests, key=lambda request: request.arrived_at):
        chains[request.run_id].requests.append(request)
    return dict(chains)


def in_flight(evidence: Evidence, life: int) -> list[Request]:
    """The requests of a life that its kill may have kept from being settled."""
    its_end = evidence.lives[life]
    return [request for request in evidence.requests if request.life == life and _cut_off(request, its_end)]


def duplicates(chain: Chain) -> list[Request]:
    """For each request after an accepted one, which of the two made it a delivery too many.

    That is the earlier one, unless the later one came after its own repetition.
    """
    return [
        later if _is_overtaken(later, chain) else earlier
        for earlier, later in pairwise(chain.requests)
        if earlier.accepted
    ]


def explain(evidence: Evidence, violation: Violation) -> str:
    """The violation with the rows and requests of its run and the kills among them, in order of time."""
    chain = chains_of(evidence).get(violation.run_id or "", Chain([], []))
    events: list[tuple[int, str]] = [(row.started_at or row.available_at, f"row     {row}") for row in chain.rows]
    events += [(request.arrived_at, f"request {request}") for request in chain.requests]
    if events:
        first, last = min(events)[0] - SECOND, max(events)[0] + SECOND
        events += [
            (life.killed_at, f"kill    of life {number}")
            for number, life in enumerate(evidence.lives)
            if life.killed_at is not None and first <= life.killed_at <= last
        ]
    lines = [f"  {at / SECOND:.6f} {text}" for at, text in sorted(events)]
    return "\n".join([f"{violation.invariant}: {violation.what} (run {violation.run_id})", *lines])


def _due_times(evidence: Evidence, chains: dict[str, Chain]) -> Iterator[Violation]:
    heads: defaultdict[str | None, list[Row]] = defaultdict(list)
    for chain in chains.values():
        for row in chain.rows:
            if row.attempt == 1 and row.trigger in _PLANNED:
                heads[row.webhook_id].append(row)
    for job in evidence.jobs:
        for webhook_id in job.webhook_ids:
            yield from _due_times_of(job, webhook_id, heads.pop(webhook_id, []))
    for strangers in heads.values():
        yield Violation("I1", "a run of a webhook that has no schedule", strangers[0].run_id)


def _due_times_of(job: WatchedJob, webhook_id: str, heads: list[Row]) -> Iterator[Violation]:
    expected = due_times(job.schedule, job.due_after_at, job.due_until_at)
    possible = due_times(job.schedule, job.due_after_at, max(job.due_until_at, job.perhaps_until_at))
    covered: Counter[int] = Counter()
    for row in heads:
        first = row.scheduled_at if row.covers_from is None else row.covers_from
        times = possible[bisect_left(possible, first) : bisect_right(possible, row.scheduled_at)]
        covered.update(times)
        if not times or times[-1] != row.scheduled_at or times[0] != first:
            yield Violation("I1", f"{first} to {row.scheduled_at}: a time that was not due", row.run_id)
        elif len(times) != row.covers:
            yield Violation("I1", f"covers {row.covers} due times, but {len(times)} were due", row.run_id)
        if row.run_id != run_id_of(webhook_id, row.scheduled_at):
            yield Violation("I1", f"run_id of {row.scheduled_at} is not the one of its identity", row.run_id)
    for at, count in covered.items():
        if count > 1:
            yield Violation("I1", f"due time {at} has {count} chains", run_id_of(webhook_id, at))
    for at in expected:
        if at not in covered:
            yield Violation("I1", f"due time {at} of webhook {webhook_id} has no row", run_id_of(webhook_id, at))


def _requests(chain: Chain) -> Iterator[tuple[str, str]]:
    rows = {row.attempt: row for row in chain.rows}
    for request in chain.requests:
        row = rows.get(request.attempt)
        if row is None:
            yield "I2", f"attempt {request.attempt} arrived and has no row"
        elif row.id != request.execution_id:
            yield "I2", f"attempt {request.attempt} arrived as execution {request.execution_id}, its row is {row.id}"
        elif row.started_at is None or row.started_at > request.arrived_at:
            yield "I2", f"attempt {request.attempt} arrived before it was claimed"
        if request.row_status in ("absent", "queued"):
            yield "I2", f"attempt {request.attempt} arrived while its row was {request.row_status}"
    for attempt, count in Counter(request.attempt for request in chain.requests).items():
        if count > 1:
            yield "I3", f"attempt {attempt} arrived {count} times"


def _answers(chain: Chain) -> Iterator[tuple[str, str]]:
    """A row with an answer has the one that was given."""
    given = {request.attempt: request.status for request in chain.requests}
    for row in chain.rows:
        if row.response_code is not None and given.get(row.attempt) != row.response_code:
            told = f"attempt {row.attempt} is recorded as answered {row.response_code}"
            yield "I2", f"{told}, but the receiver answered {given.get(row.attempt, 'nothing: it never arrived')}"
        if row.status == "success" and row.response_code is None:
            yield "I2", f"attempt {row.attempt} is a success without an answer"


def _repeats(chain: Chain, jobs: dict[str, WatchedJob], evidence: Evidence) -> Iterator[tuple[str, str]]:
    statuses = {row.attempt: row.status for row in chain.rows}
    accepted = [request for request in chain.requests if request.accepted]
    for earlier, later in pairwise(accepted):
        excused = earlier.life != later.life and (
            _cut_off(earlier, evidence.lives[earlier.life])
            or (_is_overtaken(later, chain) and _comes_after(later, evidence.lives[later.life]))
        )
        if not excused and statuses.get(earlier.attempt) != "timed_out":
            yield "I4", f"attempts {earlier.attempt} and {later.attempt} were both accepted, and no kill explains it"
    for row, following in pairwise(chain.rows):
        job = jobs.get(row.job_id)
        if job is not None and job.at_most_once and row.interrupted:
            yield "I4", f"attempt {following.attempt} follows an interrupted one, although at most once was asked for"


def _duplicates_per_kill(evidence: Evidence, chains: dict[str, Chain]) -> Iterator[Violation]:
    caused = Counter(repeated.life for chain in chains.values() for repeated in duplicates(chain))
    for life, count in caused.items():
        open_requests = len(in_flight(evidence, life))
        if count > open_requests:
            yield Violation("I5", f"the end of life {life} caused {count} duplicates, {open_requests} were in flight")


def _attempts(chain: Chain) -> Iterator[tuple[str, str]]:
    attempts = [row.attempt for row in chain.rows]
    if len(set(attempts)) < len(attempts):
        yield "I1", f"several rows for one attempt: {attempts}"
    elif attempts != list(range(1, len(attempts) + 1)):
        yield "I6", f"attempts are {attempts}"
    for row in chain.rows[:-1]:
        if row.status not in ("failure", "timed_out"):
            yield "I6", f"attempt {row.attempt} ended as {row.status}, yet another one follows"


def _ending(chain: Chain, job: WatchedJob | None) -> Iterator[tuple[str, str]]:
    last = chain.rows[-1]
    if last.status not in FINAL:
        yield "I6", f"attempt {last.attempt} is still {last.status}"
    if last.status in ("failure", "timed_out") and not (job is not None and job.at_most_once and last.interrupted):
        yield "I6", f"attempt {last.attempt} ended as {last.status} and nothing follows"
    if job is None:
        return
    counted = last.attempt - len(_uncounted(chain, job))
    if last.status == "dead_letter" and counted < job.max_attempts:
        yield "I6", f"given up after {counted} of {job.max_attempts} attempts"
    if counted > job.max_attempts + (CRASH_REPEATS if any(row.interrupted for row in chain.rows) else 0):
        yield "I6", f"{counted} attempts, although {job.max_attempts} are permitted"


def _uncounted(chain: Chain, job: WatchedJob) -> set[int]:
    """The attempts that met a stale connection and so do not count; the next one follows at once."""
    stale = {row.attempt for row in chain.rows if row.stale and not job.at_most_once}
    return {attempt for attempt in stale if attempt - 1 not in stale}


def _plan(chain: Chain, job: WatchedJob | None) -> Iterator[tuple[str, str]]:
    arrivals = {request.attempt: request.arrived_at for request in chain.requests}
    for row in chain.rows:
        early = [at for at in (row.started_at, arrivals.get(row.attempt)) if at is not None and at < row.available_at]
        if early:
            yield "I8", f"attempt {row.attempt} came {row.available_at - min(early)} µs before its time"
    for row, following in pairwise(chain.rows):
        if job is None or not job.delays or row.finished_at is None:
            continue
        uncounted = _uncounted(chain, job)
        counted = row.attempt - sum(attempt < row.attempt for attempt in uncounted)
        at_once = row.interrupted or row.attempt in uncounted
        planned = 0.0 if at_once else job.delays[min(counted, len(job.delays)) - 1]
        waited = (following.available_at - row.finished_at) / SECOND
        if not planned - 1e-5 <= waited <= planned * (1 + job.jitter) + 1e-5:
            yield "I8", f"attempt {following.attempt} was planned after {waited:.6f} s instead of {planned} s"


def _snapshots(evidence: Evidence) -> Iterator[Violation]:
    rows = {row.id: row for row in evidence.rows}
    for seen in evidence.snapshots:
        row = rows.get(seen.id)
        if row is None:
            yield Violation("I6", f"attempt {seen.attempt} was {seen.status} on disk and is gone", seen.run_id)
        elif seen.status in FINAL and seen.ending != row.ending:
            yield Violation("I6", f"a final row changed from {seen.ending} to {row.ending}", seen.run_id)
        elif seen.available_at != row.available_at:
            moved = f"{seen.available_at} to {row.available_at}"
            yield Violation("I8", f"attempt {seen.attempt} was planned anew: {moved}", seen.run_id)


def _next_runs(evidence: Evidence) -> Iterator[Violation]:
    latest: dict[str, int] = {}
    for seen_at, job_id, next_run_at in sorted(evidence.glimpses, key=lambda glimpse: glimpse.seen_at):
        if next_run_at is None:
            continue
        if next_run_at < latest.get(job_id, 0):
            yield Violation(
                "I7", f"next_run_at of job {job_id} fell from {latest[job_id]} to {next_run_at} at {seen_at}"
            )
        latest[job_id] = next_run_at


def _acknowledged(evidence: Evidence) -> Iterator[Violation]:
    for job_id in sorted(evidence.acknowledged_jobs - evidence.job_ids):
        yield Violation("I9", f"job {job_id} was acknowledged and is gone")
    for execution_id in sorted(evidence.acknowledged_executions - {row.id for row in evidence.rows}):
        yield Violation("I9", f"execution {execution_id} was acknowledged and is gone")


def _database(evidence: Evidence) -> Iterator[Violation]:
    if evidence.integrity != "ok":
        yield Violation("I10", f"integrity: {evidence.integrity}")
    if evidence.wal_bytes > WAL_LIMIT:
        yield Violation("I10", f"the write-ahead log has grown to {evidence.wal_bytes} bytes")
    if evidence.counts is not None:
        actual = Counter(row.status for row in evidence.rows)
        told = {status: count for status, count in evidence.counts.items() if count != actual[status]}
        if told:
            yield Violation("I10", f"/metrics tells {told}, the rows are {dict(actual)}")


def _is_overtaken(request: Request, chain: Chain) -> bool:
    """Was its attempt closed as interrupted before it arrived?

    A node that stood still for longer than its lease sends, when it goes on, what it had begun; meanwhile another node
    may have repeated it.
    """
    return any(
        row.attempt == request.attempt and row.interrupted and (row.finished_at or 0) < request.arrived_at
        for row in chain.rows
    )


def _comes_after(request: Request, life: Life) -> bool:
    """Did it arrive when its life had ended already?"""
    return life.killed_at is not None and request.arrived_at > life.killed_at


def _cut_off(request: Request, life: Life) -> bool:
    """May the kill that ended its life have kept the end of this request from being settled?"""
    if life.killed_at is None:
        return False
    return request.ended_at is None or request.ended_at >= life.killed_at - GRACE - life.stall - life.settling
