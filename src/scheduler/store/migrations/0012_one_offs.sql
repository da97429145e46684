-- When a job that runs only at given moments was through; null for every other job. So many of them come and go that what
-- is over is found by an index of its own.
ALTER TABLE jobs ADD COLUMN one_off_ended_at BIGINT;
UPDATE jobs SET one_off_ended_at = COALESCE(last_run_at, updated_at)
WHERE enabled = 0 AND disabled_by = 'through' AND LOWER(schedule) LIKE '@at %' AND schedule NOT LIKE '%
%';
CREATE INDEX jobs_one_off_ended ON jobs (one_off_ended_at, id) WHERE one_off_ended_at IS NOT NULL;
