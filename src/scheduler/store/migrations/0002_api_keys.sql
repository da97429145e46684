-- What machines identify themselves with. A key is kept as a digest only: nobody can read it back.
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  prefix TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL UNIQUE,  -- SHA-256 of the whole key, in hex
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,         -- JSON
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  last_used_at BIGINT,
  expires_at BIGINT,
  revoked_at BIGINT
);
CREATE INDEX api_keys_by_account ON api_keys (account_id, id);

-- A key is a member of its account, so whatever is limited to members holds for it. People have no key_id.
ALTER TABLE members ADD COLUMN key_id TEXT REFERENCES api_keys (id) ON DELETE CASCADE;
CREATE INDEX members_by_key ON members (key_id) WHERE key_id IS NOT NULL;
