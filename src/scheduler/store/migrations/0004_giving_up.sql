-- The runs of a job that went to the dead letter since its last success, and when the first of them did.
ALTER TABLE jobs ADD COLUMN dead_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN dead_since_at BIGINT;
-- Why the service itself disabled a webhook.
ALTER TABLE webhooks ADD COLUMN disabled_reason TEXT;
