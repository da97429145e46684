"""The schemas of health and metrics: answers."""

from __future__ import annotations

from marshmallow import fields

from scheduler.api.http.answers import Answer, flag, instant, number, part, text, whole, word
from scheduler.domain.schedule.zone_data import SOURCES


class Alive(Answer):
    status = text()
    service = text()


class PoolDocument(Answer):
    size = whole()
    in_use = whole()


class QueueDocument(Answer):
    """What waits, counted up to `counted_to`: ready now, planned for later, held back for its account's share."""

    ready = whole()
    planned = whole()
    in_lanes = whole()
    jobs_waiting = whole(what="Enabled jobs that have no next time: see their `warnings`.")
    counted_to = whole()
    lag_s = number(what="How long the oldest that is ready has waited.")
    in_lanes_lag_s = number(what="How long the oldest that waits for a share or a limit has waited.")
    overdue_s = number(what="How long the most overdue job is due.")


class ZoneDataDocument(Answer):
    """The time zone data that schedules are evaluated with."""

    version = text(null=True, what="The release of the IANA database, such as 2026a; null when the data do not say.")
    jobs_in_unknown_zones = whole(what="How many jobs have a time zone that the data lack.")
    source = word(
        SOURCES, what="The newer of the system's and the tzdata package's; operator: the directories of PYTHONTZPATH."
    )


class LeaseDocument(Answer):
    held = flag()
    clock_skew_s = number(what="How far the database's clock is ahead.")


class HealthDocument(Alive):
    """The health of the process; with status 503 the fields of an error document are added."""

    database = word(("connected", "disconnected"))
    scheduler_service = word(("running", "stopped"))
    draining = flag()
    storage = word(("ok", "full", "unknown"))
    version = text()
    python_version = text()
    zone_data = part(ZoneDataDocument)
    database_version = text()
    last_tick_at = instant(null=True)
    last_backup_at = instant(null=True)
    clock_behind_s = number(what="How far the clock is behind a time that it had: it was set back. Else 0.")
    pool = part(PoolDocument)
    queue = fields.Nested(QueueDocument, metadata={"description": "Absent while the database does not answer."})
    accounts_over_budget = fields.Integer(
        metadata={"description": "Accounts that keep `limits.bytes_per_account` or more."}
    )
    nodes = fields.Integer(metadata={"description": "Processes that work on this database."})
    lease = fields.Nested(LeaseDocument, metadata={"description": "On a database that several nodes share."})
    detail = fields.String()
    error_code = fields.String()
    status_code = fields.Integer()


class JobCounts(Answer):
    total = whole()
    enabled = whole()
    disabled = whole()


class ExecutionCounts(Answer):
    total = whole()
    queued = whole()
    running = whole()
    success = whole()
    failure = whole()
    dead_letter = whole()
    timed_out = whole()
    skipped = whole()
    cancelled = whole()
    success_rate = number()
    avg_duration_ms = number()


class MetricsDocument(Answer):
    timestamp = instant()
    jobs = part(JobCounts)
    executions = part(ExecutionCounts)
