-- States get columns of their own. Until here they were read out of texts and ids: out of the first word of
-- executions.error, jobs.disabled_reason and webhooks.disabled_reason, and out of the UUID version of executions.run_id.
-- This is the last place that does so.
--
-- From here on the database refuses every value of an enumeration that the program does not know. SQLite adds no
-- constraint to a column that exists, so the CHECKs of older columns stand with a new column of their table; every row is
-- checked once now. Not checked are webhooks.method, the schedule in job_history, and what is stored as JSON.
--
-- The CHECKs are written with OR because SQLite builds a table of an IN list of more than two values each time that a
-- statement runs: that costs 6 microseconds an INSERT, OR costs 0.1.
--
-- To permit another value later: add the column anew under another name with its CHECKs, copy the values, drop the old
-- column, rename the new one. On SQLite dropping a column writes the table anew (2 to 4 s for a million executions), so
-- error_code permits the codes that are planned already.

-- 1: the run stands for a due time of its job, and its run_id is computed from that (UUIDv5). 0: a person started it.
ALTER TABLE executions ADD COLUMN is_scheduled SMALLINT NOT NULL DEFAULT 1
  CHECK (is_scheduled IN (0, 1))
  CHECK (held BETWEEN 0 AND 3)
  CHECK (
    status = 'queued' OR status = 'running' OR status = 'success' OR status = 'failure' OR status = 'timed_out'
    OR status = 'dead_letter' OR status = 'skipped' OR status = 'cancelled'
  )
  CHECK (
    trigger_kind = 'schedule' OR trigger_kind = 'manual' OR trigger_kind = 'retry' OR trigger_kind = 'catchup'
    OR trigger_kind = 'redrive'
  );
UPDATE executions SET is_scheduled = 0 WHERE SUBSTR(run_id, 15, 1) <> '5';

-- Why an attempt failed; of http the status stands in response_code.
ALTER TABLE executions ADD COLUMN error_code TEXT
  CHECK (
    error_code = 'dns_failed' OR error_code = 'blocked_address' OR error_code = 'connect_refused'
    OR error_code = 'connect_timeout' OR error_code = 'tls_failed' OR error_code = 'connection_reset'
    OR error_code = 'disconnected' OR error_code = 'timeout' OR error_code = 'protocol_error'
    OR error_code = 'http' OR error_code = 'no_webhook' OR error_code = 'invalid_request'
    OR error_code = 'secret_unreadable' OR error_code = 'interrupted' OR error_code = 'crash_suspect'
    OR error_code = 'stale_connection' OR error_code = 'too_many_redirects' OR error_code = 'unexpected_answer'
    OR error_code = 'secret_missing' OR error_code = 'dns_busy'
  );
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
  CHECK (disabled_by = 'through' OR disabled_by = 'failing' OR disabled_by = 'broken')
  CHECK (dst_policy = 'debian' OR dst_policy = 'skip' OR dst_policy = 'literal')
  CHECK (day_match IN ('or', 'and'))
  CHECK (catchup = 'latest' OR catchup = 'all' OR catchup = 'none')
  CHECK (overlap = 'allow' OR overlap = 'skip' OR overlap = 'buffer_one' OR overlap = 'cancel_previous')
  CHECK (delivery IN ('at_least_once', 'at_most_once'));
UPDATE jobs SET disabled_by = CASE
    WHEN disabled_reason LIKE 'through:%' THEN 'through'
    WHEN disabled_reason LIKE 'failing:%' THEN 'failing'
    WHEN disabled_reason LIKE 'broken:%' THEN 'broken'
  END
WHERE disabled_reason IS NOT NULL;

-- The note of a version is the service's own reason where there was one.
ALTER TABLE job_history ADD COLUMN disabled_by TEXT
  CHECK (disabled_by = 'through' OR disabled_by = 'failing' OR disabled_by = 'broken');
UPDATE job_history SET disabled_by = CASE
    WHEN note = 'through: the schedule has no further time within ends_at and max_runs' THEN 'through'
    WHEN changed_by = 'scheduler' AND note LIKE 'failing:%' THEN 'failing'
    WHEN changed_by = 'scheduler' AND note LIKE 'broken:%' THEN 'broken'
  END
WHERE enabled = 0 AND note IS NOT NULL;

-- Why the service itself disabled a webhook.
ALTER TABLE webhooks ADD COLUMN disabled_by TEXT CHECK (disabled_by = 'gone');
UPDATE webhooks SET disabled_by = 'gone' WHERE disabled_reason LIKE 'gone:%';
