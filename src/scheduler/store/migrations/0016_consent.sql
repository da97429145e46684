-- Who made an account: only accounts that they made themselves are where the new things of a user go by default.
ALTER TABLE accounts ADD COLUMN created_by TEXT;
UPDATE accounts SET created_by = COALESCE(
  (
    SELECT a.actor FROM audit a WHERE a.account_id = accounts.id AND a.action = 'account.created' ORDER BY a.id LIMIT 1
  ),
  (
    SELECT m.user_id FROM members m WHERE m.account_id = accounts.id AND m.role = 'owner' AND m.key_id IS NULL
    ORDER BY m.created_at, m.user_id LIMIT 1
  )
);

-- Memberships that are offered. They stand in a table of their own so that no query has to leave them out: whoever is
-- in members has accepted. Those who were members before this migration stay members.
CREATE TABLE invitations (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
  invited_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (account_id, user_id)
);
CREATE INDEX invitations_by_user ON invitations (user_id, id);
