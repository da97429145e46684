"""Firing: turning a due job into executions. Every due time up to now has a row, or a row that covers it.

Pure: the time, random numbers and new ids are arguments (``Present``), so a test can replay any day of any year.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.errors import invalid
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.catchup import Portion, account_for, account_for_one
from scheduler.domain.runs.error_code import ErrorCode, error_line
from scheduler.domain.runs.execution import Execution, Status, Trigger, run_id_of

NO_WEBHOOK = error_line(
    ErrorCode.NO_WEBHOOK, "the job has no enabled webhook: add one with POST /webhooks, or enable one"
)
THROUGH = f"{DisabledBy.THROUGH}: the schedule has no further time within ends_at and max_runs"
_OVERLAPPED = "overlap: the previous run was still active"
_REPLACED = "overlap: a newer run took its place"
_MOST_ROWS = 1000
"""The rows that one firing of a job inserts at most, or one for each webhook where it has more webhooks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """What firing needs besides the job: the time, new ids and random numbers."""

    now: Instant
    watching_since: Instant
    """Since when the trigger loop has looked for due jobs without a break: what was due before was missed."""
    new_id: Callable[[], str]
    draw: Callable[[], float]
    """A random number from 0 to 1 for each run with jitter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """What firing does with one job: the rows to insert, and the new values of the job."""

    job: Job
    """The job before it was fired."""
    next_run_at: Instant | None
    last_run_at: Instant | None
    run_count: int
    executions: list[Execution]
    """Ready to be queued, or final from the start (skipped, no webhook)."""
    buffered: list[Execution]
    """To be queued behind the active run."""
    cancels_active: bool = False
    """Are the queued and running executions of the job to be cancelled first?"""
    ended_by: DisabledBy | None = None
    """Why the job is disabled; ``None`` when it goes on."""
    end_reason: str | None = None
    """The same as a sentence."""
    ends_behind: Instant | None = None
    """The last due time that was fired, of a job that is disabled, or waits."""
    waits_for: str | None = None
    """Why a job that goes on has no next time: its due times cannot be computed now."""

    @property
    def ends_one_off(self) -> bool:
        """Does the job end with this firing, and is it one that runs only at given moments?"""
        return self.ended_by is DisabledBy.THROUGH and self.job.timing.is_one_off

    @property
    def rows(self) -> list[Execution]:
        """All rows to insert."""
        return [*self.executions, *self.buffered]


def fire(
    job: Job,
    webhook_ids: Sequence[str],
    present: Present,
    *,
    active: int,
    waiting: int = 0,
    problem: str | None = None,
) -> Firing:
    """Turn a due job (``next_run_at`` ≤ now) into executions and its next time.

    ``active`` counts the job's queued and running executions, ``waiting`` those of them that wait behind another;
    both matter only when ``overlap`` is not ``allow``. With a ``problem`` the due times cannot be computed now: then
    ``next_run_at`` alone is fired, which was planned when they could, and the job goes on without a next time.
    """
    if problem is None:
        most = max(1, _MOST_ROWS // max(1, len(webhook_ids)))
        portions, reached_at = account_for(job, present.now, watching_since=present.watching_since, most=most)
    else:
        portions, reached_at = account_for_one(job, present.now, watching_since=present.watching_since)
    ready, buffered, cancels = _overlap(job, portions, active=active, waiting=waiting)
    fired = sum(portion.skipped is None for portion in ready) + len(buffered)
    run_count = job.run_count + fired
    next_run_at = job.next_after(reached_at, run_count=run_count) if problem is None else None
    has_ended = next_run_at is None and (problem is None or job.has_had_its_runs(run_count))
    return Firing(
        job=job,
        next_run_at=next_run_at,
        last_run_at=present.now if fired else job.last_run_at,
        run_count=run_count,
        executions=[row for portion in ready for row in _rows(job, webhook_ids, portion, present)],
        buffered=[row for portion in buffered for row in _rows(job, webhook_ids, portion, present)],
        cancels_active=cancels,
        ended_by=DisabledBy.THROUGH if has_ended else None,
        end_reason=THROUGH if has_ended else None,
        ends_behind=reached_at,
        waits_for=None if has_ended else problem,
    )


def end_broken(job: Job, *, reason: str) -> Firing:
    """Disable a job whose schedule cannot be evaluated. Due times get no rows, since they cannot be computed."""
    return Firing(
        job=job,
        next_run_at=None,
        last_run_at=job.last_run_at,
        run_count=job.run_count,
        executions=[],
        buffered=[],
        ended_by=DisabledBy.BROKEN,
        end_reason=f"{DisabledBy.BROKEN}: {reason}",
        ends_behind=None if job.next_run_at is None else job.next_run_at - 1,
    )


def start(
    job: Job,
    webhook_ids: Sequence[str],
    present: Present,
    *,
    overlap: str = "allow",
    active: int = 0,
    waiting: int = 0,
) -> Firing:
    """A run that a person starts now, with an overlap policy of its own; the schedule goes on unchanged."""
    run = Portion(at=present.now, trigger=Trigger.MANUAL)
    ready, buffered, cancels = _overlap(replace(job, overlap=overlap), [run], active=active, waiting=waiting)
    starts = bool(buffered) or any(portion.skipped is None for portion in ready)
    return Firing(
        job=job,
        next_run_at=job.next_run_at,
        last_run_at=present.now if starts else job.last_run_at,
        run_count=job.run_count,
        executions=[row for portion in ready for row in _rows(job, webhook_ids, portion, present)],
        buffered=[row for portion in buffered for row in _rows(job, webhook_ids, portion, present)],
        cancels_active=cancels,
    )


def times_to_backfill(job: Job, from_at: Instant, to_at: Instant, now: Instant, *, most: int) -> list[Instant]:
    """The fire times of the present schedule from ``from_at`` on and before ``to_at``, which is not after ``now``.

    Raises the ``VALIDATION_ERROR`` of ``to`` when the window is empty, reaches into the future or has more than
    ``most`` times.
    """
    if to_at <= from_at:
        raise invalid("to", "must be later than from")
    if to_at > now:
        raise invalid("to", "must not lie in the future: what is to come fires by itself")
    first_at, last_at = job.timing.clipped(from_at, to_at - 1)
    if first_at > last_at:
        return []
    count = job.timing.parsed().count_between(first_at, last_at)
    if count > most:
        raise invalid("to", f"{count} times fall into this window, at most {most} are filled a call")
    return job.timing.parsed().between(first_at, last_at, most)


def backfill(
    job: Job,
    webhook_ids: Sequence[str],
    times: Sequence[Instant],
    present: Present,
    *,
    known: Mapping[str, tuple[int, Status]],
) -> Firing:
    """Runs for past due times that had none. A run that exists gets no further attempt.

    ``known`` has the last attempt, and its status, of each run that exists. A time that was skipped had no run: it gets
    one as the next attempt.
    """
    rows = []
    for row in (
        row
        for at in times
        for row in _rows(job, webhook_ids, Portion(at=at, trigger=Trigger.MANUAL), present, is_due=True)
    ):
        attempt, status = known.get(row.run_id, (0, Status.SKIPPED))
        if status is Status.SKIPPED:
            rows.append(replace(row, attempt=attempt + 1, budget_from=attempt + 1))
    return Firing(
        job=job,
        next_run_at=job.next_run_at,
        last_run_at=present.now if rows else job.last_run_at,
        run_count=job.run_count,
        executions=rows,
        buffered=[],
    )


def run_ids_of(job: Job, webhook_ids: Sequence[str], times: Sequence[Instant]) -> list[str]:
    """The ids of the scheduled runs of a job at these times."""
    return [run_id_of(webhook_id, at) for at in times for webhook_id in webhook_ids or (job.id,)]


def _overlap(
    job: Job, portions: Sequence[Portion], *, active: int, waiting: int
) -> tuple[Sequence[Portion], Sequence[Portion], bool]:
    """Apply the overlap policy: what starts, what waits behind the active run, and whether that is cancelled."""
    if job.overlap == "allow":
        return portions, [], False
    records = [portion for portion in portions if portion.skipped]
    runs = [portion for portion in portions if not portion.skipped]
    if not runs:
        return records, [], False
    if job.overlap == "cancel_previous":
        replaced = [replace(run, skipped=_REPLACED) for run in runs[:-1]]
        return [*records, *replaced, runs[-1]], [], active > 0
    starting = [] if active else runs[:1]
    behind = runs if active else runs[1:]
    buffered = behind[:1] if job.overlap == "buffer_one" and not waiting else []
    refused = [replace(run, skipped=_OVERLAPPED) for run in behind if run not in buffered]
    return [*records, *starting, *refused], buffered, False


def _rows(
    job: Job, webhook_ids: Sequence[str], portion: Portion, present: Present, *, is_due: bool = False
) -> list[Execution]:
    """One row for each webhook of the job; one without a webhook when it has none.

    The run id of a due time can be computed again; a run that a person starts gets a random one.
    """
    by_hand = portion.trigger is Trigger.MANUAL
    is_scheduled = is_due or not by_hand
    late = by_hand or portion.at < present.watching_since
    start_at = present.now if late else portion.at
    status = Status.SKIPPED if portion.skipped else Status.QUEUED if webhook_ids else Status.FAILURE
    rows = []
    for webhook_id in webhook_ids or (None,):
        available_at = start_at if by_hand else start_at + _shift(job, present)
        rows.append(
            Execution(
                id=present.new_id(),
                run_id=run_id_of(webhook_id or job.id, portion.at) if is_scheduled else present.new_id(),
                job_id=job.id,
                account_id=job.account_id,
                webhook_id=webhook_id,
                status=status,
                trigger=portion.trigger,
                scheduled_at=portion.at,
                available_at=available_at,
                created_at=present.now,
                covers=portion.covers,
                covers_from=portion.covers_from,
                reason=portion.skipped,
                budget_at=max(available_at, present.now),
                finished_at=None if status is Status.QUEUED else present.now,
                error_code=ErrorCode.NO_WEBHOOK if status is Status.FAILURE else None,
                error=NO_WEBHOOK if status is Status.FAILURE else None,
                is_scheduled=is_scheduled,
            )
        )
    return rows


def _shift(job: Job, present: Present) -> int:
    """How far jitter and spread move the start, in microseconds; the run id stays."""
    return job.spread() + (seconds(job.jitter_s * present.draw()) if job.jitter_s else 0)
