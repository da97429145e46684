"""Firing: what a job whose time has come turns into. Every due time up to now ends in a row, or is covered by one.

Pure: the present, the random draws and the ids are arguments, so a test can replay any day of any year.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.clock import Instant, seconds
from scheduler.domain.execution import Execution, Status, Trigger, run_id_of
from scheduler.domain.job import Job

NO_WEBHOOK = "no_webhook the job has no enabled webhook: add one with POST /webhooks"
THROUGH = "through: the schedule has no further time within ends_at and max_runs"
_OVERLAPPED = "overlap: the previous run was still active"
_REPLACED = "overlap: a newer run took its place"
_TOO_OLD = "missed: older than catchup_window_s"
_NOT_CAUGHT_UP = "missed: the service was not running, and catchup is none"
_BEYOND_LIMIT = "missed: beyond catchup_limit or older than catchup_window_s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """What firing takes from the world, so that it need not ask for it."""

    now: Instant
    attentive_since: Instant
    """Since when the trigger loop has been looking without a break: what was due before was missed."""
    new_id: Callable[[], str]
    draw: Callable[[], float]
    """A number from 0 to 1 for each jittered run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """What one job turns into: rows to insert, and how it goes on."""

    job: Job
    """As it was."""
    next_run_at: Instant | None
    last_run_at: Instant | None
    run_count: int
    executions: list[Execution]
    """Ready to be queued, or final from the start (skipped, no webhook)."""
    buffered: list[Execution]
    """To be queued behind what is active."""
    cancels_active: bool = False
    """Whatever is queued or running for the job is to be cancelled first."""
    end_reason: str | None = None
    """Why the job ends with this and is disabled; ``None`` when it goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Portion:
    """One row per webhook to be: a run of ``at`` that stands for ``covers`` due times, or their record."""

    at: Instant
    covers: int = 1
    covers_from: Instant | None = None
    trigger: Trigger
    skipped: str | None = None


def fire(job: Job, webhook_ids: Sequence[str], present: Present, *, active: int, waiting: int = 0) -> Firing:
    """Turn a due job (``next_run_at`` ≤ now) into executions and its next time.

    ``active`` counts the job's queued and running executions, ``waiting`` those of them that wait behind another;
    both matter only when ``overlap`` is not ``allow``.
    """
    portions, newest = _due(job, present)
    ready, buffered, cancels = _overlap(job, portions, active=active, waiting=waiting)
    fired = sum(portion.skipped is None for portion in ready) + len(buffered)
    run_count = job.run_count + fired
    next_run_at = job.next_after(newest, run_count=run_count)
    return Firing(
        job=job,
        next_run_at=next_run_at,
        last_run_at=present.now if fired else job.last_run_at,
        run_count=run_count,
        executions=[row for portion in ready for row in _rows(job, webhook_ids, portion, present)],
        buffered=[row for portion in buffered for row in _rows(job, webhook_ids, portion, present)],
        cancels_active=cancels,
        end_reason=THROUGH if next_run_at is None else None,
    )


def give_up(job: Job, *, reason: str) -> Firing:
    """End a job that cannot be fired."""
    return Firing(
        job=job,
        next_run_at=None,
        last_run_at=job.last_run_at,
        run_count=job.run_count,
        executions=[],
        buffered=[],
        end_reason=reason,
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
    """A run that a person starts now: an identity of its own, the schedule untouched, the overlap theirs to choose."""
    run = _Portion(at=present.now, trigger=Trigger.MANUAL)
    ready, buffered, cancels = _overlap(replace(job, overlap=overlap), [run], active=active, waiting=waiting)
    return Firing(
        job=job,
        next_run_at=job.next_run_at,
        last_run_at=present.now,
        run_count=job.run_count,
        executions=[row for portion in ready for row in _rows(job, webhook_ids, portion, present)],
        buffered=[row for portion in buffered for row in _rows(job, webhook_ids, portion, present)],
        cancels_active=cancels,
    )


def backfill(job: Job, webhook_ids: Sequence[str], times: Sequence[Instant], present: Present) -> Firing:
    """Runs for due times that had none, as a person asks for; a time that has its run keeps that one alone."""
    runs = [_Portion(at=at, trigger=Trigger.MANUAL) for at in times]
    rows = [row for portion in runs for row in _rows(job, webhook_ids, portion, present, is_due=True)]
    return Firing(
        job=job,
        next_run_at=job.next_run_at,
        last_run_at=present.now,
        run_count=job.run_count,
        executions=rows,
        buffered=[],
    )


def _due(job: Job, present: Present) -> tuple[list[_Portion], Instant]:
    """How the due times up to now are accounted for, oldest first, and the newest of them."""
    first, now = job.next_run_at, present.now
    assert first is not None  # noqa: S101 - only due jobs are fired
    end = now if job.ends_at is None else min(now, job.ends_at - 1)
    following = job.next_after(first)
    if following is None or following > end:
        return _caught_up(job, first, first, 1, present), first
    schedule = job.parsed()
    newest = schedule.latest_between(first, end) or first
    if job.catchup == "all":
        return _all(job, first, newest, present), newest
    if job.catchup == "none" and first < present.attentive_since:
        return _none(job, first, newest, present), newest
    return _caught_up(job, first, newest, schedule.count_between(first, newest), present), newest


def _caught_up(job: Job, first: Instant, newest: Instant, count: int, present: Present) -> list[_Portion]:
    """One run at the newest due time, standing for all of them; too late for that, one record that they were missed."""
    missed = first < present.attentive_since
    covers_from = first if count > 1 else None
    trigger = Trigger.CATCHUP if missed or count > 1 else Trigger.SCHEDULE
    skipped = None
    if missed and job.catchup == "none" and newest < present.attentive_since:
        skipped = _NOT_CAUGHT_UP
    elif newest < present.now - seconds(job.catchup_window_s):
        skipped = _TOO_OLD
    return [_Portion(at=newest, covers=count, covers_from=covers_from, trigger=trigger, skipped=skipped)]


def _none(job: Job, first: Instant, newest: Instant, present: Present) -> list[_Portion]:
    """What was missed is skipped; what came due since the loop is attentive runs as usual."""
    schedule = job.parsed()
    last_missed = schedule.latest_between(first, min(newest, present.attentive_since - 1)) or first
    count = schedule.count_between(first, last_missed)
    missed = _caught_up(job, first, last_missed, count, present)
    fresh = schedule.next_after(last_missed)
    if fresh is None or fresh > newest:
        return missed
    return missed + _caught_up(job, fresh, newest, schedule.count_between(fresh, newest), present)


def _all(job: Job, first: Instant, newest: Instant, present: Present) -> list[_Portion]:
    """A run for each missed time, the newest ``catchup_limit`` of those in the window; one record for the rest."""
    schedule = job.parsed()
    limit = job.catchup_limit if job.max_runs is None else min(job.catchup_limit, job.max_runs - job.run_count)
    from_at = max(first, present.now - seconds(job.catchup_window_s))
    kept = schedule.newest_between(from_at, newest, limit) if from_at <= newest else []
    portions = [
        _Portion(at=at, trigger=Trigger.CATCHUP if at < present.attentive_since else Trigger.SCHEDULE) for at in kept
    ]
    dropped_to = kept[0] - 1 if kept else newest
    dropped = schedule.latest_between(first, dropped_to) if dropped_to >= first else None
    if dropped is None:
        return portions
    count = schedule.count_between(first, dropped)
    record = _Portion(
        at=dropped,
        covers=count,
        covers_from=first if count > 1 else None,
        trigger=Trigger.CATCHUP,
        skipped=_BEYOND_LIMIT,
    )
    return [record, *portions]


def _overlap(
    job: Job, portions: list[_Portion], *, active: int, waiting: int
) -> tuple[list[_Portion], list[_Portion], bool]:
    """Apply the overlap policy: what may start, what waits behind the active run, and whether that is cancelled."""
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
    job: Job, webhook_ids: Sequence[str], portion: _Portion, present: Present, *, is_due: bool = False
) -> list[Execution]:
    """One row for each webhook of the job; one without a webhook when it has none.

    The identity of a time that is due can be computed again; a run that a person starts gets a random one.
    """
    by_hand = portion.trigger is Trigger.MANUAL
    late = by_hand or portion.at < present.attentive_since
    start_at = present.now if late else portion.at
    rows = []
    for webhook_id in webhook_ids or (None,):
        available_at = start_at if by_hand else start_at + _shift(job, present)
        row = Execution(
            id=present.new_id(),
            run_id=run_id_of(webhook_id or job.id, portion.at) if is_due or not by_hand else present.new_id(),
            job_id=job.id,
            account_id=job.account_id,
            webhook_id=webhook_id,
            status=Status.QUEUED,
            trigger=portion.trigger,
            scheduled_at=portion.at,
            available_at=available_at,
            created_at=present.now,
            budget_at=max(available_at, present.now),
            covers=portion.covers,
            covers_from=portion.covers_from,
        )
        if portion.skipped:
            row = replace(row, status=Status.SKIPPED, reason=portion.skipped, finished_at=present.now)
        elif webhook_id is None:
            row = replace(row, status=Status.FAILURE, error=NO_WEBHOOK, finished_at=present.now)
        rows.append(row)
    return rows


def _shift(job: Job, present: Present) -> int:
    """How far jitter and spread move the start, in microseconds; never the identity."""
    return job.spread() + (seconds(job.jitter_s * present.draw()) if job.jitter_s else 0)
