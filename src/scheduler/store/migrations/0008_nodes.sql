-- The processes that work on this database, each for as long as it renews its lease. What is running and belongs to none
-- of them is an orphan.
CREATE TABLE nodes (
  id TEXT PRIMARY KEY,          -- the worker_id of its executions: host, process and epoch, never used twice
  started_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL    -- by the database's clock
);
CREATE INDEX executions_running ON executions (worker_id) WHERE status = 'running';
