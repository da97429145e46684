-- Who changed what, when and from where. Rows are only added; they go with their account.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject_id TEXT NOT NULL,     -- no reference: the record outlives what it is about
  subject_name TEXT,
  address TEXT,
  request_id TEXT,
  changes TEXT NOT NULL,        -- JSON: names of fields, never values
  subjects BIGINT NOT NULL      -- how many things were done at once
);
CREATE INDEX audit_by_account ON audit (account_id, id);
