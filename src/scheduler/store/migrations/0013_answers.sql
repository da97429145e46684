-- What was odd about an answer that counts all the same: a JSON list of sentences.
ALTER TABLE executions ADD COLUMN warnings TEXT;

-- How many attempts from budget_from on, before this one, do not count against retry.max_attempts.
ALTER TABLE executions ADD COLUMN uncounted SMALLINT NOT NULL DEFAULT 0 CHECK (uncounted >= 0);
-- 1: the attempt before this one failed on a connection that was used again, so this one is sent on a new one.
ALTER TABLE executions ADD COLUMN after_stale SMALLINT NOT NULL DEFAULT 0 CHECK (after_stale IN (0, 1));
