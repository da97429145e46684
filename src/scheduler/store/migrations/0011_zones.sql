-- By which rules the jobs of a time zone are planned, and by which they were. A row for each zone that a job has, and one
-- more for each time that its rules changed: what was due before is judged by the rules that held then.
CREATE TABLE zones (
  name TEXT NOT NULL,
  since_at BIGINT NOT NULL,     -- from then on (included) these rules hold; 0: nothing is known of others before
  rules TEXT,                   -- the compiled zone (TZif, RFC 9636) in base64; null: not recorded
  version TEXT,                 -- the release of the zone data that they are from, such as 2026a; null: unknown
  planned_to TEXT,              -- jobs up to this id are planned by these rules already; null: all are
  PRIMARY KEY (name, since_at)
);
-- Which rules the jobs of older versions were planned by is not recorded: the first start plans them anew.
INSERT INTO zones (name, since_at) SELECT DISTINCT timezone, 0 FROM jobs WHERE timezone NOT IN ('UTC', 'Etc/UTC');
-- Enabled jobs whose next time cannot be computed now: their zone is unknown, say. They are tried again now and then.
CREATE INDEX jobs_waiting ON jobs (id) WHERE enabled = 1 AND next_run_at IS NULL;
