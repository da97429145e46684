-- States get columns of their own. Until here some of them were read out of texts and ids: out of the first word of
-- executions.error, of jobs.disabled_reason and webhooks.disabled_reason, and out of the version in executions.run_id.
-- This is the last place that does so.
--
-- What the database checks from here on: every enumeration that the program writes. SQLite adds no constraint to a column
-- that exists, so those of the older columns (status, trigger_kind, held, dst_policy and so on) are written with a new
-- column of their table; every row is checked once now. Not checked: webhooks.method, job_history but for disabled_by, and
-- the JSON in jobs.retry. To widen one of them later: add the column under another name with the new CHECK, copy, drop the
-- old one, rename. On SQLite dropping a column writes the table anew, so executions.error_code already permits the codes
-- that are planned.

-- 1: the run stands for a due time of its job, and its run_id is computed from that (UUIDv5). 0: a person started it.
ALTER TABLE executions ADD COLUMN is_scheduled SMALLINT NOT NULL DEFAULT 1
  CHECK (is_scheduled IN (0, 1))
  CHECK (held IN (0, 1, 2, 3))
  CHECK (status IN
    ('queued', 'running', 'success', 'failure', 'timed_out', 'dead_letter', 'skipped', 'cancelled'))
  CHECK (trigger_kind IN ('schedule', 'manual', 'retry', 'catchup', 'redrive'));
UPDATE executions SET is_scheduled = 0 WHERE SUBSTR(run_id, 15, 1) <> '5';

-- Why an attempt failed; of http the status stands in response_code.
ALTER TABLE executions ADD COLUMN error_code TEXT CHECK (error_code IN
  ('dns_failed', 'blocked_address', 'connect_refused', 'connect_timeout', 'tls_failed', 'connection_reset',
   'disconnected', 'timeout', 'protocol_error', 'http', 'no_webhook', 'invalid_request', 'secret_unreadable',
   'interrupted', 'crash_suspect',
   'stale_connection', 'too_many_redirects', 'unexpected_answer', 'secret_missing', 'dns_busy'));
-- The status comes first: of a success the long columns before the error are not read.
UPDATE executions SET error_code = CASE
    WHEN error LIKE 'http%' THEN 'http'
    WHEN error LIKE 'dns_failed%' THEN 'dns_failed'
    WHEN error LIKE 'blocked_address%' THEN 'blocked_address'
    WHEN error LIKE 'connect_refused%' THEN 'connect_refused'
    WHEN error LIKE 'connect_timeout%' THEN 'connect_timeout'
    WHEN error LIKE 'tls_failed%' THEN 'tls_failed'
    WHEN error LIKE 'connection_reset%' THEN 'connection_reset'
    WHEN error LIKE 'disconnected%' THEN 'disconnected'
    WHEN error LIKE 'timeout%' THEN 'timeout'
    WHEN error LIKE 'protocol_error%' THEN 'protocol_error'
    WHEN error LIKE 'no_webhook%' THEN 'no_webhook'
    WHEN error LIKE 'invalid_request%' THEN 'invalid_request'
    WHEN error LIKE 'secret_unreadable%' THEN 'secret_unreadable'
    WHEN error LIKE 'interrupted%' THEN 'interrupted'
    WHEN error LIKE 'crash_suspect%' THEN 'crash_suspect'
  END
WHERE status IN ('failure', 'timed_out', 'dead_letter') AND error IS NOT NULL;

-- Why the service itself disabled a job; null while it is enabled, and when a person paused it.
ALTER TABLE jobs ADD COLUMN disabled_by TEXT
  CHECK (disabled_by IN ('through', 'failing', 'broken'))
  CHECK (dst_policy IN ('debian', 'skip', 'literal'))
  CHECK (day_match IN ('or', 'and'))
  CHECK (catchup IN ('latest', 'all', 'none'))
  CHECK (overlap IN ('allow', 'skip', 'buffer_one', 'cancel_previous'))
  CHECK (delivery IN ('at_least_once', 'at_most_once'));
UPDATE jobs SET disabled_by = CASE
    WHEN disabled_reason LIKE 'through:%' THEN 'through'
    WHEN disabled_reason LIKE 'failing:%' THEN 'failing'
    WHEN disabled_reason LIKE 'broken:%' THEN 'broken'
  END
WHERE disabled_reason IS NOT NULL;

-- The note of a version is the service's own reason where there was one.
ALTER TABLE job_history ADD COLUMN disabled_by TEXT CHECK (disabled_by IN ('through', 'failing', 'broken'));
UPDATE job_history SET disabled_by = CASE
    WHEN note = 'through: the schedule has no further time within ends_at and max_runs' THEN 'through'
    WHEN changed_by = 'scheduler' AND note LIKE 'failing:%' THEN 'failing'
    WHEN changed_by = 'scheduler' AND note LIKE 'broken:%' THEN 'broken'
  END
WHERE enabled = 0 AND note IS NOT NULL;

-- Why the service itself disabled a webhook.
ALTER TABLE webhooks ADD COLUMN disabled_by TEXT CHECK (disabled_by IN ('gone'));
UPDATE webhooks SET disabled_by = 'gone' WHERE disabled_reason LIKE 'gone:%';
