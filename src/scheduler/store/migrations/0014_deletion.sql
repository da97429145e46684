-- A job or an account with many executions is deleted in slices. From the first transaction on, which leaves this mark,
-- nothing shows it, and nothing of it fires or is delivered; the rows go later.
ALTER TABLE jobs ADD COLUMN deleted_at BIGINT;
ALTER TABLE accounts ADD COLUMN deleted_at BIGINT;
CREATE INDEX jobs_deleted ON jobs (account_id, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX accounts_deleted ON accounts (id) WHERE deleted_at IS NOT NULL;
