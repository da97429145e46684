-- One text for SQLite and Postgres: ids TEXT, instants BIGINT (epoch microseconds), booleans SMALLINT, JSON as TEXT.

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

CREATE TABLE members (
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id, account_id);

CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  schedule TEXT NOT NULL,
  type BIGINT NOT NULL,
  timezone TEXT NOT NULL,
  enabled SMALLINT NOT NULL CHECK (enabled IN (0, 1)),
  dst_policy TEXT NOT NULL,
  day_match TEXT NOT NULL,
  anchor_at BIGINT NOT NULL,
  starts_at BIGINT,
  ends_at BIGINT,
  max_runs BIGINT,
  jitter_s DOUBLE PRECISION NOT NULL,
  spread_s DOUBLE PRECISION NOT NULL,
  catchup TEXT NOT NULL,
  catchup_window_s DOUBLE PRECISION NOT NULL,
  catchup_limit BIGINT NOT NULL,
  overlap TEXT NOT NULL,
  retry TEXT NOT NULL,
  delivery TEXT NOT NULL,
  auto_disable SMALLINT NOT NULL CHECK (auto_disable IN (0, 1)),
  note TEXT,
  tags TEXT NOT NULL,
  disabled_reason TEXT,
  run_count BIGINT NOT NULL,
  last_run_at BIGINT,
  next_run_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX jobs_by_account ON jobs (account_id, id);
-- What fires next, and nothing else: a paused job is not in it.
CREATE INDEX jobs_due ON jobs (next_run_at) WHERE next_run_at IS NOT NULL;

-- What a job was at any time, so that a past due time can be explained from facts.
CREATE TABLE job_history (
  id TEXT PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  changed_at BIGINT NOT NULL,
  changed_by TEXT NOT NULL,
  enabled SMALLINT NOT NULL CHECK (enabled IN (0, 1)),
  schedule TEXT NOT NULL,
  timezone TEXT NOT NULL,
  dst_policy TEXT NOT NULL,
  day_match TEXT NOT NULL,
  anchor_at BIGINT NOT NULL,
  starts_at BIGINT,
  ends_at BIGINT,
  note TEXT
);
CREATE INDEX job_history_by_job ON job_history (job_id, changed_at);

CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  url TEXT NOT NULL,
  method TEXT NOT NULL,
  headers TEXT,                 -- sealed JSON
  query_params TEXT,            -- JSON
  body_template TEXT,
  content_type TEXT NOT NULL,
  timeout_s DOUBLE PRECISION NOT NULL,
  signing_secret TEXT,          -- sealed
  enabled SMALLINT NOT NULL CHECK (enabled IN (0, 1)),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX webhooks_by_job ON webhooks (job_id, id);

CREATE TABLE executions (
  id TEXT PRIMARY KEY,
  run_id TEXT NOT NULL,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  account_id TEXT NOT NULL,
  webhook_id TEXT,              -- no reference: history outlives its webhook
  status TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  trigger_kind TEXT NOT NULL,
  scheduled_at BIGINT NOT NULL,
  available_at BIGINT NOT NULL,
  held SMALLINT NOT NULL,       -- 0: may start; 1: its job is paused; 2: waits for the job's previous run
  covers BIGINT NOT NULL,
  covers_from BIGINT,
  reason TEXT,
  budget_from BIGINT NOT NULL,
  budget_at BIGINT NOT NULL,
  prior_errors TEXT NOT NULL,
  worker_id TEXT,
  started_at BIGINT,
  finished_at BIGINT,
  duration_ms BIGINT,
  response_code BIGINT,
  response_body TEXT,
  response_headers TEXT,        -- JSON
  body_truncated SMALLINT NOT NULL CHECK (body_truncated IN (0, 1)),
  error TEXT,
  created_at BIGINT NOT NULL
);
-- Firing is idempotent: a run has one row per attempt, whoever inserts it.
CREATE UNIQUE INDEX executions_by_run ON executions (run_id, attempt);
-- The queue: what may start, by the time from which it may.
CREATE INDEX executions_ready ON executions (available_at) WHERE status = 'queued' AND held = 0;
CREATE INDEX executions_buffered ON executions (job_id) WHERE held = 2;
-- What is not over yet: for overlap and pause by job, and for the rescue at start.
CREATE INDEX executions_active ON executions (job_id) WHERE status IN ('queued', 'running');
CREATE INDEX executions_dead ON executions (account_id, id) WHERE status = 'dead_letter';
CREATE INDEX executions_by_job ON executions (job_id, id);
CREATE INDEX executions_by_account ON executions (account_id, id);
